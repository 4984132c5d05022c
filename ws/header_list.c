/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each step takes from the front of `rest` what it recognises. Between two extensions stand commas,
 * perhaps several (empty items are allowed in lists, RFC 9110 5.6.1), between parameters a
 * semicolon, blanks anywhere around them.
 */
#include "ws/header_list.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool text_equal(struct span a, struct span b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

bool text_is(struct span text, const char *other)
{
    return text_equal(text, span_of_string(other));
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct span *rest)
{
    while (rest->length > 0 && is_blank(rest->at[0]))
        *rest = span_from(*rest, 1);
}

static bool take(struct span *rest, char c)
{
    skip_blanks(rest);
    if (rest->length == 0 || rest->at[0] != (uint8_t)c)
        return false;
    *rest = span_from(*rest, 1);
    return true;
}

bool list_next(struct span *rest, struct span *item)
{
    while (take(rest, ','))
        ;
    if (rest->length == 0)
        return false;
    const uint8_t *comma = memchr(rest->at, ',', rest->length);
    size_t length = comma == NULL ? rest->length : (size_t)(comma - rest->at);
    *item = span_of(rest->at, length);
    *rest = span_from(*rest, length);
    while (item->length > 0 && is_blank(item->at[item->length - 1]))
        item->length--;
    return true;
}

/* tchar, RFC 9110 5.6.2. */
static bool is_token_character(uint8_t c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool take_token(struct span *rest, struct span *token)
{
    skip_blanks(rest);
    size_t length = 0;
    while (length < rest->length && is_token_character(rest->at[length]))
        length++;
    *token = span_of(rest->at, length);
    *rest = span_from(*rest, length);
    return length > 0;
}

static bool take_value(struct span *rest, struct span *value)
{
    if (!take(rest, '"'))
        return take_token(rest, value);
    return take_token(rest, value) && rest->length > 0 && take(rest, '"');
}

int extension_next(struct extension_list *list, struct span *name)
{
    while (take(&list->rest, ','))
        ;
    if (list->rest.length == 0)
        return 0;
    return take_token(&list->rest, name) ? 1 : -1;
}

int extension_parameter(struct extension_list *list, struct span *name, struct span *value)
{
    struct span *rest = &list->rest;
    *value = (struct span){NULL, 0};
    if (!take(rest, ';')) /* the extension ends: at the end, or at a comma */
        return rest->length == 0 || rest->at[0] == ',' ? 0 : -1;
    if (!take_token(rest, name))
        return -1;
    if (take(rest, '=') && !take_value(rest, value))
        return -1;
    return 1;
}
