/* SPDX-License-Identifier: Apache-2.0 */
#include "ws/route_text.h"

#include "core/command.h"

#include <ctype.h>
#include <stdio.h>

static const char source_words[] =
    "id, type, tenantId, userId, projectId, sessionId, roomId, timestamp, receivedAt, userName, "
    "event, data, data.MEMBER, true, false, null, a number or a \"text\"";

static struct span trimmed(struct span text)
{
    while (text.length > 0 && isspace(text.at[0]))
        text = span_from(text, 1);
    while (text.length > 0 && isspace(text.at[text.length - 1]))
        text.length--;
    return text;
}

/* The next piece up to `separator` outside quotes; false: none is left. */
static bool next_piece(struct span *rest, uint8_t separator, struct span *piece)
{
    bool inside = false;
    size_t length = 0;
    if (rest->at == NULL)
        return false;
    for (; length < rest->length && (inside || rest->at[length] != separator); length++) {
        if (inside && rest->at[length] == '\\' && length + 1 < rest->length)
            length++;
        else if (rest->at[length] == '"')
            inside = !inside;
    }
    *piece = trimmed(span_of(rest->at, length));
    *rest = length < rest->length ? span_from(*rest, length + 1) : (struct span){NULL, 0};
    return true;
}

static bool is_name(struct span text)
{
    bool good = text.length > 0 && text.length <= 128;
    for (size_t i = 0; good && i < text.length; i++)
        good = isalnum(text.at[i]) || strchr("_-.$", text.at[i]) != NULL;
    return good;
}

/* The text ends here: what the parser looks at is then a string of its own. */
static const char *terminated(struct span text)
{
    uint8_t *end = (uint8_t *)(uintptr_t)(text.at + text.length);
    *end = '\0';
    return (const char *)text.at;
}

/* ── Sources ────────────────────────────────────────────────────────────────────────────────── */

static bool read_envelope(struct span text, struct route_from *out)
{
    static const struct {
        const char *word;
        enum route_source source;
    } words[] = {{"id", ROUTE_FROM_ID},
                 {"type", ROUTE_FROM_TYPE},
                 {"tenantId", ROUTE_FROM_TENANT_ID},
                 {"userId", ROUTE_FROM_USER_ID},
                 {"projectId", ROUTE_FROM_PROJECT_ID},
                 {"sessionId", ROUTE_FROM_SESSION_ID},
                 {"roomId", ROUTE_FROM_ROOM_ID},
                 {"timestamp", ROUTE_FROM_TIMESTAMP},
                 {"receivedAt", ROUTE_FROM_RECEIVED_AT},
                 {"userName", ROUTE_FROM_USER_NAME},
                 {"event", ROUTE_FROM_EVENT},
                 {"data", ROUTE_FROM_DATA}};
    for (unsigned i = 0; i < COUNT_OF(words); i++)
        if (span_is(text, words[i].word)) {
            *out = (struct route_from){.source = words[i].source};
            return true;
        }
    return false;
}

static bool read_literal(struct span text, struct route_from *out)
{
    struct json_value value;
    size_t fault;
    if (text.length == 0 || json_document(text, &value, &fault) != JSON_OK ||
        value.kind == JSON_OBJECT || value.kind == JSON_ARRAY)
        return false;
    *out = (struct route_from){.source = ROUTE_FROM_LITERAL, .literal = text};
    return true;
}

static bool read_source(struct span text, struct route_from *out)
{
    if (read_envelope(text, out) || read_literal(text, out))
        return true;
    if (text.length <= 5 || memcmp(text.at, "data.", 5) != 0 || !is_name(text))
        return false;
    *out = (struct route_from){.source = ROUTE_FROM_DATA_MEMBER, .path = terminated(text) + 5};
    return true;
}

/*
 * Without `from`: the envelope's member of that name, else that of the data. But who somebody is, and
 * whose, the envelope alone says, where the token has been asked about it; the data of an event need
 * then not be read to find out that it is no project's.
 */
static bool read_usual(struct span name, struct route_field *out)
{
    struct route_from *from = &out->from[out->froms];
    bool envelope = read_envelope(name, from);
    if (envelope)
        out->froms++;
    if (envelope && from->source != ROUTE_FROM_SESSION_ID && from->source != ROUTE_FROM_ROOM_ID)
        return true;
    if (!is_name(name))
        return false;
    const char *path = terminated(name);
    if (strncmp(path, "data.", 5) == 0)
        path += 5;
    out->from[out->froms++] = (struct route_from){.source = ROUTE_FROM_DATA_MEMBER, .path = path};
    return true;
}

static bool read_sources(struct span text, struct route_field *out)
{
    struct span piece;
    while (next_piece(&text, '|', &piece)) {
        if (out->froms == ROUTE_FROMS_MAX || !read_source(piece, &out->from[out->froms]))
            return false;
        out->froms++;
    }
    return true;
}

/* ── data ───────────────────────────────────────────────────────────────────────────────────── */

