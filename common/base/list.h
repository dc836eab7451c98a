/*
 * list.h: an intrusive doubly linked list with a sentinel. The member is part of the owner, so
 * moving between lists allocates nothing. Floor 0.
 */
#ifndef OTPQ_BASE_LIST_H
#define OTPQ_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev; /* itself when alone */
    struct list *next; /* itself when alone */
};

#define list_owner(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->prev = l;
    l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* node must be alone. */
static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline struct list *list_first(struct list *head)
{
    return head->next == head ? NULL : head->next;
}

/* Safe against removal of `it` inside the body. */
#define list_each(it, head)                                                                        \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
