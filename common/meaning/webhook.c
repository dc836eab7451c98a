#include "common/meaning/webhook.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/buf.h"

#define SECRET_MARK "whsec_"

/* Bytes of the key, or 0 when the text is no base64. */
static size_t key_decode(struct slice text, unsigned char key[WEBHOOK_KEY_BYTES_MAX])
{
    if (text.n == 0 || text.n % 4 != 0 || text.n / 4 * 3 > WEBHOOK_KEY_BYTES_MAX) {
        return 0;
    }
    int n = EVP_DecodeBlock(key, (const unsigned char *)text.p, (int)text.n);
    for (size_t i = text.n; n > 0 && i > 0 && text.p[i - 1] == '='; i--) {
        n--; /* EVP_DecodeBlock counts the padding */
    }
    return n > 0 ? (size_t)n : 0;
}

static struct slice key_of(struct slice secret, unsigned char room[WEBHOOK_KEY_BYTES_MAX])
{
    const struct slice mark = SLICE(SECRET_MARK);
    if (secret.n <= mark.n || memcmp(secret.p, mark.p, mark.n) != 0) {
        return secret;
    }
    size_t n = key_decode(slice_make(secret.p + mark.n, secret.n - mark.n), room);
    return n > 0 ? slice_make(room, n) : secret;
}

void webhook_sign(struct slice secret, struct slice id, int64_t timestamp_s, struct slice body,
                  char out[WEBHOOK_SIGNATURE_BYTES + 1])
{
    unsigned char room[WEBHOOK_KEY_BYTES_MAX];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf text;
    struct slice key = key_of(secret, room);
    buf_init(&text, id.n + body.n + 32);
    buf_put_slice(&text, id);
    buf_printf(&text, ".%" PRId64 ".", timestamp_s);
    buf_put_slice(&text, body);
    must(buf_ok(&text));
    must(HMAC(EVP_sha256(), key.n > 0 ? key.p : "", (int)key.n, (const unsigned char *)text.p,
              text.n, mac, &n) != NULL);
    memcpy(out, "v1,", 3);
    must(EVP_EncodeBlock((unsigned char *)out + 3, mac, (int)n) == WEBHOOK_SIGNATURE_BYTES - 3);
    buf_free(&text);
    OPENSSL_cleanse(room, sizeof room);
}
