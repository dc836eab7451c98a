/* Any text as a record file; what is good is written, read again and built into a snapshot. */
#include "common/meaning/record.h"
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 16 * 1024 * 1024 };

static bool parse(struct slice text, struct record_texts *out, struct yaml_error *error)
{
    struct yaml_node *root = yaml_parse("fuzz", text, error);
    bool good = root != NULL && record_file_parse("fuzz", root, out, error);
    yaml_destroy(&root);
    return good;
}

static struct buf write(struct record_texts *t)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    record_file_write(t->at, t->count, &out);
    must(buf_ok(&out));
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_texts texts = {0};
    struct yaml_error error = {""};
    if (!parse(fuzz_slice(data, size), &texts, &error)) {
        must(error.text[0] != '\0');
        return 0;
    }
    (void)!records_check("fuzz", texts.at, texts.count, &error);
    struct records *records = records_build(texts.at, texts.count, 1, &error);
    records_unref(&records);
    struct buf once = write(&texts);
    record_texts_free(&texts);
    struct record_texts again = {0};
    must(parse(buf_slice(&once), &again, &error));
    struct buf twice = write(&again);
    must(slice_eq(buf_slice(&once), buf_slice(&twice)));
    record_texts_free(&again);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
