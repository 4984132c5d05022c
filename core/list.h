/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Circular doubly linked list whose links lie inside the members. An empty head points at itself; a
 * member that is in no list has next == NULL. No memory, no failure; one thread.
 */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

/* The object of `type` whose `member` is at `link`. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
    head->next = head->previous = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *link)
{
    return link->next != NULL;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = NULL;
}

/* The first member, taken out, or NULL. */
static inline struct list *list_take(struct list *head)
{
    struct list *link = head->next;
    if (link == head)
        return NULL;
    head->next = link->next;
    link->next->previous = head;
    link->next = link->previous = NULL;
    return link;
}

/* All members of one list to another, which was empty: to walk it while members come and go. */
static inline void list_move_all(struct list *from, struct list *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    to->next = from->next;
    to->previous = from->previous;
    to->next->previous = to->previous->next = to;
    list_init(from);
}

#endif
