#include "common/meaning/code.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/rng.h"

enum { REQUEST_ID_RANDOM = 20, REQUEST_ID_BYTES = 23, MAC_BYTES = CODE_MAC_HEX / 2 };

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

void code_mac(struct slice pepper, struct slice request_id, struct slice code,
              char out[CODE_MAC_HEX + 1])
{
    must(pepper.n >= CODE_PEPPER_BYTES_MIN);
    struct buf input;
    buf_init(&input, request_id.n + code.n);
    buf_put_slice(&input, request_id);
    buf_put_slice(&input, code);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_bytes = 0;
    must(HMAC(EVP_sha256(), pepper.p, (int)pepper.n, (const unsigned char *)buf_text(&input),
              input.n, mac, &mac_bytes) != NULL);
    must(mac_bytes == MAC_BYTES);
    for (size_t i = 0; i < MAC_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", mac[i]);
    }
    if (input.p != NULL) {
        OPENSSL_cleanse(input.p, input.cap);
    }
    buf_free(&input);
}

void code_request_id(const char *tag, char out[24])
{
    must(strlen(tag) == 2);
    out[0] = 'r';
    memcpy(out + 1, tag, 2);
    rng_secure_text(out + 3, REQUEST_ID_RANDOM);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool code_request_tag(struct slice request_id, char tag[3])
{
    if (request_id.n != REQUEST_ID_BYTES || request_id.p[0] != 'r' || !is_hex(request_id.p[1]) ||
        !is_hex(request_id.p[2])) {
        return false;
    }
    for (size_t i = 3; i < request_id.n; i++) {
        char c = request_id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'))) {
            return false;
        }
    }
    memcpy(tag, request_id.p + 1, 2);
    tag[2] = '\0';
    return true;
}
