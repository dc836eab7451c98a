#include "common/meaning/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    struct slice x = ((const struct sign_pair *)a)->name;
    struct slice y = ((const struct sign_pair *)b)->name;
    size_t n = x.n < y.n ? x.n : y.n;
    int order = n > 0 ? memcmp(x.p, y.p, n) : 0;
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

static void put_hex(const unsigned char *bytes, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%02x", bytes[i]);
    }
}

static void put_md5(struct slice text, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    must(EVP_Digest(text.n > 0 ? text.p : "", text.n, digest, &n, EVP_md5(), NULL) == 1);
    put_hex(digest, n, out);
}

static void put_hmac(struct slice secret, struct slice text, struct buf *out)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    /* HMAC takes a NULL key for "the last one"; an empty key is a key. */
    const char *key = secret.p != NULL ? secret.p : "";
    const char *bytes = text.p != NULL ? text.p : "";
    must(HMAC(EVP_sha256(), key, (int)secret.n, (const unsigned char *)bytes, text.n, mac, &n) !=
         NULL);
    put_hex(mac, n, out);
}

static void put_pairs(struct sign_pair *pairs, size_t count, struct buf *out)
{
    if (count > 0) {
        qsort(pairs, count, sizeof(*pairs), by_name);
    }
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].value.n > 0) {
            buf_put_slice(out, pairs[i].name);
            buf_put_slice(out, pairs[i].value);
        }
    }
}

static bool sign_sorted(enum sign_strategy strategy, struct slice secret, struct sign_pair *pairs,
                        size_t count, struct buf *out)
{
    struct buf text;
    buf_init(&text, SIGN_BYTES_MAX);
    put_pairs(pairs, count, &text);
    if (strategy == SIGN_MD5_SORTED) {
        buf_put_slice(&text, secret);
    }
    bool good = buf_ok(&text);
    if (good && strategy == SIGN_MD5_SORTED) {
        put_md5(buf_slice(&text), out);
    } else if (good) {
        put_hmac(secret, buf_slice(&text), out);
    }
    if (text.p != NULL) {
        OPENSSL_cleanse(text.p, text.n);
    }
    buf_free(&text);
    return good && buf_ok(out);
}

bool sign_make(enum sign_strategy strategy, struct slice secret, struct sign_pair *pairs,
               size_t count, struct buf *out)
{
    buf_clear(out);
    switch (strategy) {
    case SIGN_MD5_SORTED:
    case SIGN_HMAC_SHA256_SORTED:
        return count <= SIGN_PAIRS_MAX && sign_sorted(strategy, secret, pairs, count, out);
    case SIGN_STATIC:
        buf_put_slice(out, secret);
        break;
    case SIGN_NONE:
        break;
    }
    return buf_ok(out);
}

static struct slice scalar_text(const json_t *value, char number[SIGN_TEXT_BYTES])
{
    if (json_is_string(value)) {
        return slice_make(json_string_value(value), json_string_length(value));
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? SLICE("true") : SLICE("false");
    }
    if (json_is_integer(value)) {
        int n =
            snprintf(number, SIGN_TEXT_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return slice_make(number, (size_t)n);
    }
    return slice_make(NULL, 0);
}

size_t sign_pairs_of(const json_t *object, struct sign_pair *pairs, size_t max,
                     char numbers[][SIGN_TEXT_BYTES])
{
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (count == max) {
            break;
        }
        struct slice text = scalar_text(value, numbers[count]);
        if (text.n > 0) {
            pairs[count++] = (struct sign_pair){slice_of(key), text};
        }
    }
    return count;
}
