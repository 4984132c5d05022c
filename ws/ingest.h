/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door /events/stream: producers on WebSocket (CONTRACTS.md 3). On the shard's thread.
 *
 *   opens        ◄ {"type":"connected","connectionId":"…","message":"…","timestamp":"…"}
 *   cart_event   ► {"type":"cart_event","data":{"eventId":…,"eventType":…,…}}
 *   event        ► {"type":"event","data":{…envelope…}}
 *                ◄ {"type":"ack","eventId":"…","status":"accepted"|"duplicate","timestamp":"…"}
 *                ◄ {"type":"error","code":"…","message":"…","eventId":"…","timestamp":"…"}
 *   batch        ► {"type":"batch","data":[{…envelope…},…]}
 *                ◄ {"type":"ack","accepted":n,"duplicates":n,"rejected":[…],"timestamp":"…"}
 *
 * eventId is left out where the producer gave none. Answers come in the order of the messages, each
 * when what it speaks of has reached the connection's level; with ACK_NONE only what was refused is
 * answered. Binary messages carry the same.
 *
 * An ingest_door is a shard's own: the intake, and the group
 * of events being collected. It outlives its connections.
 */
#ifndef WS_INGEST_H
#define WS_INGEST_H

#include "proto/intake.h"
#include "proto/quota.h"
#include "ws/websocket.h"

struct ingest_door;

struct ingest_options {
    struct intake *intake;
    unsigned shard;          /* ours: tickets of this shard are waited for here */
    uint64_t leeway_ns;      /* auth.leeway_s: how long a token is still good after its `exp` */
    struct bucket_rate rate; /* limits.events_per_second, of one connection */
    struct websocket_options websocket;
};

/* NULL: no memory. */
NODISCARD struct ingest_door *ingest_door_open(const struct ingest_options *options);
void ingest_door_close(struct ingest_door *door);
/* Other limits, for those that are connected too. */
void ingest_door_change(struct ingest_door *door, uint64_t leeway_ns, struct bucket_rate rate,
                        const struct websocket_options *websocket);

/* Changes the connection into a WebSocket of this door. `principal` is copied;
 * NULL: nobody in particular. False: no memory; nothing was changed. */
NODISCARD bool ingest_start(struct ingest_door *door, struct turn *turn, struct conn *conn,
                            const struct handshake *handshake, const struct principal *principal,
                            enum ack_level level);

#endif
