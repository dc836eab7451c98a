#include "gateway/sign_check.h"

#include <arpa/inet.h>
#include <strings.h>

#include "common/meaning/flash_index.h"
#include "common/meaning/sign.h"

enum { NONCE_DIGITS_MAX = 16, SIGNATURE_BYTES_MAX = 256 };

/* Stands in for an account that there is not, so that as much is done for it. */
static const struct account nobody = {.name = (char *)"nobody",
                                      .sign = SIGN_MD5_SORTED,
                                      .secret = (char *)"no-account-has-this-secret-0000",
                                      .header_account = (char *)"account",
                                      .header_nonce = (char *)"nonce",
                                      .header_sign = (char *)"sign"};

/* Asks each header in which accounts name themselves; who is named there must be one of those that
 * do it in that one. */
static const struct account *find_account(const struct records *records,
                                          const struct intake_input *in)
{
    for (uint32_t i = 0; i < records->flash->header_count; i++) {
        struct slice name = in->header(in->context, records->flash->headers[i]);
        const struct account *a = name.n > 0 ? records_account(records, name) : NULL;
        if (a != NULL && strcasecmp(a->header_account, records->flash->headers[i]) == 0) {
            return a;
        }
    }
    return NULL;
}

static bool nonce_fits(struct slice nonce, int64_t now_ms)
{
    uint64_t at = 0;
    if (nonce.n > NONCE_DIGITS_MAX || !slice_to_u64(nonce, INT64_MAX, &at)) {
        return false;
    }
    int64_t age = now_ms - (int64_t)at;
    return age <= SIGN_NONCE_AGE_MAX_MS && age >= -SIGN_NONCE_AGE_MAX_MS;
}

/* A proxy in front makes everybody a neighbour, so what came through one is none. */
static bool is_neighbour(const struct intake_input *in)
{
    static const char *const proxied[] = {"X-Forwarded-For",   "X-Forwarded-Host",
                                          "X-Forwarded-Proto", "Forwarded",
                                          "X-Real-IP",         "Via"};
    char text[INET6_ADDRSTRLEN] = "";
    struct in_addr four;
    struct in6_addr six;
    for (size_t i = 0; i < ARRAY_LEN(proxied); i++) {
        if (in->header(in->context, proxied[i]).n > 0) {
            return false;
        }
    }
    if (in->caller.ip.n == 0 || in->caller.ip.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, in->caller.ip.p, in->caller.ip.n);
    if (inet_pton(AF_INET, text, &four) == 1) {
        return ntohl(four.s_addr) >> 24 == 127;
    }
    return inet_pton(AF_INET6, text, &six) == 1 &&
           (IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127));
}

/* Account and nonce are what the headers say, whatever the body repeats. */
static size_t pairs_of(const struct account *a, const struct params *body, struct slice nonce,
                       struct sign_pair pairs[PARAMS_MAX + 2])
{
    size_t count = 0;
    pairs[count++] = (struct sign_pair){SLICE(SIGN_ACCOUNT), slice_of(a->name)};
    pairs[count++] = (struct sign_pair){SLICE(SIGN_NONCE), nonce};
    for (uint32_t i = 0; i < body->count; i++) {
        struct slice name = body->at[i].name;
        if (!slice_is(name, SIGN_ACCOUNT) && !slice_is(name, SIGN_NONCE)) {
            pairs[count++] = (struct sign_pair){name, body->at[i].value};
        }
    }
    return count;
}

static bool signature_fits(const struct account *a, const struct intake_input *in,
                           const struct params *body, struct slice nonce)
{
    struct sign_pair pairs[PARAMS_MAX + 2];
    struct buf wanted;
    buf_init(&wanted, SIGNATURE_BYTES_MAX);
    size_t count = pairs_of(a, body, nonce, pairs);
    bool made = sign_make(a->sign, slice_of(a->secret), pairs, count, &wanted);
    bool same = record_key_equal(in->header(in->context, a->header_sign), buf_text(&wanted));
    buf_free(&wanted);
    return made && same;
}

bool sign_check(const struct records *records, const struct intake_input *in,
                const struct params *body, struct signer *out)
{
    const struct account *found = find_account(records, in);
    const struct account *a = found != NULL ? found : &nobody;
    *out = (struct signer){.account = found};
    unsigned wrong = found == NULL ? 1 : 0;
    if (a->sign == SIGN_NONE) {
        return is_neighbour(in);
    }
    wrong |= a->secret[0] == '\0' ? 1 : 0;
    if (a->sign != SIGN_STATIC) { /* a header pair has no nonce */
        out->nonce = in->header(in->context, a->header_nonce);
        wrong |= nonce_fits(out->nonce, in->wall_ms) ? 0 : 1;
    }
    wrong |= signature_fits(a, in, body, out->nonce) ? 0 : 1;
    return wrong == 0;
}
