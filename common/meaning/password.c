#include "common/meaning/password.h"

#include <crypt.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "common/meaning/record.h"

#define ALPHABET "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

enum { SALT_CHARS = 16, SHA512_CHARS = 86, YESCRYPT_CHARS = 43 };

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
    bool known = password_hash_is_whole(hash);
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

/* "rounds=N$" at the beginning, or nothing: then it is PASSWORD_ROUNDS. crypt takes a number in
 * one way alone, without a zero before it. */
static bool skip_rounds(const char **at)
{
    static const char word[] = "rounds=";
    uint64_t rounds = 0;
    if (strncmp(*at, word, sizeof(word) - 1) != 0) {
        return true;
    }
    const char *digits = *at + sizeof(word) - 1;
    size_t n = strspn(digits, "0123456789");
    *at = digits + n + 1;
    return digits[0] != '0' && digits[n] == '$' &&
           slice_to_u64(slice_make(digits, n), PASSWORD_ROUNDS_MAX, &rounds) &&
           rounds >= PASSWORD_ROUNDS_MIN;
}

static bool skip_cost(const char **at)
{
    static const char *const costs[] = {"j7T$", "j8T$", "j9T$"};
    for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
        if (strncmp(*at, costs[i], strlen(costs[i])) == 0) {
            *at += strlen(costs[i]);
            return true;
        }
    }
    return false;
}

bool password_hash_is_whole(const char *text)
{
    bool is_sha512 = strncmp(text, "$6$", 3) == 0;
    bool is_yescrypt = strncmp(text, "$y$", 3) == 0;
    const char *at = is_sha512 || is_yescrypt ? text + 3 : text;
    if (!(is_sha512 && skip_rounds(&at)) && !(is_yescrypt && skip_cost(&at))) {
        return false;
    }
    size_t salt = part(at);
    size_t wanted = is_sha512 ? SHA512_CHARS : YESCRYPT_CHARS;
    at += salt;
    return salt > 0 && (!is_sha512 || salt <= SALT_CHARS) && *at == '$' && part(at + 1) == wanted &&
           at[1 + wanted] == '\0';
}
