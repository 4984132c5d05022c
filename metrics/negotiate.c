/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   application/openmetrics-text; version="1.0.0"; q=0.5, text/plain; version=0.0.4; q=0.2
 *   └────────── type ──────────┘  └─────── parameters ──┘
 *   └────────────────────── range ──────────────────────┘
 *
 * A range that asks for a version that is not ours names nothing of ours.
 */
#include "metrics/negotiate.h"
#include "metrics/words.h"

enum { QUALITY_ONE = 1000 };
/* How exactly a range names a text; 0 is not at all. */
enum { NAMES_ANYTHING = 1, NAMES_GROUP, NAMES_TYPE, NAMES_VERSION };

/* Takes what stands before the next `separator` off `rest`;
 * one in a quoted string does not count. */
static struct span next(struct span *rest, uint8_t separator)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < rest->length && (quoted || rest->at[i] != separator); i++) {
        if (rest->at[i] == '"')
            quoted = !quoted;
        else if (quoted && rest->at[i] == '\\' && i + 1 < rest->length)
            i++;
    }
    struct span part = word_trimmed(span_of(rest->at, i));
    *rest = span_from(*rest, i < rest->length ? i + 1 : i);
    return part;
}

static struct span unquoted(struct span value)
{
    bool quoted = value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"';
    return quoted ? span_of(value.at + 1, value.length - 2) : value;
}

/* RFC 9110 12.4.2: 0 or 1, and up to three digits behind a point. -1: it is not that. */
static int read_quality(struct span text)
{
    if (text.length == 0 || text.length > 5 || (text.at[0] != '0' && text.at[0] != '1') ||
        (text.length > 1 && text.at[1] != '.'))
        return -1;
    int quality = (text.at[0] - '0') * QUALITY_ONE, place = QUALITY_ONE / 10;
    for (size_t i = 2; i < text.length; i++, place /= 10) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return -1;
        quality += (text.at[i] - '0') * place;
    }
    return quality <= QUALITY_ONE ? quality : -1;
}

struct range {
    struct span type;
    struct span version; /* absent if the range asks for none */
    int quality;         /* -1: not well-formed */
};

static struct range read_range(struct span text)
{
    struct range range = {.type = next(&text, ';'), .quality = QUALITY_ONE};
    while (text.length > 0) {
        struct span value = next(&text, ';');
        struct span name = next(&value, '=');
        if (word_is(name, "q"))
            range.quality = read_quality(word_trimmed(value));
        else if (word_is(name, "version"))
            range.version = unquoted(word_trimmed(value));
    }
    return range;
}

static unsigned how_exactly(const struct range *range, const char *group, const char *type,
                            const char *version)
{
    if (word_is(range->type, "*/*"))
        return NAMES_ANYTHING;
    if (word_is(range->type, group))
        return NAMES_GROUP;
    if (!word_is(range->type, type))
        return 0;
    if (range->version.at == NULL)
        return NAMES_TYPE;
    return span_is(range->version, version) ? NAMES_VERSION : 0;
}

static void consider(struct opinion *opinion, unsigned specificity, unsigned quality)
{
    if (specificity > opinion->specificity)
        *opinion = (struct opinion){specificity, quality};
    else if (specificity > 0 && specificity == opinion->specificity && quality > opinion->quality)
        opinion->quality = quality;
}

void negotiate(struct negotiation *negotiation, struct span accept)
{
    while (accept.length > 0) {
        struct range range = read_range(next(&accept, ','));
        if (range.quality < 0)
            continue;
        consider(&negotiation->text, how_exactly(&range, "text/*", "text/plain", "0.0.4"),
                 (unsigned)range.quality);
        consider(&negotiation->openmetrics,
                 how_exactly(&range, "application/*", "application/openmetrics-text", "1.0.0"),
                 (unsigned)range.quality);
    }
}

bool negotiated_openmetrics(const struct negotiation *negotiation)
{
    return negotiation->openmetrics.quality > negotiation->text.quality;
}
