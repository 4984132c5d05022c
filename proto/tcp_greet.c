/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hello, answered: the token first, then the producer's name, whose count the welcome tells. A
 * connection that goes to its producer's shard is asked for its token there once more.
 * The welcome waits until what it says is true on the disk, and all values wait for the welcome.
 */
#include "proto/tcp_wire.h"

#include <errno.h>
#include <stdio.h>

ptrdiff_t tcp_admit(struct tcp *tcp, struct turn *turn, struct span token)
{
    const struct admission *admission = tcp->house->admission;
    char why[128] = "a token is required";
    if (token.at == NULL)
        return admission->required ? tcp_say_error(tcp, turn, EVENT_UNAUTHORIZED, why) : 0;
    struct principal found;
    int verified =
        admission->verify(admission->self, turn, token, conn_peer(tcp->wire.conn), &found, why);
    if (verified == -EAGAIN)
        return tcp_say_error(tcp, turn, EVENT_RATE_LIMITED, why);
    if (verified != 0)
        return tcp_say_error(tcp, turn, EVENT_UNAUTHORIZED, why);
    tcp->principal = principal_copy(&found);
    tcp->expires_ns =
        principal_expires_ns(tcp->principal, turn->now_ns, turn->wall_us, tcp->house->leeway_ns);
    return tcp->principal != NULL ? 0 : tcp_say_error(tcp, turn, EVENT_OVERLOADED, "no memory");
}

static ptrdiff_t say_welcome(struct tcp *tcp, struct turn *turn, const struct hello *hello,
                             const struct hold *after)
{
    char line[256];
    int length = snprintf(
        line, sizeof line,
        "{\"welcome\":{\"server\":\"ringmain\",\"version\":\"%s\",\"connection\":\"%llx\","
        "\"ack\":\"%s\",\"format\":\"%s\",\"resume\":%llu}}\n",
        RINGMAIN_VERSION, (unsigned long long)conn_id(tcp->wire.conn), hello_ack_name(hello->ack),
        hello_format_name(hello->format), (unsigned long long)tcp->values);
    if (!after->has_through && after->block == 0)
        return conn_send(tcp->wire.conn, turn, line, (size_t)length) ? 0 : WIRE_CLOSE;
    struct hold hold = *after;
    hold.tag = TAG_WELCOME;
    hold.reply = span_of(line, (size_t)length);
    tcp->greeting = true;
    conn_pause(tcp->wire.conn, turn); /* nothing is answered before the welcome */
    return conn_hold(tcp->wire.conn, turn, &hold) ? 0 : WIRE_CLOSE;
}

/* Behind a token a name is its user's: "4:user6:tenantname", so that nobody else can take it over, or count
 * it on and make its producer leave out events. False: longer than what is kept of a name. */
static bool own_name(const struct tcp *tcp, struct span *name, char out[PRODUCER_BYTES_MAX + 1])
{
    const struct principal *who = tcp->principal;
    if (who == NULL)
        return true;
    int length = snprintf(out, PRODUCER_BYTES_MAX + 1, "%zu:%s%zu:%s%.*s", strlen(who->user_id),
                          who->user_id, strlen(who->tenant_id), who->tenant_id, SPAN_ARGS(*name));
    if (length > PRODUCER_BYTES_MAX)
        return false;
    *name = span_of(out, (size_t)length);
    return true;
}

/* The producer's count, and what must be durable before it may be told. */
static ptrdiff_t open_producer(struct tcp *tcp, struct turn *turn, struct span name,
                               struct hold *after)
{
    struct intake *intake = tcp->house->intake;
    struct ticket last;
    bool wait;
    tcp->producer =
        intake->producer_open(intake, turn, name, tcp->wire.conn, &tcp->values, &last, &wait);
    if (tcp->producer == NULL)
        return tcp_say_error(tcp, turn, EVENT_OVERLOADED,
                             "hello.producer: too many named producers (limits.producers)");
    tcp->released = tcp->acked = tcp->values;
    *after = (struct hold){.level = ACK_SPOOLED,
                           .has_through = wait,
                           .through = last,
                           .block = intake->producer_block(tcp->producer)};
    return 0;
}

ptrdiff_t tcp_greet(struct tcp *tcp, struct turn *turn, const struct hello *hello)
{
    struct hold after = {.level = ACK_NONE};
    struct span name = hello->producer;
    char text[PRODUCER_BYTES_MAX + 1];
    ptrdiff_t result = tcp_admit(tcp, turn, hello->token);
    if (result != 0)
        return result;
    if (name.at != NULL) {
        if (!own_name(tcp, &name, text))
            return tcp_say_error(tcp, turn, EVENT_INVALID_FIELD,
                                 "hello.producer: too long: with the token's user and tenant 128 "
                                 "bytes are kept");
        unsigned owner = tcp->house->intake->producer_shard(tcp->house->intake, name);
        if (owner != tcp->house->shard) {
            conn_hand_over(tcp->wire.conn, owner);
            return WIRE_HAND_OVER;
        }
    }
    if (hello->ack == ACK_STORED && !tcp->house->intake->stores)
        return tcp_say_error(tcp, turn, EVENT_INVALID_FIELD,
                             "hello.ack: stored is not to be had: this node has no Postgres "
                             "(postgres.conninfo)");
    tcp->ack = hello->ack;
    if (name.at != NULL)
        result = open_producer(tcp, turn, name, &after);
    if (result == 0)
        result = say_welcome(tcp, turn, hello, &after);
    if (result == 0)
        tcp->format = hello->format;
    return result;
}
