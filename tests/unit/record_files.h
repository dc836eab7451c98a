/* Record files as texts: what is taken, and what is refused with which words. cmocka.h first. */
#ifndef OTPQ_TESTS_RECORD_FILES_H
#define OTPQ_TESTS_RECORD_FILES_H

#include <string.h>

#include "common/meaning/record.h"

#define CALL(inside) "      url: http://a.example/x\n      form: {" inside "}\n"
#define SEND         "    send:\n" CALL("m: \"{msisdn}\"")
#define VERIFY       "    verify:\n" CALL("m: \"{msisdn}\", c: \"{otp}\"")
#define GOOD         "integrations:\n  one:\n" SEND VERIFY

static inline bool parse(const char *text, struct record_texts *out, struct yaml_error *error)
{
    *out = (struct record_texts){0};
    struct yaml_node *root = yaml_parse("r.yaml", slice_of(text), error);
    bool ok = root != NULL && record_file_parse("r.yaml", root, out, error) &&
              records_check("r.yaml", out->at, out->count, error);
    yaml_destroy(&root);
    return ok;
}

static inline void assert_refused(const char *text, const char *expected)
{
    struct record_texts texts;
    struct yaml_error error = {""};
    if (parse(text, &texts, &error)) {
        fail_msg("taken: %s", text);
    }
    record_texts_free(&texts);
    if (strstr(error.text, expected) != error.text) {
        fail_msg("expected \"%s\", got \"%s\"", expected, error.text);
    }
}

static inline struct record_texts parsed(const char *text)
{
    struct record_texts texts;
    struct yaml_error error = {""};
    if (!parse(text, &texts, &error)) {
        fail_msg("%s", error.text);
    }
    return texts;
}

static inline void assert_taken(const char *text)
{
    struct record_texts texts = parsed(text);
    record_texts_free(&texts);
}

#endif
