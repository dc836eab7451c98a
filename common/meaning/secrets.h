/*
 * secrets.h: what must not stand in a configuration: passwords, keys, the values of {secret.NAME}.
 * They come from files that nobody else may read, and are wiped when they are no longer needed.
 * Reads files: for boot time only. Floor 1.
 */
#ifndef OTPQ_MEANING_SECRETS_H
#define OTPQ_MEANING_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/secret_file.h"
#include "common/base/slice.h"
#include "common/meaning/redact.h"
#include "common/meaning/yaml.h"

enum { SECRETS_MAX = 1000, SECRET_BYTES_MAX = 4096, SECRETS_FILE_BYTES_MAX = 1024 * 1024 };

/* One secret: the bytes of a file, without the line end an editor leaves at the end. *n gets their
 * count; NUL-terminated; free with secret_wipe. NULL: the file is missing, empty, larger than
 * bytes_max, no regular file, or open to others (group may read, nobody else anything). */
MUST_CHECK char *secret_file_read(const char *path, size_t bytes_max, size_t *n,
                                  struct yaml_error *error);
struct secrets; /* immutable after loading */

/* A YAML map, name: value; names are [A-Za-z0-9_.-]{1,64}. path "" gives an empty set. */
MUST_CHECK struct secrets *secrets_load(const char *path, struct yaml_error *error);
void secrets_destroy(struct secrets **s);
/* False when there is none of this name. The value lives as long as the set. */
MUST_CHECK bool secrets_find(const struct secrets *s, struct slice name, struct slice *value);
/* Of all values, to blot them out of an advertiser's answer. Lives as long as the set. */
const struct redactor *secrets_redactor(const struct secrets *s);

#endif
