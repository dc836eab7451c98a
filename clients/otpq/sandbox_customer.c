#include "clients/otpq/sandbox_customer.h"

#include <string.h>

#include "common/base/map.h"
#include "common/meaning/fields.h"
#include "common/meaning/json_text.h"

enum { KEY_BYTES_MAX = CUSTOMER_NAME_BYTES_MAX + 1 + 64 };

/* How often a message has come. */
struct message {
    char key[KEY_BYTES_MAX + 1]; /* name, space, message; key in the map */
    uint32_t seen;
};

struct customer {
    json_t *callbacks[CUSTOMER_CALLBACKS_MAX]; /* ring; NULL: never used */
    uint64_t taken;                            /* callbacks ever */
    struct message *messages;                  /* ring, the oldest is overwritten */
    uint64_t known;                            /* messages ever put */
    struct map *by_key;                        /* key → struct message */
};

struct customer *customer_new(void)
{
    struct customer *c = xcalloc(1, sizeof(*c));
    c->messages = xcalloc(CUSTOMER_MESSAGES_MAX, sizeof(*c->messages));
    c->by_key = map_new(CUSTOMER_MESSAGES_MAX);
    return c;
}

void customer_destroy(struct customer **cp)
{
    struct customer *c = *cp;
    if (c == NULL) {
        return;
    }
    *cp = NULL;
    for (size_t i = 0; i < CUSTOMER_CALLBACKS_MAX; i++) {
        json_decref(c->callbacks[i]);
    }
    map_destroy(&c->by_key, NULL);
    free(c->messages);
    free(c);
}

bool customer_name_ok(struct slice name)
{
    return name.n > 0 && name.n <= CUSTOMER_NAME_BYTES_MAX && fields_id_alphabet(name);
}

static struct message *message_of(struct customer *c, struct slice key)
{
    struct message *m = map_get(c->by_key, key);
    if (m != NULL) {
        return m;
    }
    m = &c->messages[c->known++ % CUSTOMER_MESSAGES_MAX];
    if (m->key[0] != '\0') {
        must(map_remove(c->by_key, slice_of(m->key)) == m);
    }
    memset(m, 0, sizeof(*m));
    memcpy(m->key, key.p, key.n);
    void *old = NULL;
    must(map_set(c->by_key, slice_of(m->key), m, &old) && old == NULL);
    return m;
}

/* The same message of the same customer; a long id counts by its hash. */
static bool still_fails(struct customer *c, const struct customer_callback *callback)
{
    struct buf key;
    if (callback->fail == 0) {
        return false;
    }
    buf_init(&key, KEY_BYTES_MAX);
    buf_printf(&key, "%.*s %016llx", SLICE_ARG(callback->name),
               (unsigned long long)slice_hash(callback->message_id));
    struct message *m = message_of(c, buf_slice(&key));
    buf_free(&key);
    return m->seen++ < callback->fail;
}

int customer_take(struct customer *c, const struct customer_callback *callback)
{
    int answered = still_fails(c, callback) ? 500 : 200;
    struct slice body = callback->body;
    if (body.n > CUSTOMER_BODY_BYTES_MAX) {
        body.n = CUSTOMER_BODY_BYTES_MAX;
    }
    json_t *said = json_pack("{so so sO so sO sI si}", "name", json_text(callback->name), "method",
                             json_text(callback->method), "query", callback->query, "body",
                             json_text(body), "headers", callback->headers, "at_ms",
                             (json_int_t)callback->at_ms, "answered", answered);
    must(said != NULL);
    json_t **place = &c->callbacks[c->taken++ % CUSTOMER_CALLBACKS_MAX];
    json_decref(*place);
    *place = said;
    return answered;
}

static bool is_of(const json_t *callback, struct slice name)
{
    const char *whose = json_string_value(json_object_get(callback, "name"));
    return name.n == 0 || slice_is(name, whose);
}

void customer_print(const struct customer *c, struct slice name, struct buf *out)
{
    uint64_t kept = c->taken < CUSTOMER_CALLBACKS_MAX ? c->taken : CUSTOMER_CALLBACKS_MAX;
    json_t *all = json_array();
    for (uint64_t i = 0; i < kept && json_array_size(all) < CUSTOMER_SHOWN_MAX; i++) {
        json_t *callback = c->callbacks[(c->taken - 1 - i) % CUSTOMER_CALLBACKS_MAX];
        if (is_of(callback, name)) {
            must(json_array_append(all, callback) == 0);
        }
    }
    char *text = json_dumps(all, JSON_COMPACT);
    must(text != NULL);
    buf_puts(out, text);
    free(text);
    json_decref(all);
}
