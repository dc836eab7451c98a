/*
 * dead_view.h: dead letters as a table, in full, or as JSON; without codes, with masked numbers.
 * Floor 4.
 */
#ifndef OTPQ_CLIENTS_DEAD_VIEW_H
#define OTPQ_CLIENTS_DEAD_VIEW_H

#include "clients/otpq/client.h"
#include "common/adapters/dead_list.h"
#include "common/meaning/stored_job.h"

/* What a list shows of one letter. */
struct dead_line {
    char id[DEAD_ID_BYTES_MAX + 1];
    char route[WIRE_ROUTE_BYTES_MAX + 1];
    char tenant[WIRE_TENANT_BYTES_MAX + 1];
    char state[16];
    char code[40];
    enum wire_op op;
    int64_t at_ms;       /* when it ended */
    int64_t accepted_ms; /* when it was accepted */
};

/* False: its entry cannot be read. */
MUST_CHECK bool dead_line_read(const struct dead_row *row, struct dead_line *out,
                               struct stored_job *job);
void dead_view_head(void);
void dead_view_line(const struct dead_line *l, int64_t now_ms);
/* job NULL: without its body. */
json_t *dead_view_json(const struct dead_line *l, const struct stored_job *job);
void dead_view_one(const struct dead_line *l, const struct stored_job *job);

#endif
