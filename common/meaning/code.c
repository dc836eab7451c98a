#include "common/meaning/code.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/rng.h"

enum {
    TEXT_RANDOM = 20,
    TEXT_BYTES = 3 + TEXT_RANDOM,
    TOKEN_BYTES = 32,
    NUMBER_BITS = 53, /* what a double holds exactly: customers read it as a JSON number */
    NUMBER_BYTES_MAX = 16,
    MAC_BYTES = CODE_MAC_HEX / 2,
    NONCE_BYTES = 12,
    SEAL_TAG_BYTES = 16
};

bool code_ok(struct slice code)
{
    uint64_t number = 0;
    return code.n >= CODE_DIGITS_MIN && code.n <= CODE_DIGITS_MAX &&
           slice_to_u64(code, UINT64_MAX, &number);
}

void code_make(char *out, int digits)
{
    must(digits >= CODE_DIGITS_MIN && digits <= CODE_DIGITS_MAX);
    uint64_t bound = 1;
    for (int i = 0; i < digits; i++) {
        bound *= 10;
    }
    uint64_t value = rng_secure_below(bound);
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    out[digits] = '\0';
}

static void put_hex(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

/* Over the parts, one behind the other. */
static void hmac(struct slice pepper, const struct slice *parts, size_t count,
                 unsigned char mac[MAC_BYTES])
{
    must(pepper.n >= CODE_PEPPER_BYTES_MIN);
    struct buf input;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += parts[i].n;
    }
    buf_init(&input, n);
    for (size_t i = 0; i < count; i++) {
        buf_put_slice(&input, parts[i]);
    }
    unsigned int mac_bytes = 0;
    must(HMAC(EVP_sha256(), pepper.p, (int)pepper.n, (const unsigned char *)buf_text(&input),
              input.n, mac, &mac_bytes) != NULL);
    must(mac_bytes == MAC_BYTES);
    if (input.p != NULL) {
        OPENSSL_cleanse(input.p, input.cap);
    }
    buf_free(&input);
}

void code_mac(struct slice pepper, struct slice request_id, struct slice code,
              char out[CODE_MAC_HEX + 1])
{
    const struct slice parts[] = {request_id, code};
    unsigned char mac[MAC_BYTES];
    hmac(pepper, parts, ARRAY_LEN(parts), mac);
    put_hex(out, mac, MAC_BYTES);
}

void code_lane_mac(struct slice pepper, struct slice lane, struct slice code,
                   char out[CODE_LANE_MAC_HEX + 1])
{
    const struct slice parts[] = {lane, SLICE("|"), code};
    unsigned char mac[MAC_BYTES];
    hmac(pepper, parts, ARRAY_LEN(parts), mac);
    put_hex(out, mac, CODE_LANE_MAC_HEX / 2);
}

/* ---- codes that are told again --------------------------------------------------------------- */

/* One GCM run over a code, either way. False: the tag does not fit (opening only). */
static bool gcm(bool seal, struct slice pepper, struct slice request_id,
                const unsigned char nonce[NONCE_BYTES], const unsigned char *in, int n,
                unsigned char *out, unsigned char tag[SEAL_TAG_BYTES])
{
    static const struct slice purpose = {"seal", 4};
    unsigned char key[MAC_BYTES];
    int made = 0, rest = 0;
    hmac(pepper, &purpose, 1, key);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(c != NULL);
    must(EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, seal ? 1 : 0) == 1);
    must(EVP_CipherUpdate(c, NULL, &made, (const unsigned char *)request_id.p, (int)request_id.n) ==
         1);
    must(EVP_CipherUpdate(c, out, &made, in, n) == 1 && made == n);
    must(seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_BYTES, tag) == 1);
    bool ok = EVP_CipherFinal_ex(c, out + made, &rest) == 1;
    must(!seal || (ok && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_BYTES, tag) == 1));
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(key, sizeof key);
    return ok;
}