/* "name" or "name from source|source". */
static bool read_field(struct span text, struct route_field *out)
{
    const uint8_t *from = memmem(text.at, text.length, " from ", 6);
    *out = (struct route_field){.name = text};
    if (from == NULL)
        return read_usual(text, out);
    out->name = trimmed(span_of(text.at, (size_t)(from - text.at)));
    return is_name(out->name) && read_sources(span_from(text, (size_t)(from - text.at) + 6), out);
}

bool route_text_data(struct route *route, char *text, char *why)
{
    struct span rest = span_of_string(text), piece;
    if (span_is(trimmed(rest), "event") || span_is(trimmed(rest), "data")) {
        route->payload = span_is(trimmed(rest), "event") ? ROUTE_WHOLE_EVENT : ROUTE_ALL_DATA;
        return true;
    }
    route->payload = ROUTE_OBJECT;
    while (next_piece(&rest, ',', &piece)) {
        if (route->fields < ROUTE_FIELDS_MAX && read_field(piece, &route->field[route->fields])) {
            route->fields++;
            continue;
        }
        snprintf(why, ROUTE_TEXT_WHY,
                 "\"%.40s\": allowed are event, data, or up to %d members NAME [from "
                 "SOURCE|SOURCE], a SOURCE being %s",
                 terminated(piece), ROUTE_FIELDS_MAX, source_words);
        return false;
    }
    return true;
}

/* ── to ─────────────────────────────────────────────────────────────────────────────────────── */

static enum route_room_kind kind_of(struct span prefix)
{
    if (span_is(prefix, "user:"))
        return ROUTE_TO_USER;
    if (span_is(prefix, "tenant:"))
        return ROUTE_TO_TENANT;
    return span_is(prefix, "project:") ? ROUTE_TO_PROJECT : ROUTE_TO_ROOM;
}

/* May the whole of what the members are put into be a room's name? */
static bool prefix_allowed(const struct route_target *target)
{
    static const char *const reserved[] = {"user:", "user_", "tenant:", "project:", "*"};
    for (unsigned i = 0; target->kind == ROUTE_TO_ROOM && i < COUNT_OF(reserved); i++) {
        size_t length = strlen(reserved[i]);
        if (target->prefix.length >= length && memcmp(target->prefix.at, reserved[i], length) == 0)
            return false;
    }
    return target->kind == ROUTE_TO_ROOM || target->suffix.length == 0;
}

static bool read_target(struct span text, struct route_target *out)
{
    const uint8_t *open = memchr(text.at, '{', text.length);
    *out = (struct route_target){.kind = ROUTE_TO_EVERYONE, .prefix = text};
    if (text.length == 0 || text.length > ROOM_NAME_MAX || span_is(text, "*"))
        return text.length == 1;
    if (open == NULL) {
        out->kind = kind_of(text);
        return memchr(text.at, '}', text.length) == NULL && prefix_allowed(out);
    }
    struct span behind = span_from(text, (size_t)(open - text.at) + 1);
    const uint8_t *close = memchr(behind.at, '}', behind.length);
    if (close == NULL)
        return false;
    struct span name = trimmed(span_of(behind.at, (size_t)(close - behind.at)));
    out->prefix.length = (size_t)(open - text.at);
    out->kind = kind_of(out->prefix);
    out->suffix = span_from(behind, (size_t)(close - behind.at) + 1);
    out->member.name = name;
    return memchr(out->suffix.at, '{', out->suffix.length) == NULL && prefix_allowed(out) &&
           read_usual(name, &out->member) && out->member.from[0].source != ROUTE_FROM_EVENT &&
           out->member.from[0].source != ROUTE_FROM_DATA &&
           out->member.from[0].source != ROUTE_FROM_TIMESTAMP &&
           out->member.from[0].source != ROUTE_FROM_RECEIVED_AT;
}

bool route_text_to(struct route *route, char *text, char *why)
{
    struct span rest = span_of_string(text);
    while (rest.at != NULL) {
        const uint8_t *other = memmem(rest.at, rest.length, " else ", 6);
        size_t length = other == NULL ? rest.length : (size_t)(other - rest.at);
        struct span piece = trimmed(span_of(rest.at, length));
        rest = other == NULL ? (struct span){NULL, 0} : span_from(rest, length + 6);
        if (route->targets == ROUTE_TARGETS_MAX ||
            !read_target(piece, &route->target[route->targets])) {
            snprintf(why, ROUTE_TEXT_WHY,
                     "\"%.*s\": allowed are * (everyone), user:{MEMBER}, tenant:{MEMBER}, "
                     "project:{MEMBER}, or another room's name with at most one {MEMBER} in it; up "
                     "to %d of them with \" else \" between",
                     (int)(piece.length < 60 ? piece.length : 60), (const char *)piece.at,
                     ROUTE_TARGETS_MAX);
            return false;
        }
        route->targets++;
    }
    return true;
}

