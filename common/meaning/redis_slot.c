#include "common/meaning/redis_slot.h"

#include <string.h>

/* Bit by bit: a hash tag is a few bytes long, and a table would be longer than the keys. */
uint16_t redis_crc16(struct slice bytes)
{
    unsigned crc = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        crc ^= (unsigned)(unsigned char)bytes.p[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000u) != 0 ? crc << 1 ^ 0x1021u : crc << 1;
        }
    }
    return (uint16_t)crc;
}

struct slice redis_hash_tag(struct slice key)
{
    const char *open = key.n > 0 ? memchr(key.p, '{', key.n) : NULL;
    if (open == NULL) {
        return key;
    }
    const char *tag = open + 1;
    const char *end = memchr(tag, '}', key.n - (size_t)(tag - key.p));
    if (end == NULL || end == tag) {
        return key;
    }
    return slice_make(tag, (size_t)(end - tag));
}

uint16_t redis_slot(struct slice key)
{
    return redis_crc16(redis_hash_tag(key)) & (REDIS_SLOTS - 1);
}

static bool read_word(struct slice *rest, struct slice *word)
{
    const char *end = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->p) : rest->n;
    *word = slice_make(rest->p, n);
    *rest = end != NULL ? slice_make(end + 1, rest->n - n - 1) : slice_make(NULL, 0);
    return n > 0;
}

/* A host may have colons of its own (IPv6, without brackets), the port is behind the last one. */
static bool read_place(struct slice text, struct netaddr *out)
{
    const char *colon = memrchr(text.p, ':', text.n);
    uint64_t port = 0;
    if (colon == NULL ||
        !slice_to_u64(slice_make(colon + 1, text.n - (size_t)(colon + 1 - text.p)), 65535, &port) ||
        port == 0) {
        return false;
    }
    size_t n = (size_t)(colon - text.p);
    if (n >= sizeof out->host) {
        return false;
    }
    memset(out, 0, sizeof *out);
    memcpy(out->host, text.p, n);
    out->port = (int)port;
    return memchr(out->host, '\0', n) == NULL;
}

bool redis_redirect_read(struct slice error, struct redis_redirect *out)
{
    struct slice word, slot, place;
    uint64_t number = 0;
    if (!read_word(&error, &word) || !read_word(&error, &slot) || !read_word(&error, &place) ||
        !(slice_is(word, "MOVED") || slice_is(word, "ASK")) ||
        !slice_to_u64(slot, REDIS_SLOTS - 1, &number) || !read_place(place, &out->to)) {
        return false;
    }
    out->ask = slice_is(word, "ASK");
    out->slot = (uint16_t)number;
    return true;
}
