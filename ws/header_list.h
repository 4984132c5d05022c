/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header values that are lists (RFC 9110 5.6),
 * and the list of extensions (RFC 6455 9.1). Pure; any thread.
 */
#ifndef WS_HEADER_LIST_H
#define WS_HEADER_LIST_H

#include "core/must.h"
#include "core/span.h"

/* Without regard to ASCII case. */
bool text_equal(struct span a, struct span b);
bool text_is(struct span text, const char *other);

/* The next item between commas, blanks around it taken off;
 * empty ones are passed over. False: no more. */
bool list_next(struct span *rest, struct span *item);

/*
 * Walks   token *( ";" token [ "=" ( token | quoted-string ) ] )   between commas:
 *   struct extension_list list = {header};
 *   while (extension_next(&list, &name) > 0)
 *       while (extension_parameter(&list, &parameter, &value) > 0) …
 * Both: 1 found, 0 no more, -1 the header breaks the grammar. All parameters must be read before
 * the next extension. value is {NULL,0} where there is none; a quoted one is given without its
 * quotes and must itself be a token.
 */
struct extension_list {
    struct span rest;
};
NODISCARD int extension_next(struct extension_list *list, struct span *name);
NODISCARD int extension_parameter(struct extension_list *list, struct span *name,
                                  struct span *value);

#endif
