/* redis.c: the modelled Redis: hashes by name, the scripts that brokers use (shelf_*.lua,
 * brokers_beat.lua, dead_put.lua), and what was there before each write of the last moments. */
#include <hiredis/hiredis.h>
#include <inttypes.h>

#include "common/adapters/store.h"
#include "common/meaning/stored_job.h"
#include "tests/sim/many/many.h"

enum { KEYS_MAX = 1 << 20 };

struct field {
    uint64_t hash;
    struct slice name; /* owned; the value stands behind it */
    struct slice value;
};

struct key {
    char *name;
    bool shelf; /* sj: */
    struct field *fields;
    uint32_t count;
    uint32_t cap;
};

/* What was there before a write: of a field, or (key NULL) of a claim. */
struct undo {
    int64_t at;
    struct key *key;
    struct field was; /* value.p NULL: it was not there */
    uint64_t job;
    struct claim claim;
};

/* ---- answers --------------------------------------------------------------------------------- */

static redisReply *reply_new(int type)
{
    redisReply *r = xcalloc(1, sizeof *r);
    r->type = type;
    return r;
}

static redisReply *reply_text(struct slice s)
{
    redisReply *r = reply_new(REDIS_REPLY_STRING);
    r->str = slice_dup(s);
    r->len = s.n;
    return r;
}

static redisReply *reply_number(int64_t n)
{
    redisReply *r = reply_new(REDIS_REPLY_INTEGER);
    r->integer = n;
    return r;
}

static redisReply *reply_array(size_t n)
{
    redisReply *r = reply_new(REDIS_REPLY_ARRAY);
    r->elements = n;
    r->element = xcalloc(n + 1, sizeof(redisReply *));
    return r;
}

static redisReply *reply_pair(redisReply *a, redisReply *b)
{
    redisReply *r = reply_array(2);
    r->element[0] = a;
    r->element[1] = b;
    return r;
}

void reply_free(redisReply *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->elements; i++) {
        reply_free(r->element[i]);
    }
    free(r->element);
    free(r->str);
    free(r);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static struct key *key_of(struct redis *r, struct slice name)
{
    struct key *k = map_get(r->names, name);
    void *old = NULL;
    if (k == NULL) {
        k = xcalloc(1, sizeof *k);
        k->name = slice_dup(name);
        k->shelf = name.n > 3 && memcmp(name.p, "sj:", 3) == 0;
        must(map_set(r->names, name, k, &old));
        r->keys = realloc(r->keys, (r->key_count + 1) * sizeof(struct key *));
        must(r->keys != NULL);
        r->keys[r->key_count++] = k;
    }
    return k;
}

static struct field *field_of(const struct key *k, struct slice name)
{
    uint64_t hash = slice_hash(name);
    for (uint32_t i = 0; i < k->count; i++) {
        if (k->fields[i].hash == hash && slice_eq(k->fields[i].name, name)) {
            return &k->fields[i];
        }
    }
    return NULL;
}

static struct slice value_of(const struct key *k, const char *name)
{
    const struct field *f = field_of(k, slice_of(name));
    return f == NULL ? slice_make(NULL, 0) : f->value;
}

static struct field field_copy(struct slice name, struct slice value)
{
    char *bytes = xmalloc(name.n + value.n + 1);
    memcpy(bytes, name.p, name.n);
    if (value.n > 0) {
        memcpy(bytes + name.n, value.p, value.n);
    }
    return (struct field){.hash = slice_hash(name),
                          .name = slice_make(bytes, name.n),
                          .value = slice_make(bytes + name.n, value.n)};
}

/* Entries are counted, so that it is known what is lost. */
static void count_entry(struct many *w, const struct key *k, struct slice id, int by)
{
    struct model *m = k->shelf ? many_named(w, id) : NULL;
    if (m != NULL) {
        many_note(w, m->number, "%s: %d", k->name, by);
        m->entries += (uint32_t)by;
    }
}

static void field_put(struct many *w, struct key *k, struct slice name, struct slice value)
{
    struct field *f = field_of(k, name);
    struct field fresh = field_copy(name, value);
    if (f != NULL) {
        free((char *)(uintptr_t)f->name.p);
    } else {
        if (k->count == k->cap) {
            k->cap = k->cap == 0 ? 8 : 2 * k->cap;
            k->fields = realloc(k->fields, k->cap * sizeof *k->fields);
            must(k->fields != NULL);
        }
        f = &k->fields[k->count++];
        count_entry(w, k, name, 1);
    }
    *f = fresh;
}

