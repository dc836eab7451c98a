/*
 * yaml.h: a YAML document as a tree in which every node knows its line and column (libyaml's event
 * parser). Used for the configuration and for record files. One document, no anchors, no tags,
 * duplicate keys refused, everything bounded (below). An empty document is an empty map. Floor 1.
 */
#ifndef OTPQ_MEANING_YAML_H
#define OTPQ_MEANING_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

enum {
    YAML_BYTES_MAX = 8 * 1024 * 1024, /* of a document */
    YAML_NODES_MAX = 500000,
    YAML_DEPTH_MAX = 16,
    YAML_KEY_BYTES_MAX = 200 /* libyaml wants a key within 1,024 characters, escapes included */
};

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    int line;                 /* 1-based, where the value begins */
    int column;               /* 1-based */
    char *text;               /* scalar: its text (NUL-terminated, no NUL inside) */
    bool quoted;              /* scalar was written in quotes or as a block: it is a string */
    size_t count;             /* children */
    struct yaml_pair *pairs;  /* map: in file order */
    struct yaml_node **items; /* list */
};

struct yaml_pair {
    char *key;
    int line; /* of the key */
    int column;
    struct yaml_node *value;
};

/* An error with its place: "demo.yaml:12:5: unknown key \"metod\"; did you mean \"method\"?" */
struct yaml_error {
    char text[512];
};
void yaml_error_at(struct yaml_error *e, const char *file, int line, int column, const char *fmt,
                   ...) PRINTF_LIKE(5, 6);

/* NULL on failure, with *error filled. file is only a name for messages. */
MUST_CHECK struct yaml_node *yaml_parse(const char *file, struct slice text,
                                        struct yaml_error *error);
/* Reads the file (at most 8 MiB) and parses it. "-" is standard input. */
MUST_CHECK struct yaml_node *yaml_load(const char *path, struct yaml_error *error);
void yaml_destroy(struct yaml_node **node);

/* The value under key in a map, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* Of the words (n of them; NULLs are passed over), the nearest to `word` by edit distance when it
 * is near enough to be a slip of the finger, else NULL. For "did you mean". */
const char *yaml_suggest(const char *word, const char *const *words, size_t n);

/* A scalar as YAML would need it written: plain when safe, else double-quoted and escaped. A string
 * that a reader could take for a number, a date, a boolean or null is quoted. */
void yaml_put_scalar(struct buf *b, struct slice text, bool is_string);
/* A key and its colon at `indent` spaces. */
void yaml_put_key(struct buf *b, const char *key, int indent);
/* What comes behind a key or a dash: " value\n", or "\n" and the children at `indent` + 2. Block
 * style, two spaces, map keys in file order, no folding: reading it gives the same tree, and
 * writing that gives the same bytes. */
void yaml_write_node(struct buf *b, const struct yaml_node *node, int indent);

#endif
