/*
 * callbacks_view.h: tasks of the outbox as people and programs read them, on stdout. Floor 4.
 */
#ifndef OTPQ_CLIENTS_CALLBACKS_VIEW_H
#define OTPQ_CLIENTS_CALLBACKS_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "common/adapters/outbox_store.h"

/* One line each, and a line that counts them. */
void callbacks_view_table(const struct outbox_row *rows, size_t count, int64_t now_ms);
/* One with its last attempts. */
void callbacks_view_one(const struct outbox_row *row, int64_t now_ms);
/* One as a line of JSON. */
void callbacks_view_json(const struct outbox_row *row);

#endif
