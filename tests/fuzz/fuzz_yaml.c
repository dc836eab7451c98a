/* Any text as YAML: what is read can be written, and that reads and writes the same again. */
#include "common/meaning/yaml.h"
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 16 * 1024 * 1024 };

static struct buf write(const struct yaml_node *root)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    buf_puts(&out, "r:");
    yaml_write_node(&out, root, 0);
    must(buf_ok(&out));
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_error error = {""};
    struct yaml_node *root = yaml_parse("fuzz", fuzz_slice(data, size), &error);
    if (root == NULL) {
        must(error.text[0] != '\0');
        return 0;
    }
    struct buf once = write(root);
    yaml_destroy(&root);
    struct yaml_node *again = yaml_parse("again", buf_slice(&once), &error);
    if (again != NULL) { /* one level deeper: it may be too deep now */
        struct buf twice = write(yaml_get(again, "r"));
        must(slice_eq(buf_slice(&once), buf_slice(&twice)));
        buf_free(&twice);
    }
    yaml_destroy(&again);
    buf_free(&once);
    return 0;
}
