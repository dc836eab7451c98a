#include "common/meaning/flash_index.h"

#include <stdio.h>
#include <strings.h>

#include "common/meaning/job_ops.h"
#include "common/meaning/wire.h"

struct flash_index *flash_index_new(void)
{
    struct flash_index *x = xcalloc(1, sizeof(*x));
    x->receivers = map_new(RECORDS_MAX * (size_t)RECORD_LIST_MAX);
    x->lanes = map_new(RECORDS_MAX);
    return x;
}

static void free_receiver(void *value)
{
    struct flash_receiver *r = value;
    free(r->at);
    free(r);
}

void flash_index_destroy(struct flash_index **xp)
{
    struct flash_index *x = *xp;
    if (x == NULL) {
        return;
    }
    *xp = NULL;
    map_destroy(&x->receivers, free_receiver);
    map_destroy(&x->lanes, free);
    free(x);
}

static bool refuse(char why[256], const char *what, const char *a, const char *b)
{
    (void)snprintf(why, 256, what, a, b);
    return false;
}

static struct flash_receiver *receiver_of(struct flash_index *x, const char *digits)
{
    struct flash_receiver *r = map_get(x->receivers, slice_of(digits));
    void *old = NULL;
    if (r == NULL) {
        r = xcalloc(1, sizeof(*r));
        must(map_set(x->receivers, slice_of(digits), r, &old) && old == NULL);
    }
    return r;
}

static bool add(struct flash_index *x, const char *digits, const struct flash_template *t,
                const struct mo_word *word, char why[256])
{
    struct flash_receiver *r = receiver_of(x, digits);
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->at[i].template == t) {
            return true; /* the number stands there twice */
        }
        if (mo_word_same(&r->at[i].word, word)) {
            return refuse(why,
                          "flash template %.64s has the same word around {code} and the receiver "
                          "%.16s, too: nobody could tell whose SMS it is",
                          r->at[i].template->name, digits);
        }
    }
    if (r->count == FLASH_RECEIVER_TEMPLATES_MAX) {
        return refuse(why, "more than 64 flash templates have the receiver %.16s%s", digits, "");
    }
    r->at = xrealloc(r->at, (r->count + 1) * sizeof(r->at[0])); /* most have one */
    r->at[r->count++] = (struct flash_word){t, *word};
    return true;
}

static bool is_elsewhere(const struct records *records, const struct flash_template *t)
{
    const struct integration *i = records_integration(records, slice_of(t->integration));
    return i != NULL && (dialect_traits(i->dialect, i->settings) & DIALECT_LINK) != 0;
}

/* The first by name, so that it does not depend on the order of the records. */
static void add_lane(struct flash_index *x, const struct flash_template *t)
{
    struct slice account = slice_of(t->account);
    char *lane = map_get(x->lanes, account);
    void *old = NULL;
    if (lane == NULL) {
        lane = xcalloc(1, WIRE_ROUTE_BYTES_MAX + 1);
        must(map_set(x->lanes, account, lane, &old) && old == NULL);
    } else if (strcmp(lane + sizeof(FLASH_LANE) - 1, t->name) < 0) {
        return;
    }
    (void)snprintf(lane, WIRE_ROUTE_BYTES_MAX + 1, FLASH_LANE "%s", t->name);
}

const char *flash_index_lane(const struct flash_index *x, const char *account)
{
    struct slice name;
    void *lane = NULL;
    size_t at = 0;
    if (account != NULL) {
        return map_get(x->lanes, slice_of(account));
    }
    return map_next(x->lanes, &at, &name, &lane) ? lane : NULL;
}

bool flash_index_template(struct flash_index *x, const struct records *records,
                          const struct flash_template *t, char why[256])
{
    struct mo_word word;
    if (strlen(t->name) > WIRE_ROUTE_BYTES_MAX - (sizeof(FLASH_LANE) - 1)) {
        return refuse(why, "its name has more than 58 bytes%s%s", "", "");
    }
    if (!mo_word_of(slice_of(t->content), &word)) {
        return refuse(why, "content must hold {code} once%s%s", "", "");
    }
    add_lane(x, t);
    for (uint32_t i = 0; i < t->receivers.count; i++) {
        const char *digits = t->receivers.at[i];
        if (digits[strspn(digits, "0123456789")] != '\0') {
            return refuse(why, "receiver %.16s must be digits alone%s", digits, "");
        }
        if (!is_elsewhere(records, t) && !add(x, digits, t, &word, why)) {
            return false;
        }
    }
    return true;
}

bool flash_index_account(struct flash_index *x, const struct account *a, char why[256])
{
    for (uint32_t i = 0; i < x->header_count; i++) {
        if (strcasecmp(x->headers[i], a->header_account) == 0) {
            return true;
        }
    }
    if (x->header_count == FLASH_HEADERS_MAX) {
        return refuse(why, "all accounts together use at most 8 names for header_account%s%s", "",
                      "");
    }
    x->headers[x->header_count++] = a->header_account;
    return true;
}

const struct flash_template *flash_index_match(const struct flash_index *x, struct slice receiver,
                                               struct slice text, struct slice *code)
{
    const struct flash_receiver *r = map_get(x->receivers, receiver);
    const struct flash_template *best = NULL;
    struct mo_found known;
    struct mo_found found;
    bool tied = false;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        if (!mo_text_find(&r->at[i].word, text, &found)) {
            continue;
        }
        int order = best != NULL ? mo_found_compare(&found, &known) : 1;
        tied = order == 0 || (order < 0 && tied);
        if (order > 0) {
            best = r->at[i].template;
            known = found;
        }
    }
    if (best == NULL || tied) {
        return NULL;
    }
    *code = known.code;
    return best;
}
