/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reader of the text, left to right; every step takes what it knows and leaves the place behind
 * it. What is lenient in the reference parser is lenient here (a namespace without its comma at the
 * end), with one exception: an event needs a payload.
 */
#include "ws/socketio_packet.h"

enum { NAME_DECODED_MAX = 128 };

static const uint64_t ID_MAX = 9007199254740991; /* what a JavaScript number holds exactly */

struct reader {
    const uint8_t *at, *end;
};

static bool is_digit(const struct reader *reader)
{
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

/* One or more digits, at most `most`. */
static bool read_number(struct reader *reader, uint64_t most, uint64_t *out)
{
    uint64_t number = 0;
    if (!is_digit(reader))
        return false;
    for (; is_digit(reader); reader->at++) {
        number = number * 10 + (uint64_t)(*reader->at - '0');
        if (number > most)
            return false;
    }
    *out = number;
    return true;
}

static bool is_binary(enum socketio_type type)
{
    return type == SOCKETIO_BINARY_EVENT || type == SOCKETIO_BINARY_ACK;
}

/* "2-" */
static bool read_attachments(struct reader *reader, struct socketio_packet *packet)
{
    uint64_t number;
    if (!read_number(reader, SOCKETIO_ATTACHMENTS_MAX, &number) || number == 0 ||
        reader->at == reader->end || *reader->at != '-')
        return false;
    reader->at++;
    packet->attachments = (unsigned)number;
    return true;
}

/* "/ws?token=…," or nothing. */
static bool read_namespace(struct reader *reader, struct socketio_packet *packet)
{
    packet->namespace = SPAN("/");
    if (reader->at == reader->end || *reader->at != '/')
        return true;
    struct span rest = span_of(reader->at, (size_t)(reader->end - reader->at));
    const uint8_t *comma = memchr(rest.at, ',', rest.length);
    struct span whole = span_of(rest.at, comma == NULL ? rest.length : (size_t)(comma - rest.at));
    if (whole.length > SOCKETIO_NAMESPACE_MAX)
        return false;
    reader->at = comma == NULL ? reader->end : comma + 1;
    const uint8_t *mark = memchr(whole.at, '?', whole.length);
    packet->namespace = whole;
    if (mark != NULL) {
        packet->namespace.length = (size_t)(mark - whole.at);
        packet->query = span_from(whole, packet->namespace.length + 1);
    }
    return true;
}

/* Names that the library keeps for itself; a client that sends one is broken. */
static bool is_reserved(const struct socketio_packet *packet)
{
    static const char *const names[] = {"connect",       "connect_error", "disconnect",
                                        "disconnecting", "newListener",   "removeListener"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (socketio_is(packet, names[i]))
            return true;
    return false;
}

/* What stands between `at` and the closing bracket of the array, white space around it cut off. */
static struct span inside(const uint8_t *at, struct span array)
{
    const uint8_t *end = array.at + array.length - 1;
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r'))
        end--;
    return span_of(at, (size_t)(end - at));
}

/* ["name",…]: a string, or a number. */
static bool judge_event(const struct json_value *payload, struct socketio_packet *packet)
{
    struct json_value name;
    struct span none;
    if (payload->kind != JSON_ARRAY)
        return false;
    struct json_walk walk = json_walk(payload->text);
    if (!json_next(&walk, &none, &name) || (name.kind != JSON_STRING && name.kind != JSON_NUMBER))
        return false;
    unsigned quote = name.kind == JSON_STRING;
    packet->name = span_of(name.text.at + quote, name.text.length - 2 * quote);
    packet->name_escaped = name.escaped;
    packet->arguments = inside(name.text.at + name.text.length, payload->text);
    if (packet->arguments.length > 0)
        packet->arguments = inside(packet->arguments.at + 1, payload->text); /* behind the comma */
    return !is_reserved(packet);
}

static bool judge_ack(const struct json_value *payload, struct socketio_packet *packet)
{
    if (payload->kind != JSON_ARRAY || !packet->has_id)
        return false;
    packet->arguments = inside(payload->text.at + 1, payload->text);
    return true;
}

static bool judge_payload(const struct json_value *payload, struct socketio_packet *packet)
{
    switch (packet->type) {
    case SOCKETIO_CONNECT:
        return payload->kind == JSON_OBJECT;
    case SOCKETIO_DISCONNECT:
        return false;
    case SOCKETIO_CONNECT_ERROR:
        return payload->kind == JSON_OBJECT || payload->kind == JSON_STRING;
    case SOCKETIO_EVENT:
    case SOCKETIO_BINARY_EVENT:
        return judge_event(payload, packet);
    case SOCKETIO_ACK:
    case SOCKETIO_BINARY_ACK:
        return judge_ack(payload, packet);
    }
    return false;
}

static bool read_payload(const struct reader *reader, struct socketio_packet *packet)
{
    struct json_value payload;
    size_t fault;
    if (reader->at == reader->end)
        return packet->type == SOCKETIO_CONNECT || packet->type == SOCKETIO_DISCONNECT;
    if (json_document(span_of(reader->at, (size_t)(reader->end - reader->at)), &payload, &fault) !=
        JSON_OK)
        return false;
    packet->payload = payload.text;
    return judge_payload(&payload, packet);
}

enum socketio_error socketio_parse(struct span text, struct socketio_packet *out)
{
    struct reader reader = {text.at, text.at + text.length};
    struct socketio_packet packet = {0};
    if (text.length == 0 || *reader.at < '0' || *reader.at > '0' + SOCKETIO_BINARY_ACK)
        return SOCKETIO_BAD_TYPE;
    packet.type = (enum socketio_type)(*reader.at++ - '0');
    if (is_binary(packet.type) && !read_attachments(&reader, &packet))
        return SOCKETIO_BAD_ATTACHMENTS;
    if (!read_namespace(&reader, &packet))
        return SOCKETIO_BAD_NAMESPACE;
    packet.has_id = is_digit(&reader);
    if (packet.has_id && !read_number(&reader, ID_MAX, &packet.id))
        return SOCKETIO_BAD_ID;
    if (!read_payload(&reader, &packet))
        return SOCKETIO_BAD_PAYLOAD;
    if (is_binary(packet.type) && !socketio_placeholders_fit(packet.payload, packet.attachments))
        return SOCKETIO_BAD_ATTACHMENTS;
    *out = packet;
    return SOCKETIO_OK;
}

bool socketio_is(const struct socketio_packet *packet, const char *name)
{
    uint8_t decoded[NAME_DECODED_MAX];
    if (!packet->name_escaped)
        return span_is(packet->name, name);
    if (packet->name.length > sizeof decoded)
        return false;
    return span_is(span_of(decoded, json_unescape(packet->name, decoded)), name);
}

/* ── Attachments ────────────────────────────────────────────────────────────────────────────── */

/* What is known of an object, or an array, that has not come to its end. */
struct frame {
    bool object;
    bool name_next; /* the string that comes is a member's name … */
    enum { MEMBER_OTHER, MEMBER_CLAIM, MEMBER_NUMBER } member; /* … and this was the last one */
    bool claims, fits; /* so far: the last of a name holds */
};

/* All frames at a time and every byte once: a packet may be nested as deep as JSON_DEPTH_MAX, and who sends
 * it need not be anybody yet. */
struct placeholders {
    const uint8_t *at, *end;
    unsigned attachments, depth;
    struct frame frame[JSON_DEPTH_MAX];
};

static bool is_index(struct span value, unsigned below)
{
    struct reader reader = {value.at, value.at + value.length};
    uint64_t number;
    return below > 0 && read_number(&reader, below - 1, &number) && reader.at == reader.end;
}

/* Of the object that it stands in. */
static void take_value(struct placeholders *scan, struct span value)
{
    struct frame *frame = scan->depth == 0 ? NULL : &scan->frame[scan->depth - 1];
    if (frame == NULL || !frame->object)
        return;
    if (frame->member == MEMBER_CLAIM)
        frame->claims = span_is(value, "true");
    if (frame->member == MEMBER_NUMBER)
        frame->fits = is_index(value, scan->attachments);
}

static void take_name(struct frame *frame, struct span name)
{
    uint8_t decoded[NAME_DECODED_MAX];
    frame->name_next = false;
    frame->member = MEMBER_OTHER;
    if (name.length > sizeof decoded)
        return;
    if (name.length > 0 && memchr(name.at, '\\', name.length) != NULL)
        name = span_of(decoded, json_unescape(name, decoded));
    if (span_is(name, "_placeholder"))
        frame->member = MEMBER_CLAIM;
    else if (span_is(name, "num"))
        frame->member = MEMBER_NUMBER;
}

static void take_string(struct placeholders *scan)
{
    const uint8_t *begin = scan->at++;
    while (*scan->at != '"')
        scan->at += *scan->at == '\\' ? 2 : 1;
    scan->at++;
    struct frame *frame = scan->depth == 0 ? NULL : &scan->frame[scan->depth - 1];
    struct span text = span_of(begin, (size_t)(scan->at - begin));
    if (frame != NULL && frame->name_next)
        take_name(frame, span_of(text.at + 1, text.length - 2));
    else
        take_value(scan, text);
}

static void take_literal(struct placeholders *scan)
{
    const uint8_t *begin = scan->at;
    while (scan->at < scan->end && strchr(",]} \t\r\n", *scan->at) == NULL)
        scan->at++;
    take_value(scan, span_of(begin, (size_t)(scan->at - begin)));
}

static void enter(struct placeholders *scan)
{
    bool object = *scan->at == '{';
    take_value(scan, span_of(scan->at++, 1));
    must(scan->depth < JSON_DEPTH_MAX);
    scan->frame[scan->depth++] = (struct frame){.object = object, .name_next = object};
}

/* False: it was a placeholder of none. */
static bool leave(struct placeholders *scan)
{
    must(scan->depth > 0);
    const struct frame *frame = &scan->frame[--scan->depth];
    scan->at++;
    return !frame->claims || frame->fits;
}

bool socketio_placeholders_fit(struct span payload, unsigned attachments)
{
    struct placeholders scan = {payload.at, payload.at + payload.length, attachments, 0, {{0}}};
    bool fit = true;
    while (fit && scan.at < scan.end)
        switch (*scan.at) {
        case '{':
        case '[':
            enter(&scan);
            break;
        case '}':
        case ']':
            fit = leave(&scan);
            break;
        case '"':
            take_string(&scan);
            break;
        case ',':
            if (scan.depth > 0)
                scan.frame[scan.depth - 1].name_next = scan.frame[scan.depth - 1].object;
            scan.at++;
            break;
        case ':':
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            scan.at++;
            break;
        default:
            take_literal(&scan);
            break;
        }
    return fit;
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

bool socketio_put_head(struct buf *out, enum socketio_type type, unsigned attachments,
                       struct span namespace, const uint64_t *id)
{
    bool good = buf_put(out, "4", 1) && buf_put_number(out, type);
    if (is_binary(type))
        good = good && buf_put_number(out, attachments) && buf_put(out, "-", 1);
    if (!span_is(namespace, "/"))
        good = good && buf_put(out, namespace.at, namespace.length) && buf_put(out, ",", 1);
    if (id != NULL)
        good = good && buf_put_number(out, *id);
    return good;
}

bool socketio_put_event(struct buf *out, struct span name, struct span arguments)
{
    return buf_put(out, "[", 1) && buf_put_json(out, name) &&
           (arguments.length == 0 ||
            (buf_put(out, ",", 1) && buf_put(out, arguments.at, arguments.length))) &&
           buf_put(out, "]", 1);
}
