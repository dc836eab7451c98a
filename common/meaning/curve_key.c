#include "common/meaning/curve_key.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/secret_file.h"

static const char alphabet[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

bool curve_key_ok(struct slice text)
{
    if (text.n != CURVE_KEY_CHARS) {
        return false;
    }
    for (size_t i = 0; i < text.n; i += 5) {
        uint64_t word = 0;
        for (size_t k = i; k < i + 5; k++) {
            const char *digit = memchr(alphabet, text.p[k], sizeof(alphabet) - 1);
            if (digit == NULL) {
                return false;
            }
            word = word * 85 + (uint64_t)(digit - alphabet);
        }
        if (word > UINT32_MAX) {
            return false;
        }
    }
    return true;
}

void curve_pair_wipe(struct curve_pair *pair)
{
    explicit_bzero(pair, sizeof(*pair));
}

bool curve_file_write(char *out, size_t room, const struct curve_pair *pair, const char *name,
                      const char *kind, const char *made)
{
    int n = snprintf(out, room,
                     "# otpq: the CURVE keys of %s (%s), made %s. Whoever has the secret one is %s:"
                     " keep it.\n"
                     "public_key: \"%s\"\n"
                     "secret_key: \"%s\"\n",
                     name, kind, made, name, pair->public_key, pair->secret_key);
    return n > 0 && (size_t)n < room;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct slice line_of(struct slice *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct slice line = slice_make(rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n);
    size_t taken = line.n + (end != NULL ? 1 : 0);
    *rest = slice_make(rest->p + taken, rest->n - taken);
    while (line.n > 0 && strchr(" \t\r", line.p[line.n - 1]) != NULL) {
        line.n--;
    }
    return line;
}

/* True when the line is this key's, with its value in *value as far as it stands in quotes. */
static bool value_of(struct slice line, struct slice key, struct slice *value)
{
    if (line.n < key.n || memcmp(line.p, key.p, key.n) != 0) {
        return false;
    }
    size_t at = key.n;
    while (at < line.n && line.p[at] == ' ') {
        at++;
    }
    bool quoted = line.n >= at + 2 && (line.p[at] == '"' || line.p[at] == '\'') &&
                  line.p[line.n - 1] == line.p[at];
    *value = quoted ? slice_make(line.p + at + 1, line.n - at - 2) : slice_make(NULL, 0);
    return true;
}

static bool take_line(struct slice line, unsigned number, struct curve_pair *out, char why[256])
{
    struct slice value;
    bool is_public = value_of(line, SLICE("public_key:"), &value);
    bool is_secret = !is_public && value_of(line, SLICE("secret_key:"), &value);
    char *into = is_secret ? out->secret_key : out->public_key;
    if (line.n == 0 || line.p[0] == '#') {
        return true;
    }
    if (!is_public && !is_secret) {
        (void)snprintf(why, 256, "line %u: public_key: \"…\" or secret_key: \"…\" is wanted",
                       number);
    } else if (into[0] != '\0') {
        (void)snprintf(why, 256, "line %u: a second %s_key", number,
                       is_secret ? "secret" : "public");
    } else if (!curve_key_ok(value)) {
        (void)snprintf(why, 256, "line %u: %s_key must be a CURVE key of 40 characters in quotes",
                       number, is_secret ? "secret" : "public");
    } else {
        memcpy(into, value.p, value.n);
        return true;
    }
    return false;
}

bool curve_file_parse(struct slice text, struct curve_pair *out, char why[256])
{
    *out = (struct curve_pair){.public_key = ""};
    bool ok = true;
    for (unsigned number = 1; ok && text.n > 0; number++) {
        ok = take_line(line_of(&text), number, out, why);
    }
    if (ok && (out->public_key[0] == '\0' || out->secret_key[0] == '\0')) {
        (void)snprintf(why, 256, "%s_key is missing",
                       out->public_key[0] == '\0' ? "public" : "secret");
        ok = false;
    }
    if (!ok) {
        curve_pair_wipe(out);
    }
    return ok;
}

bool curve_file_read(const char *path, struct curve_pair *out, char why[256])
{
    size_t n = 0;
    char *text = secret_bytes_read(path, CURVE_FILE_BYTES_MAX, &n, why);
    bool ok = text != NULL && curve_file_parse(slice_make(text, n), out, why);
    secret_wipe(&text, n);
    return ok;
}
