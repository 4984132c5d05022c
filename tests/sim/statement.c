/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/statement.h"

#include <stdio.h>
#include <string.h>

static bool begins(struct span text, const char *with)
{
    return text.length >= strlen(with) && memcmp(text.at, with, strlen(with)) == 0;
}

static const char *find(struct span text, const char *what)
{
    return memmem(text.at, text.length, what, strlen(what));
}

static enum statement_kind kind_of(struct span text)
{
    if (begins(text, "with want "))
        return STATEMENT_MOVE;
    if (begins(text, "insert into ringmain_dead_letters "))
        return STATEMENT_BURY;
    if (begins(text, "COPY "))
        return STATEMENT_COPY;
    if (begins(text, "insert into ringmain_checkpoint "))
        return STATEMENT_PLACE;
    if (begins(text, "select ") && find(text, " from ringmain_checkpoint ") != NULL)
        return STATEMENT_READ;
    if (begins(text, "select a.attname,"))
        return STATEMENT_TABLE;
    return STATEMENT_OTHER;
}

/* All that stands behind `mark` and fits the pattern. */
static void read_places(struct statement *statement, const char *mark, const char *pattern)
{
    struct span rest = statement->text;
    const char *at;
    while ((at = find(rest, mark)) != NULL && statement->places < STATEMENT_PLACES_MAX) {
        struct place place = {0};
        if (sscanf(at, pattern, &place.shard, &place.epoch, &place.from, &place.to) >= 2)
            statement->place[statement->places++] = place;
        rest = span_from(rest, (size_t)(at - (const char *)rest.at) + 1);
    }
}

static void take_apart(struct statement *statement)
{
    statement->kind = kind_of(statement->text);
    if (statement->kind == STATEMENT_MOVE) {
        read_places(statement, "(", "(%u::int,%lld::bigint,%lld::bigint,%lld::bigint)");
        statement->compares = find(statement->text, "c.next_seq = want.was") != NULL;
        statement->counts = find(statement->text, "select 1 / (count(*) = ") != NULL;
    } else if (statement->kind == STATEMENT_PLACE || statement->kind == STATEMENT_READ) {
        read_places(statement, "::text,", "::text,%u,%lld");
        statement->locks = find(statement->text, "for update") != NULL;
    }
}

/* Behind the statement that begins at `at`: its semicolon, or the end. */
static const char *end_of(const char *at)
{
    bool quoted = false, escapes = false, dollars = false;
    for (;; at++) {
        at += strcspn(at, quoted ? "'\\" : dollars ? "$" : ";'$");
        if (*at == '\0' || *at == ';')
            return at;
        if (*at == '\\') {
            at += escapes && at[1] != '\0';
        } else if (*at == '\'') {
            escapes = !quoted && at[-1] == 'E';
            quoted = !quoted;
        } else {
            dollars = !dollars; /* $name$ … $name$: the names are passed over */
            at = strchr(at + 1, '$');
        }
    }
}

unsigned statements_read(const char *sql, struct statement out[STATEMENTS_MAX])
{
    unsigned count = 0;
    for (const char *at = sql; *at != '\0';) {
        at += strspn(at, " ;");
        const char *end = end_of(at);
        if (end == at)
            break;
        must(count < STATEMENTS_MAX);
        out[count] = (struct statement){.text = span_of(at, (size_t)(end - at))};
        take_apart(&out[count++]);
        at = end;
    }
    return count;
}

/* ── Constants ──────────────────────────────────────────────────────────────────────────────── */

static size_t unescape(const uint8_t *at, const uint8_t *end, uint8_t *out, size_t room)
{
    size_t length = 0;
    for (; at < end && length < room; at++) {
        if (*at == '\\' || *at == '\'')
            at++;
        out[length++] = *at;
    }
    return length;
}

static unsigned digit(uint8_t byte)
{
    return byte <= '9' ? byte - 48u : byte - 87u; /* from '0', from 'a' */
}

static size_t unhex(uint8_t *bytes, size_t length)
{
    for (size_t i = 2; i + 1 < length; i += 2)
        bytes[i / 2 - 1] = (uint8_t)(digit(bytes[i]) << 4 | digit(bytes[i + 1]));
    return length / 2 - 1;
}

int statement_constant(const struct statement *statement, unsigned n, uint8_t *out, size_t room)
{
    const uint8_t *at = statement->text.at, *end = at + statement->text.length;
    while ((at = memmem(at, (size_t)(end - at), "E'", 2)) != NULL) {
        const uint8_t *from = at + 2;
        for (at = from; at < end && (*at != '\'' || (at + 1 < end && at[1] == '\'')); at++)
            if (*at == '\\' || *at == '\'')
                at++;
        if (n-- > 0)
            continue;
        size_t length = unescape(from, at, out, room);
        if (length >= 2 && out[0] == '\\' && out[1] == 'x')
            length = unhex(out, length);
        return (int)length;
    }
    return -1;
}
