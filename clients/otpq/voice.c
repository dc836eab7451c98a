#include "clients/otpq/voice.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

void voice_error(const struct voice *v, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (!v->json) {
        (void)fprintf(stderr, "%s: %s\n", v->command, text);
        return;
    }
    json_t *said = json_pack("{s:s}", "error", text);
    if (said == NULL) { /* a file's name, say, that is no UTF-8 */
        said = json_pack("{s:s}", "error", "it cannot be said in JSON");
    }
    (void)json_dumpf(said, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(said);
}
