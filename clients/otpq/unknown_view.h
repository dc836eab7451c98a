/*
 * unknown_view.h: jobs whose outcome nobody knows, as people and programs read them, on stdout.
 * Floor 4.
 */
#ifndef OTPQ_CLIENTS_UNKNOWN_VIEW_H
#define OTPQ_CLIENTS_UNKNOWN_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "common/adapters/unknown_store.h"

/* One line each, and a line that counts them. */
void unknown_view_table(const struct unknown_row *rows, size_t count, int64_t now_ms);
/* One as a line of JSON. */
void unknown_view_json(const struct unknown_row *row);
/* What became of one, as a line of JSON. */
void unknown_view_resolved(const struct unknown_word *word, const struct unknown_outcome *out);

#endif