static void field_drop(struct many *w, struct key *k, struct slice name)
{
    struct field *f = field_of(k, name);
    if (f != NULL) {
        struct field gone = *f;
        *f = k->fields[--k->count]; /* HSCAN goes downwards and misses nothing by that */
        count_entry(w, k, name, -1);
        free((char *)(uintptr_t)gone.name.p);
    }
}

/* ---- what was there before ------------------------------------------------------------------- */

static struct undo *undo_new(struct many *w)
{
    struct redis *r = &w->redis;
    while (r->undo_from < r->undo_n && r->undo[r->undo_from].at < w->now - FORGETS_MS) {
        free((char *)(uintptr_t)r->undo[r->undo_from++].was.name.p);
    }
    if (r->undo_n == r->undo_cap && r->undo_from > r->undo_n / 2) {
        r->undo_n -= r->undo_from;
        memmove(r->undo, r->undo + r->undo_from, r->undo_n * sizeof *r->undo);
        r->undo_from = 0;
    }
    if (r->undo_n == r->undo_cap) {
        r->undo_cap = r->undo_cap == 0 ? 1024 : 2 * r->undo_cap;
        r->undo = realloc(r->undo, r->undo_cap * sizeof *r->undo);
        must(r->undo != NULL);
    }
    r->undo[r->undo_n] = (struct undo){.at = w->now};
    return &r->undo[r->undo_n++];
}

static void remember(struct many *w, struct key *k, struct slice name)
{
    const struct field *f = field_of(k, name);
    struct undo *u = undo_new(w);
    u->key = k;
    u->was = field_copy(name, f == NULL ? slice_make(NULL, 0) : f->value);
    if (f == NULL) {
        u->was.value.p = NULL;
    }
}

void redis_remember_claim(struct many *w, const struct model *m)
{
    struct undo *u = undo_new(w);
    u->job = m->number;
    u->claim = m->claim;
}

static void undo_claim(struct many *w, const struct undo *u)
{
    struct model *m = many_model(w, u->job);
    if (m != NULL) {
        m->claim_lost = true;
        m->claim_lost_at = w->now;
        m->end_lost = m->end_lost || m->claim.state == CLAIM_ENDED;
        m->claim = u->claim;
    }
}

static void undo_field(struct many *w, const struct undo *u)
{
    struct model *m = u->key->shelf ? many_named(w, u->was.name) : NULL;
    if (u->was.value.p != NULL) {
        w->redis.takes_undone = w->redis.takes_undone || slice_is(u->was.name, "own");
        if (m != NULL && field_of(u->key, u->was.name) == NULL) {
            m->removal_lost = true;
        }
        field_put(w, u->key, u->was.name, u->was.value);
    } else {
        field_drop(w, u->key, u->was.name);
        if (m != NULL) {
            m->entry_lost = true;
        }
    }
}

void redis_failover(struct many *w)
{
    struct redis *r = &w->redis;
    int64_t since = w->now - many_below(w, FORGETS_MS);
    r->server++;
    r->failed_at = w->now;
    r->takes_undone = false;
    while (r->undo_n > r->undo_from && r->undo[r->undo_n - 1].at >= since) {
        struct undo *u = &r->undo[--r->undo_n];
        w->counts.undone++;
        if (u->key == NULL) {
            undo_claim(w, u);
        } else {
            undo_field(w, u);
        }
        free((char *)(uintptr_t)u->was.name.p);
    }
}

static void hset(struct many *w, struct key *k, struct slice name, struct slice value)
{
    remember(w, k, name);
    field_put(w, k, name, value);
}

static void hdel(struct many *w, struct key *k, struct slice name)
{
    if (field_of(k, name) != NULL) {
        remember(w, k, name);
        field_drop(w, k, name);
    }
}

/* ---- shelves --------------------------------------------------------------------------------- */

static redisReply *word(const char *text)
{
    return reply_text(slice_of(text));
}

/* Who has a token: a process that lives, or BROKERS. */
static uint32_t broker_named(const struct many *w, struct slice token)
{
    uint32_t b = 0;
    while (b < BROKERS && !(w->procs[b].alive && slice_is(token, w->brokers[b].token))) {
        b++;
    }
    return b;
}

