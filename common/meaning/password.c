#include "common/meaning/password.h"

#include <crypt.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "common/meaning/record.h"

#define ALPHABET "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

enum { SALT_CHARS = 16, SHA512_CHARS = 86, YESCRYPT_CHARS = 43, ROUNDS_DIGITS_MAX = 6 };

/* The hash of nobody's password: what an unknown account is compared with. */
static const char nobody[] = "$6$otpqnobodynobody$";

static bool is_usable(struct slice password)
{
    return password.n > 0 && password.n <= PASSWORD_BYTES_MAX &&
           memchr(password.p, '\0', password.n) == NULL;
}

/* False: the setting is none that crypt knows. */
static bool crypt_into(struct slice password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
    char phrase[PASSWORD_BYTES_MAX + 1];
    memcpy(phrase, password.p, password.n);
    phrase[password.n] = '\0';
    struct crypt_data *room = xcalloc(1, sizeof(*room)); /* 32 KiB */
    const char *hash = crypt_r(phrase, setting, room);
    bool ok = hash != NULL && hash[0] != '*';
    (void)snprintf(out, CRYPT_OUTPUT_SIZE, "%s", ok ? hash : "");
    explicit_bzero(room, sizeof(*room));
    explicit_bzero(phrase, sizeof(phrase));
    free(room);
    return ok;
}

bool password_matches(struct slice given, const char *hash)
{
    char made[CRYPT_OUTPUT_SIZE];
    bool usable = is_usable(given);
    bool known = hash[0] != '\0';
    bool ok = crypt_into(usable ? given : SLICE("none"), known ? hash : nobody, made);
    return record_key_equal(slice_of(made), hash) && ok && usable && known;
}

bool password_hash(struct slice password, char out[PASSWORD_HASH_BYTES])
{
    char setting[32] = "$6$";
    char made[CRYPT_OUTPUT_SIZE];
    size_t n = strlen(setting);
    for (int i = 0; i < SALT_CHARS; i++) {
        setting[n++] = ALPHABET[rng_secure_below(sizeof(ALPHABET) - 1)];
    }
    (void)snprintf(setting + n, sizeof(setting) - n, "$");
    if (!is_usable(password) || !crypt_into(password, setting, made)) {
        return false;
    }
    must(strlen(made) < PASSWORD_HASH_BYTES);
    (void)snprintf(out, PASSWORD_HASH_BYTES, "%.*s", PASSWORD_HASH_BYTES - 1, made);
    return true;
}

/* The part of crypt's alphabet up to the next "$" or the end: how long it is. */
static size_t part(const char *at)
{
    return strspn(at, ALPHABET);
}

bool password_hash_is_whole(const char *text)
{
    size_t wanted = strncmp(text, "$6$", 3) == 0   ? SHA512_CHARS
                    : strncmp(text, "$y$", 3) == 0 ? YESCRYPT_CHARS
                                                   : 0;
    const char *at = text + 3;
    if (wanted == 0) {
        return false;
    }
    if (wanted == SHA512_CHARS && strncmp(at, "rounds=", 7) == 0) {
        size_t digits = strspn(at + 7, "0123456789");
        at += 7 + digits;
        if (digits == 0 || digits > ROUNDS_DIGITS_MAX || *at++ != '$') {
            return false; /* more rounds would keep a process for seconds */
        }
    } else if (wanted == YESCRYPT_CHARS) {
        size_t cost = part(at);
        at += cost;
        if (cost == 0 || *at++ != '$') {
            return false;
        }
    }
    size_t salt = part(at);
    at += salt;
    return salt > 0 && *at == '$' && part(at + 1) == wanted && at[1 + wanted] == '\0';
}