void code_seal(struct slice pepper, struct slice request_id, struct slice code,
               char out[CODE_SEALED_HEX + 1])
{
    unsigned char all[NONCE_BYTES + CODE_DIGITS_MAX + SEAL_TAG_BYTES];
    must(code.n > 0 && code.n <= CODE_DIGITS_MAX);
    rng_secure(all, NONCE_BYTES);
    (void)gcm(true, pepper, request_id, all, (const unsigned char *)code.p, (int)code.n,
              all + NONCE_BYTES, all + NONCE_BYTES + code.n);
    put_hex(out, all, NONCE_BYTES + code.n + SEAL_TAG_BYTES);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool get_hex(struct slice hex, unsigned char *out)
{
    for (size_t i = 0; i < hex.n; i += 2) {
        int high = hex_value(hex.p[i]);
        int low = hex_value(hex.p[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i / 2] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool code_open(struct slice pepper, struct slice request_id, struct slice sealed,
               char out[CODE_DIGITS_MAX + 1])
{
    unsigned char all[CODE_SEALED_HEX / 2];
    const size_t around = NONCE_BYTES + SEAL_TAG_BYTES;
    out[0] = '\0';
    if (sealed.n > CODE_SEALED_HEX || sealed.n % 2 != 0 || sealed.n / 2 <= around ||
        !get_hex(sealed, all)) {
        return false;
    }
    size_t n = sealed.n / 2 - around;
    bool ok = gcm(false, pepper, request_id, all, all + NONCE_BYTES, (int)n, (unsigned char *)out,
                  all + NONCE_BYTES + n);
    out[ok ? n : 0] = '\0';
    return ok;
}

/* ---- request ids ----------------------------------------------------------------------------- */

static void number_id(const char *tag, char out[CODE_REQUEST_ID_MAX])
{
    uint64_t low = (uint64_t)(hex_value(tag[0]) << 4 | hex_value(tag[1]));
    uint64_t high = 1 + rng_secure_below((UINT64_C(1) << (NUMBER_BITS - 8)) - 1);
    (void)snprintf(out, CODE_REQUEST_ID_MAX, "%" PRIu64, high << 8 | low);
}

static void token_id(const char *tag, char out[CODE_REQUEST_ID_MAX])
{
    unsigned char bytes[TOKEN_BYTES / 2 - 1];
    rng_secure(bytes, sizeof bytes);
    memcpy(out, tag, 2);
    put_hex(out + 2, bytes, sizeof bytes);
}

void code_request_id(const char *tag, enum job_id_form form, char out[CODE_REQUEST_ID_MAX])
{
    must(strlen(tag) == 2 && hex_value(tag[0]) >= 0 && hex_value(tag[1]) >= 0);
    switch (form) {
    case JOB_ID_NUMBER:
        number_id(tag, out);
        break;
    case JOB_ID_TOKEN:
        token_id(tag, out);
        break;
    case JOB_ID_TEXT:
    case JOB_ID_FORMS:
        out[0] = 'r';
        memcpy(out + 1, tag, 2);
        rng_secure_text(out + 3, TEXT_RANDOM);
        break;
    }
}

static bool text_tag(struct slice id, char tag[3])
{
    if (id.n != TEXT_BYTES || id.p[0] != 'r' || hex_value(id.p[1]) < 0 || hex_value(id.p[2]) < 0) {
        return false;
    }
    for (size_t i = 3; i < id.n; i++) {
        char c = id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'))) {
            return false;
        }
    }
    memcpy(tag, id.p + 1, 2);
    return true;
}

static bool token_tag(struct slice id, char tag[3])
{
    if (id.n != TOKEN_BYTES) {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        if (hex_value(id.p[i]) < 0) {
            return false;
        }
    }
    memcpy(tag, id.p, 2);
    return true;
}

static bool number_tag(struct slice id, char tag[3])
{
    uint64_t value = 0;
    if (id.n < 1 || id.n > NUMBER_BYTES_MAX || id.p[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        if (id.p[i] < '0' || id.p[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(id.p[i] - '0');
    }
    if (value >> NUMBER_BITS != 0 || value >> 8 == 0) {
        return false;
    }
    const unsigned char low = (unsigned char)(value & 0xff);
    put_hex(tag, &low, 1);
    return true;
}

bool code_request_tag(struct slice request_id, char tag[3])
{
    tag[0] = tag[1] = tag[2] = '\0';
    return text_tag(request_id, tag) || token_tag(request_id, tag) || number_tag(request_id, tag);
}

void code_message_id(struct slice token, char out[CODE_MESSAGE_ID_BYTES])
{
    char tag[3];
    uint64_t id = 0;
    bool known = token_tag(token, tag);
    for (size_t i = TOKEN_BYTES / 2; known && i < TOKEN_BYTES; i++) {
        id = id << 4 | (uint64_t)hex_value(token.p[i]);
    }
    (void)snprintf(out, CODE_MESSAGE_ID_BYTES, "%" PRIu64, id & INT64_MAX);
}
