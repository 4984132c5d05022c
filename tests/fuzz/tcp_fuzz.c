/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP door: any bytes, whole and in pieces, must end in the same events and the same refusals.
 * The first byte says how the second run is cut, the second how often there is no room.
 */
#include "proto/tcp.h"
#include "tests/unit/fake_conn.c"
#include "tests/unit/fake_intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int verify(void *self, struct turn *turn, struct span token, const char *peer,
                  struct principal *out, char *why)
{
    (void)self;
    (void)turn;
    (void)peer;
    (void)why;
    *out = (struct principal){0};
    return token.length % 2 == 0 ? 0 : -13;
}

/* One dialogue; what was seen goes to *seen. */
static void run(const uint8_t *bytes, size_t length, size_t step, unsigned room, struct buf *seen)
{
    static struct conn conn;
    static struct tcp_house house;
    static struct counters counters;
    static const struct admission admission = {.verify = verify};
    static struct fake_intake fake;
    struct turn turn = {.counters = &counters, .now_ns = 1};
    char why[256];
    struct streams *streams = streams_open();
    must(streams != NULL && streams_add_defaults(streams, why) == 0);
    fake_intake_init(&fake, streams);
    house.intake = &fake.intake;
    house.admission = &admission;
    house.shard = FAKE_SHARD;
    fake_init(&conn);
    conn.wire = tcp_open(&house, &turn, &conn);
    must(conn.wire != NULL);
    for (size_t at = 0; at < length && !conn.closing; at += step) {
        fake.room = room;
        fake_receive(&conn, &turn, bytes + at, length - at < step ? length - at : step);
        while (conn.throttled) {
            fake.room = room;
            fake_open(&conn, &turn);
        }
        fake_release(&conn, &turn, conn.holds);
    }
    fake.room = INTAKE_MAX;
    if (!conn.closing)
        conn.wire->ops->ended(conn.wire, &turn);
    *seen = fake.seen;
    fake.seen = (struct buf){0};
    fake_fini(&conn, &turn);
    fake_intake_fini(&fake);
    streams_close(streams);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct buf whole, pieces;
    if (length < 2 || length > 8192)
        return 0;
    run(bytes + 2, length - 2, length, INTAKE_MAX, &whole);
    run(bytes + 2, length - 2, bytes[0] % 64 + 1, bytes[1] % INTAKE_MAX + 1, &pieces);
    must(span_equal(buf_span(&whole), buf_span(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
