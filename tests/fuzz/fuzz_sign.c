/* A signed request of FOTP: three lines are the headers account, nonce and sign, the rest the
 * body. */
#include "gateway/sign_check.h"
#include "gateway/signed_body.h"
#include "tests/fuzz/fuzz.h"

static struct slice headers[3];

static struct slice header(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "account") == 0 ? headers[0]
           : strcmp(name, "nonce") == 0 ? headers[1]
           : strcmp(name, "sign") == 0  ? headers[2]
                                        : (struct slice){0};
}

static struct records *accounts(void)
{
    static const char text[] =
        "accounts:\n"
        "  demo: {secret: demo-secret-0123456789}\n"
        "  hmac: {secret: demo-secret-0123456789, sign: hmac-sha256-sorted}\n"
        "  pair: {secret: demo-secret-0123456789, sign: static}\n";
    struct yaml_error error = {""};
    struct record_texts texts = {0};
    struct yaml_node *root = yaml_parse("sign", slice_of(text), &error);
    must(root != NULL && record_file_parse("sign", root, &texts, &error));
    struct records *records = records_build(texts.at, texts.count, 1, &error);
    must(records != NULL);
    record_texts_free(&texts);
    yaml_destroy(&root);
    return records;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct records *records;
    if (records == NULL) {
        records = accounts();
    }
    struct slice rest = fuzz_slice(data, size);
    for (int i = 0; i < 3; i++) {
        headers[i] = fuzz_line(&rest);
    }
    struct intake_input in = {.header = header, .body = rest, .wall_ms = 1653043349000};
    struct params body;
    struct signer signer;
    char error[PARAMS_ERROR_BYTES] = "";
    if (signed_body_read(&body, rest, error)) {
        if (sign_check(records, &in, &body, &signer)) {
            must(signer.account != NULL);
        }
    } else {
        must(error[0] != '\0');
    }
    params_free(&body);
    return 0;
}
