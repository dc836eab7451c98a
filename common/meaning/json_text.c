#include "common/meaning/json_text.h"

#include "common/base/buf.h"
#include "common/base/utf8.h"

json_t *json_text(struct slice s)
{
    struct buf clean;
    buf_init(&clean, s.n + 1);
    while (s.n > 0) {
        size_t n = utf8_first(s);
        if (n == 0) {
            buf_putc(&clean, '?');
            n = 1;
        } else {
            buf_put(&clean, s.p, n);
        }
        s = slice_make(s.p + n, s.n - n);
    }
    json_t *text = json_stringn(buf_text(&clean), clean.n);
    must(text != NULL);
    buf_free(&clean);
    return text;
}
