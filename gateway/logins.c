#include "gateway/logins.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/rng.h"
#include "common/meaning/password.h"

enum { KEY_BYTES = 32, MAC_BYTES = 32, PART_BYTES_MAX = 1024 };

/* How many in the second that runs. */
struct counter {
    int64_t second;
    uint32_t used;
};

struct logins {
    uint8_t key[KEY_BYTES]; /* random, of this process: what is kept is of no use elsewhere */
    struct map *good;       /* MAC of name, password and hash → itself */
    struct counter all;     /* of wrong ones */
    struct counter of_names[LOGINS_NAME_COUNTERS]; /* by the name's MAC */
};

struct mac {
    uint8_t bytes[MAC_BYTES];
};

struct logins *logins_new(void)
{
    struct logins *l = xcalloc(1, sizeof(*l));
    rng_secure(l->key, sizeof(l->key));
    l->good = map_new(LOGINS_KEPT_MAX);
    return l;
}

void logins_destroy(struct logins **lp)
{
    struct logins *l = *lp;
    if (l == NULL) {
        return;
    }
    *lp = NULL;
    map_destroy(&l->good, NULL);
    OPENSSL_cleanse(l->key, sizeof(l->key));
    free(l);
}

/* Parts with their lengths, so that no two triples look alike. */
static struct mac mac_of(const struct logins *l, const struct slice *parts, size_t count)
{
    struct mac out;
    struct buf text;
    unsigned n = 0;
    buf_init(&text, 4 * PART_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%zu:", parts[i].n);
        buf_put_slice(&text, parts[i]);
    }
    must(buf_ok(&text));
    must(HMAC(EVP_sha256(), l->key, sizeof(l->key), (const unsigned char *)text.p, text.n,
              out.bytes, &n) != NULL);
    must(n == sizeof(out.bytes));
    OPENSSL_cleanse(text.p, text.n);
    buf_free(&text);
    return out;
}

static bool used_up(const struct counter *c, int64_t second, uint32_t max)
{
    return c->second == second && c->used >= max;
}

static void count(struct counter *c, int64_t second)
{
    c->used = c->second == second ? c->used + 1 : 1;
    c->second = second;
}

/* A full memory is emptied: who calls often is back in it at once. */
static void keep(struct logins *l, const struct mac *mac)
{
    void *old;
    struct slice key = slice_make(mac->bytes, sizeof(mac->bytes));
    if (!map_set(l->good, key, l, &old)) {
        map_destroy(&l->good, NULL);
        l->good = map_new(LOGINS_KEPT_MAX);
        must(map_set(l->good, key, l, &old));
    }
}

/* The hash of any account: who has none is given the work of those who have. */
static const char *any_hash(const struct records *records)
{
    size_t at = 0;
    struct slice name;
    void *value;
    while (map_next(records->accounts, &at, &name, &value)) {
        const struct account *a = value;
        if (a->password_hash[0] != '\0') {
            return a->password_hash;
        }
    }
    return "";
}

enum login logins_check(struct logins *l, const struct records *records, struct slice username,
                        struct slice password, int64_t now_ms, const struct account **out)
{
    const struct account *a = records_account(records, username);
    bool known = a != NULL && a->password_hash[0] != '\0';
    const char *hash = known ? a->password_hash : "";
    const struct slice parts[] = {username, password, slice_of(hash)};
    struct mac mac = mac_of(l, parts, ARRAY_LEN(parts));
    *out = NULL;
    if (known && map_get(l->good, slice_make(mac.bytes, sizeof(mac.bytes))) != NULL) {
        *out = a;
        return LOGIN_GOOD;
    }
    struct mac name = mac_of(l, parts, 1);
    struct counter *of_name = &l->of_names[name.bytes[0] % LOGINS_NAME_COUNTERS];
    int64_t second = now_ms / 1000;
    if (used_up(of_name, second, LOGINS_WRONG_NAME_S) ||
        used_up(&l->all, second, LOGINS_WRONG_MAX_S)) {
        return LOGIN_TOO_MANY;
    }
    bool good = password_matches(password, known ? hash : any_hash(records));
    if (!good || !known) {
        count(of_name, second);
        count(&l->all, second);
        return LOGIN_WRONG;
    }
    keep(l, &mac);
    *out = a;
    return LOGIN_GOOD;
}
