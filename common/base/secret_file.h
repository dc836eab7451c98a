/*
 * secret_file.h: the bytes of a file that holds a secret, read once and wiped. Blocks: for boot
 * time only. Floor 0.
 */
#ifndef OTPQ_BASE_SECRET_FILE_H
#define OTPQ_BASE_SECRET_FILE_H

#include <stddef.h>

#include "common/base/check.h"

/* The bytes, without the line end an editor leaves at the end. *n gets their count; NUL-terminated;
 * free with secret_wipe. NULL: why says what is wrong with the file: missing, empty, larger than
 * bytes_max, no regular file, or open to others (group may read, nobody else anything). */
MUST_CHECK char *secret_bytes_read(const char *path, size_t bytes_max, size_t *n, char why[256]);
/* Overwrites and frees; takes NULL, nulls the pointer. */
void secret_wipe(char **secret, size_t n);

#endif
