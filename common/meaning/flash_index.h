/*
 * flash_index.h: what FOTP looks up by something else than a record's name: the templates behind a
 * number that an SMS came to, and the headers in which accounts name themselves. Made once for a
 * snapshot of the records, bounded. Floor 1.
 */
#ifndef OTPQ_MEANING_FLASH_INDEX_H
#define OTPQ_MEANING_FLASH_INDEX_H

#include "common/meaning/mo_text.h"
#include "common/meaning/record.h"

enum {
    FLASH_RECEIVER_TEMPLATES_MAX = 64, /* templates that share a number: each MO looks at all */
    FLASH_HEADERS_MAX = 8              /* names of header_account in use: each request asks all */
};

/* A template and what its SMSs hold. Borrows from the records. */
struct flash_word {
    const struct flash_template *template;
    struct mo_word word;
};

struct flash_receiver {
    uint32_t count;        /* at most FLASH_RECEIVER_TEMPLATES_MAX */
    struct flash_word *at; /* owned */
};

struct flash_index {
    struct map *receivers; /* digits → struct flash_receiver, owned */
    struct map *lanes;     /* account → FLASH_LANE of one of its templates, owned */
    uint32_t header_count;
    const char *headers[FLASH_HEADERS_MAX]; /* lower and upper case are one; borrowed */
};

struct flash_index *flash_index_new(void);
void flash_index_destroy(struct flash_index **x);

/* Takes a record in. False: why says what is wrong with it beside the others. A template whose
 * integration speaks a link dialect is left out: its SMSs go to somebody else. */
MUST_CHECK bool flash_index_template(struct flash_index *x, const struct records *records,
                                     const struct flash_template *t, char why[256]);
MUST_CHECK bool flash_index_account(struct flash_index *x, const struct account *a, char why[256]);

/* Whose code the text holds, sent to this number; NULL: nobody's, or nobody can say. The digits of
 * the code are put into *code, borrowed from the text. */
const struct flash_template *flash_index_match(const struct flash_index *x, struct slice receiver,
                                               struct slice text, struct slice *code);

/* A lane for a look at a link of the account whose template is not known; NULL: it has none. NULL
 * in place of the account: any lane. */
const char *flash_index_lane(const struct flash_index *x, const char *account);

#endif