/* ── Lists and words ────────────────────────────────────────────────────────────────────────── */

bool route_text_types(struct route *route, char *text, char *why)
{
    struct span rest = span_of_string(text), piece;
    if (trimmed(rest).length == 0)
        return true;
    while (next_piece(&rest, ',', &piece)) {
        if (route->types == ROUTE_TYPES_MAX || !event_is_type(piece)) {
            snprintf(why, ROUTE_TEXT_WHY,
                     "\"%.64s\": allowed are up to %d event types (1 to 64 of A-Z a-z 0-9 _ . : "
                     "-), separated by commas, or nothing for all",
                     terminated(piece), ROUTE_TYPES_MAX);
            return false;
        }
        route->type[route->types++] = piece;
    }
    return true;
}

bool route_text_streams(struct route *route, const struct streams *streams, char *text, char *why)
{
    struct span rest = span_of_string(text), piece;
    if (trimmed(rest).length == 0)
        return true;
    while (next_piece(&rest, ',', &piece)) {
        const char *name = terminated(piece);
        const struct stream *stream = streams_find(streams, name);
        if (route->streams == ROUTE_STREAMS_MAX || stream == NULL) {
            snprintf(why, ROUTE_TEXT_WHY,
                     "\"%.64s\": allowed are the names of up to %d streams (events, messages, "
                     "cart_events and every [stream NAME]), separated by commas",
                     name, ROUTE_STREAMS_MAX);
            return false;
        }
        route->stream[route->streams++] = stream;
    }
    return true;
}

bool route_text_has(struct route *route, char *text, char *why)
{
    struct span rest = span_of_string(text), piece;
    if (trimmed(rest).length == 0)
        return true;
    while (next_piece(&rest, ',', &piece)) {
        struct route_field *field = &route->has[route->has_count];
        if (route->has_count < ROUTE_HAS_MAX) {
            *field = (struct route_field){.name = piece};
            if (read_usual(piece, field)) {
                route->has_count++;
                continue;
            }
        }
        snprintf(why, ROUTE_TEXT_WHY,
                 "\"%.64s\": allowed are up to %d members of the event, such as projectId or "
                 "data.orderId, separated by commas",
                 terminated(piece), ROUTE_HAS_MAX);
        return false;
    }
    return true;
}

/* What clients may not be sent: the names that socket.io-client emits itself. */
bool route_text_emit(struct route *route, char *text, char *why)
{
    static const char *const reserved[] = {"connect",       "connect_error", "disconnect",
                                           "disconnecting", "newListener",   "removeListener"};
    struct span name = trimmed(span_of_string(text));
    bool good = name.length > 0 && name.length <= ROUTE_EMIT_MAX;
    for (unsigned i = 0; good && i < COUNT_OF(reserved); i++)
        good = !span_is(name, reserved[i]);
    for (size_t i = 0; good && i < name.length; i++)
        good = name.at[i] > ' ' && name.at[i] < 0x7f;
    if (!good)
        snprintf(why, ROUTE_TEXT_WHY,
                 "\"%.40s\": needed is the name that clients listen for, 1 to 128 visible "
                 "characters, and none of Socket.IO's own (connect, disconnect …)",
                 text);
    route->emit = name;
    return good;
}

bool route_text_scope(struct route *route, char *text, char *why)
{
    static const struct {
        const char *word;
        enum scope scope;
    } words[] = {{"ingest", SCOPE_INGEST},   {"ingest:any", SCOPE_INGEST_ANY},
                 {"publish", SCOPE_PUBLISH}, {"publish:all", SCOPE_PUBLISH_ALL},
                 {"admin", SCOPE_ADMIN},     {"stats", SCOPE_STATS}};
    struct span rest = span_of_string(text), piece;
    if (trimmed(rest).length == 0)
        return true;
    while (next_piece(&rest, ',', &piece)) {
        unsigned i = 0;
        while (i < COUNT_OF(words) && !span_is(piece, words[i].word))
            i++;
        if (i == COUNT_OF(words)) {
            snprintf(why, ROUTE_TEXT_WHY,
                     "\"%.64s\": allowed are ingest, ingest:any, publish, publish:all, admin, "
                     "stats (one of those given is needed), or nothing",
                     terminated(piece));
            return false;
        }
        route->scopes |= words[i].scope;
    }
    return true;
}

bool route_text_first(struct route *route, const char *text, char *why)
{
    int64_t number;
    if (!command_number(text, 0, 65535, &number)) {
        snprintf(why, ROUTE_TEXT_WHY, "\"%.40s\": allowed is a number from 0 (all) to 65535", text);
        return false;
    }
    route->first = (unsigned)number;
    return true;
}

bool route_text_flag(const char *text, bool *out, char *why)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (unsigned i = 0; i < COUNT_OF(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2 != 0;
            return true;
        }
    snprintf(why, ROUTE_TEXT_WHY, "\"%.40s\": allowed is yes or no", text);
    return false;
}
