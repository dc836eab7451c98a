/*
 * config_shape.h: what the text of an option must look like. Inner part of the configuration: one
 * row a shape, read by the check at load and by --help. Floor 1.
 */
#ifndef OTPQ_MEANING_CONFIG_SHAPE_H
#define OTPQ_MEANING_CONFIG_SHAPE_H

#include "common/meaning/config.h"

struct config_shape_row {
    const char *values;                 /* for --help: "host:port"; "" anything */
    bool may_be_empty;                  /* "" means none or the default */
    const char *(*wrong)(const char *); /* what is wrong with a text, "must be …"; NULL: nothing */
};
extern const struct config_shape_row config_shapes[CONFIG_SHAPES];

/* What is wrong with this text, as the end of a sentence, or NULL. */
const char *config_shape_wrong(enum config_shape shape, const char *text);
/* What only all values together show: sockets in each other's way. */
MUST_CHECK bool config_judge_whole(const struct config *c, struct yaml_error *error);

#endif