/* A shelf changes hands. Who lives and is reached by all keeps what is his. */
static void check_taken(struct many *w, struct slice from, struct slice to)
{
    enum { BAD_LATELY_MS = 12 * 1000 };
    uint32_t b = broker_named(w, from);
    if (b < BROKERS && !slice_eq(from, to)) {
        const struct proc *p = &w->procs[b];
        w->counts.deposed++;
        many_note(w, w->watched, "broker %u is deposed", b);
        must(p->paused || w->brokers[b].store_cut || w->now - p->bad_at < BAD_LATELY_MS);
    }
}

/* A deposed broker writes nothing. */
static void check_owner(const struct key *so, struct slice writer)
{
    must(slice_eq(value_of(so, "own"), writer));
}

/* argv: so, sj, owner, number, count, id and entry of each, ids that go */
static redisReply *shelf_commit_run(struct many *w, struct key *so, struct key *sj, int argc,
                                    const struct slice *argv)
{
    uint64_t number = 0, puts = 0, was = 0;
    must(slice_to_u64(argv[3], UINT64_MAX, &number) && slice_to_u64(argv[4], UINT32_MAX, &puts));
    struct slice n = value_of(so, "n");
    must(n.n == 0 || slice_to_u64(n, UINT64_MAX, &was));
    int from = 5 + 2 * (int)puts;
    bool mine = slice_eq(value_of(so, "own"), argv[2]);
    bool unlooked = (w->plant == PLANT_SHELF_PUT && puts > 0 && from == argc) ||
                    (w->plant == PLANT_SHELF_REMOVE && puts == 0 && from < argc);
    if (!mine && !unlooked) {
        return word("deposed");
    }
    if (number < was && w->plant != PLANT_SHELF_NUMBER) {
        return word("late");
    }
    if (mine) {
        hset(w, so, SLICE("n"), argv[3]);
    }
    for (int i = 5; i < argc; i += i < from ? 2 : 1) {
        check_owner(so, argv[2]);
        if (i < from) {
            hset(w, sj, argv[i], argv[i + 1]);
        } else {
            hdel(w, sj, argv[i]);
        }
    }
    return word("ok");
}

static redisReply *shelf_open_run(struct many *w, struct key *so, struct slice owner)
{
    struct slice own = value_of(so, "own");
    if (own.n > 0 && !slice_eq(own, owner) && w->plant != PLANT_SHELF_OPEN) {
        return word("deposed");
    }
    check_taken(w, own, owner);
    hset(w, so, SLICE("own"), owner);
    return word("ok");
}

static redisReply *shelf_take_run(struct many *w, struct key *so, const struct key *sj,
                                  struct slice from, struct slice to, struct slice number)
{
    many_note(w, w->watched, "%s with %u entries from %.*s to %.*s", sj->name, sj->count,
              SLICE_ARG(from), SLICE_ARG(to));
    const struct field *has = field_of(so, SLICE("own"));
    struct slice own = has == NULL ? slice_make(NULL, 0) : has->value;
    if (has == NULL && sj->count == 0) {
        return reply_pair(word("gone"), word(""));
    }
    if (has != NULL && !slice_eq(own, from) && !slice_eq(own, to) && w->plant != PLANT_SHELF_TAKE) {
        return reply_pair(word(slice_is(own, "-") ? "gone" : "deposed"), reply_text(own));
    }
    if (has == NULL || !slice_eq(own, to)) {
        check_taken(w, own, to);
        hset(w, so, SLICE("own"), to);
    }
    hset(w, so, SLICE("n"), number);
    return reply_pair(word("ok"), reply_text(to));
}

static redisReply *shelf_drop_run(struct many *w, struct key *so, struct key *sj,
                                  struct slice owner)
{
    struct slice own = value_of(so, "own");
    if (own.n == 0 || slice_is(own, "-")) {
        return word("ok");
    }
    if (!slice_eq(own, owner) || (sj->count > 0 && w->plant != PLANT_SHELF_DROP)) {
        return word("deposed");
    }
    hset(w, so, SLICE("own"), SLICE("-"));
    return word("ok");
}

/* ---- the others ------------------------------------------------------------------------------ */

