/*
 * yaml.h: a YAML document as a tree in which every node knows its line and column (libyaml's event
 * parser). Used for the configuration and for record files. One document, no anchors, no tags,
 * duplicate keys refused, depth at most 16, at most 100,000 nodes. Floor 1.
 */
#ifndef OTPQ_MEANING_YAML_H
#define OTPQ_MEANING_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    int line;                   /* 1-based, where the value begins */
    int column;                 /* 1-based */
    char *text;                 /* scalar: its text (NUL-terminated, no NUL inside) */
    bool quoted;                /* scalar was written in quotes or as a block: it is a string */
    size_t count;               /* children */
    struct yaml_pair *pairs;    /* map: in file order */
    struct yaml_node **items;   /* list */
};

struct yaml_pair {
    char *key;
    int line;                   /* of the key */
    int column;
    struct yaml_node *value;
};

/* An error with its place: "demo.yaml:12:5: unknown key \"metod\"; did you mean \"method\"?" */
struct yaml_error {
    char text[512];
};
void yaml_error_at(struct yaml_error *e, const char *file, int line, int column, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* NULL on failure, with *error filled. file is only a name for messages. */
MUST_CHECK struct yaml_node *yaml_parse(const char *file, struct slice text,
                                        struct yaml_error *error);
/* Reads the file (at most 8 MiB) and parses it. "-" is standard input. */
MUST_CHECK struct yaml_node *yaml_load(const char *path, struct yaml_error *error);
void yaml_destroy(struct yaml_node **node);

/* The value under key in a map, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* Of the words (n of them), the nearest to `word` by edit distance when it is near enough to be a
 * slip of the finger, else NULL. For "did you mean". */
const char *yaml_suggest(const char *word, const char *const *words, size_t n);

/* A scalar as YAML would need it written: plain when safe, else double-quoted and escaped. */
void yaml_put_scalar(struct buf *b, struct slice text, bool is_string);

#endif
