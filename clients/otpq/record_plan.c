#include "clients/otpq/record_plan.h"

#include <stdlib.h>
#include <string.h>

const char plan_signs[PLAN_STEPS] = {'+', '~', '-', '.', '='};

/* ---- the plan -------------------------------------------------------------------------------- */

static void sort_texts(struct record_texts *t)
{
    if (t->count > 1) {
        qsort(t->at, t->count, sizeof(*t->at), record_text_compare);
    }
}

static enum plan_step step_of(const struct record_text *stored, const struct record_text *wanted,
                              const bool *has, bool prune)
{
    if (stored == NULL) {
        return PLAN_ADD;
    }
    if (wanted == NULL) {
        return prune && has[stored->kind] ? PLAN_REMOVE : PLAN_KEEP;
    }
    return strcmp(stored->text, wanted->text) == 0 ? PLAN_SAME : PLAN_CHANGE;
}

void plan_make(struct plan *p, struct record_texts *stored, struct record_texts *wanted, bool prune)
{
    size_t s = 0;
    size_t w = 0;
    sort_texts(stored);
    sort_texts(wanted);
    *p = (struct plan){.rows = xcalloc(stored->count + wanted->count, sizeof(struct plan_row))};
    while (s < stored->count || w < wanted->count) {
        int order = s == stored->count   ? 1
                    : w == wanted->count ? -1
                                         : record_text_compare(&stored->at[s], &wanted->at[w]);
        struct plan_row row = {.stored = order <= 0 ? &stored->at[s++] : NULL,
                               .wanted = order >= 0 ? &wanted->at[w++] : NULL};
        row.step = step_of(row.stored, row.wanted, wanted->has, prune);
        p->steps[row.step]++;
        p->rows[p->count++] = row;
    }
}

void plan_free(struct plan *p)
{
    free(p->rows);
    *p = (struct plan){0};
}

struct record_text *plan_changes(const struct plan *p, size_t *count)
{
    struct record_text *changes = xcalloc(p->count, sizeof(*changes));
    *count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct plan_row *row = &p->rows[i];
        if (row->step == PLAN_ADD || row->step == PLAN_CHANGE) {
            changes[(*count)++] = *row->wanted;
        } else if (row->step == PLAN_REMOVE) {
            changes[*count] = *row->stored;
            changes[(*count)++].text = NULL;
        }
    }
    return changes;
}

struct record_text *plan_outcome(const struct plan *p, size_t *count)
{
    struct record_text *outcome = xcalloc(p->count, sizeof(*outcome));
    *count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct plan_row *row = &p->rows[i];
        if (row->step != PLAN_REMOVE) {
            outcome[(*count)++] = row->wanted != NULL ? *row->wanted : *row->stored;
        }
    }
    return outcome;
}

/* ---- the lines that differ ------------------------------------------------------------------- */

enum { LINES_MAX = 1500 }; /* of one text; of a longer one no lines are shown */

/* A text cut into its lines. */
struct lines {
    size_t count;
    struct slice at[LINES_MAX];
};

static bool cut_lines(const char *text, struct lines *out)
{
    out->count = 0;
    while (*text != '\0' && out->count < LINES_MAX) {
        size_t n = strcspn(text, "\n");
        out->at[out->count++] = slice_make(text, n);
        text += n + (text[n] == '\n' ? 1 : 0);
    }
    return *text == '\0';
}

static bool is_secret_line(struct slice line)
{
    static const char *const marks[] = {"key", "token", "pass", "secret", "auth", "sign"};
    char name[64] = "";
    size_t n = 0;
    while (n < line.n && n < sizeof(name) - 1 && line.p[n] != ':') {
        name[n] = line.p[n];
        n++;
    }
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        if (strcasestr(name, marks[i]) != NULL) {
            return n < line.n;
        }
    }
    return false;
}

static void put_line(struct buf *out, int indent, char sign, struct slice line)
{
    buf_printf(out, "%*s%c ", indent, "", sign);
    if (is_secret_line(line)) {
        const char *colon = memchr(line.p, ':', line.n);
        buf_put(out, line.p, (size_t)(colon - line.p));
        buf_puts(out, ": ***");
    } else {
        buf_put_slice(out, line);
    }
    buf_putc(out, '\n');
}

/* Longest common subsequence: length[i][j] of a from i and b from j. */
static uint16_t *common_lengths(const struct lines *a, const struct lines *b)
{
    size_t width = b->count + 1;
    uint16_t *length = xcalloc((a->count + 1) * width, sizeof(*length));
    for (size_t i = a->count; i-- > 0;) {
        for (size_t j = b->count; j-- > 0;) {
            uint16_t down = length[(i + 1) * width + j];
            uint16_t right = length[i * width + j + 1];
            length[i * width + j] = slice_eq(a->at[i], b->at[j])
                                        ? (uint16_t)(length[(i + 1) * width + j + 1] + 1)
                                        : (down > right ? down : right);
        }
    }
    return length;
}

/* What differs, as it is found. */
struct difference {
    int indent;           /* spaces before each line */
    struct buf *out;      /* where the lines go */
    struct slice heading; /* top-level key shown last */
};

/* An indented line alone would not say whether it is of send or of verify: its top-level key is
 * shown before it, once. */
static void put_changed(struct difference *d, char sign, const struct lines *lines, size_t at)
{
    size_t top = at;
    while (top > 0 && lines->at[top].n > 0 && lines->at[top].p[0] == ' ') {
        top--;
    }
    if (top != at && !slice_eq(lines->at[top], d->heading)) {
        put_line(d->out, d->indent, ' ', lines->at[top]);
    }
    d->heading = lines->at[top];
    put_line(d->out, d->indent, sign, lines->at[at]);
}

static void put_difference(const struct lines *a, const struct lines *b, int indent,
                           struct buf *out)
{
    size_t i = 0;
    size_t j = 0;
    size_t width = b->count + 1;
    uint16_t *length = common_lengths(a, b);
    struct difference d = {.indent = indent, .out = out};
    while (i < a->count || j < b->count) {
        if (i < a->count && j < b->count && slice_eq(a->at[i], b->at[j])) {
            i++;
            j++;
        } else if (j == b->count ||
                   (i < a->count && length[(i + 1) * width + j] >= length[i * width + j + 1])) {
            put_changed(&d, '-', a, i++);
        } else {
            put_changed(&d, '+', b, j++);
        }
    }
    free(length);
}

void plan_put_lines(const struct plan_row *row, int indent, struct buf *out)
{
    struct lines *a = xmalloc(sizeof(*a));
    struct lines *b = xmalloc(sizeof(*b));
    bool is_whole = cut_lines(row->stored->text, a);
    is_whole = cut_lines(row->wanted->text, b) && is_whole;
    if (is_whole) {
        put_difference(a, b, indent, out);
    } else {
        buf_printf(out, "%*s(too long to be compared line by line)\n", indent, "");
    }
    free(a);
    free(b);
}
