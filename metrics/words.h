/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small talk about the words in a header's values.
 */
#ifndef METRICS_WORDS_H
#define METRICS_WORDS_H

#include "core/span.h"

#include <strings.h>

/* Is `text` this word, in capitals or not? */
static inline bool word_is(struct span text, const char *word)
{
    return text.length == strlen(word) &&
           strncasecmp((const char *)text.at, word, text.length) == 0;
}

static inline bool word_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static inline struct span word_trimmed(struct span text)
{
    while (text.length > 0 && word_is_blank(text.at[0]))
        text = span_from(text, 1);
    while (text.length > 0 && word_is_blank(text.at[text.length - 1]))
        text.length--;
    return text;
}

#endif