static redisReply *all_of(const struct key *k)
{
    redisReply *r = reply_array(2 * (size_t)k->count);
    for (uint32_t i = 0; i < k->count; i++) {
        r->element[2 * i] = reply_text(k->fields[i].name);
        r->element[2 * i + 1] = reply_text(k->fields[i].value);
    }
    return r;
}

/* argv: brokers, channel, token, line, tokens of the buried */
static redisReply *beat_run(struct many *w, struct key *k, int argc, const struct slice *argv)
{
    hset(w, k, argv[2], argv[3]);
    for (int i = 4; i < argc; i++) {
        if (!slice_eq(argv[i], argv[2])) {
            hdel(w, k, argv[i]);
        }
    }
    return reply_pair(reply_number(w->now), all_of(k));
}

/* argv: HSCAN, key, cursor, COUNT, most. Downwards: cursor c means all below c, 0 from the top. */
static redisReply *scan_run(const struct key *k, const struct slice *argv)
{
    uint64_t cursor = 0, most = 0;
    must(slice_to_u64(argv[2], UINT64_MAX, &cursor) && slice_to_u64(argv[4], UINT64_MAX, &most));
    uint64_t top = cursor == 0 || cursor > k->count ? k->count : cursor;
    most = most < 40 ? most : 40; /* so that more than one part is seldom rare */
    uint64_t end = top > most ? top - most : 0;
    redisReply *pairs = reply_array(2 * (size_t)(top - end));
    char next[24];
    for (uint64_t i = end; i < top; i++) {
        pairs->element[2 * (i - end)] = reply_text(k->fields[i].name);
        pairs->element[2 * (i - end) + 1] = reply_text(k->fields[i].value);
    }
    (void)snprintf(next, sizeof next, "%" PRIu64, end);
    return reply_pair(word(next), pairs);
}

static redisReply *command_run(struct many *w, int argc, const struct slice *argv)
{
    struct key *k = key_of(&w->redis, argv[1]);
    if (slice_is(argv[0], "HGETALL")) {
        return all_of(k);
    }
    if (slice_is(argv[0], "HSCAN")) {
        must(argc == 5);
        return scan_run(k, argv);
    }
    if (slice_is(argv[0], "HSET")) {
        must(argc == 4);
        hset(w, k, argv[2], argv[3]);
        return reply_number(1);
    }
    must(slice_is(argv[0], "HDEL") && argc == 3);
    hdel(w, k, argv[2]);
    return reply_number(1);
}

redisReply *redis_run(struct many *w, int script, int argc, const struct slice *argv)
{
    struct redis *r = &w->redis;
    if (script < 0) {
        return command_run(w, argc, argv);
    }
    struct key *first = key_of(r, argv[0]);
    switch ((enum store_script)script) {
    case STORE_SHELF_COMMIT:
        return shelf_commit_run(w, first, key_of(r, argv[1]), argc, argv);
    case STORE_SHELF_OPEN:
        return shelf_open_run(w, first, argv[2]);
    case STORE_SHELF_TAKE:
        return shelf_take_run(w, first, key_of(r, argv[1]), argv[2], argv[3], argv[4]);
    case STORE_SHELF_DROP:
        return shelf_drop_run(w, first, key_of(r, argv[1]), argv[2]);
    case STORE_BROKERS_BEAT:
        return beat_run(w, first, argc, argv);
    case STORE_DEAD_PUT: /* nobody reads them here */
        return word("ok");
    default:
        must(false); /* brokers run no other */
        return NULL;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void redis_init(struct redis *r)
{
    r->up = true;
    r->server = 1;
    r->names = map_new(KEYS_MAX);
}

void redis_free(struct redis *r)
{
    for (uint32_t i = 0; i < r->key_count; i++) {
        struct key *k = r->keys[i];
        for (uint32_t f = 0; f < k->count; f++) {
            free((char *)(uintptr_t)k->fields[f].name.p);
        }
        free(k->fields);
        free(k->name);
        free(k);
    }
    while (r->undo_from < r->undo_n) {
        free((char *)(uintptr_t)r->undo[r->undo_from++].was.name.p);
    }
    free(r->undo);
    free(r->keys);
    map_destroy(&r->names, NULL);
}

void redis_check_empty(struct many *w)
{
    for (uint32_t i = 0; i < w->redis.key_count; i++) {
        must(!w->redis.keys[i]->shelf || w->redis.keys[i]->count == 0);
    }
}
