/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO packets as text (protocol 5, and 4, whose packets look the same). Pure; any thread.
 * https://github.com/socketio/socket.io-protocol
 *
 *   2 /ws, 17 ["message",{"type":"typing_start"}]        5 1- /ws, ["upload",{"_placeholder":true,"num":0}]
 *   │  │    │   └ payload: JSON                          │ └ binary attachments that follow
 *   │  │    └ acknowledgement id                         └ type
 *   │  └ namespace, up to the comma; absent: "/"
 *   └ type                                   (the blanks stand here for the eye only)
 *
 * What a reader is given has no Engine.IO type in front of it; what a writer makes begins with it
 * ('4', a message), ready for encoded_make().
 */
#ifndef WS_SOCKETIO_PACKET_H
#define WS_SOCKETIO_PACKET_H

#include "core/buf.h"
#include "proto/json.h"

enum socketio_type {
    SOCKETIO_CONNECT,
    SOCKETIO_DISCONNECT,
    SOCKETIO_EVENT,
    SOCKETIO_ACK,
    SOCKETIO_CONNECT_ERROR,
    SOCKETIO_BINARY_EVENT,
    SOCKETIO_BINARY_ACK,
};

enum {
    SOCKETIO_ATTACHMENTS_MAX = 10, /* as the reference parser has it */
    SOCKETIO_NAMESPACE_MAX = 9000, /* bytes: a token may stand in its query (protocol 4) */
};

enum socketio_error {
    SOCKETIO_OK = 0,
    SOCKETIO_BAD_TYPE = -1,
    SOCKETIO_BAD_ATTACHMENTS = -2, /* none, too many, or not a number */
    SOCKETIO_BAD_NAMESPACE = -3,
    SOCKETIO_BAD_ID = -4,
    SOCKETIO_BAD_PAYLOAD = -5, /* not JSON, or not of the shape that its type wants */
};

struct socketio_packet {
    enum socketio_type type;
    unsigned attachments;
    struct span namespace; /* "/ws", without its query */
    struct span query;     /* what stood behind `?` in it; {NULL,0}: nothing */
    bool has_id;
    uint64_t id;
    struct span payload; /* one JSON value; {NULL,0}: none */
    /* Of an event: its name (a string's inside as written, or a number), and the arguments as they
     * stand between the commas. Of an acknowledgement: the arguments. */
    struct span name;
    bool name_escaped;
    struct span arguments;
};

/* Spans look into `text`. SOCKETIO_OK, or what is wrong with it, and *out is untouched. */
NODISCARD enum socketio_error socketio_parse(struct span text, struct socketio_packet *out);

/* Is this the event's name? */
bool socketio_is(const struct socketio_packet *packet, const char *name);

/* Every `{"_placeholder":true,"num":n}` in the payload names one of so many attachments. */
bool socketio_placeholders_fit(struct span payload, unsigned attachments);

/* The front of a packet up to its payload, which the caller puts behind it. False: no room. */
NODISCARD bool socketio_put_head(struct buf *out, enum socketio_type type, unsigned attachments,
                                 struct span namespace, const uint64_t *id);
/* `["name",arguments]` behind it; no arguments: `["name"]`. */
NODISCARD bool socketio_put_event(struct buf *out, struct span name, struct span arguments);

#endif
