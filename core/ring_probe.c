/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ring_probe.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* One byte through a socket pair: does a receive of the kind that `features` names work? */
static bool receive_works(struct ring *ring)
{
    int ends[2];
    struct completion done = {.buffer = -1};
    struct ring_id nobody = {0};
    bool works = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    if (write(ends[1], "?", 1) == 1) {
        ring_receive(ring, ends[0], nobody);
        works = ring_wait(ring, &done, 1, 1000000000) == 1 && done.result == 1 && done.buffer >= 0;
    }
    close(ends[1]); /* a multishot that goes on ends by this */
    do {
        if (done.buffer >= 0)
            ring_buffer_put(ring, done.buffer);
        done.buffer = -1;
    } while (done.more && ring_wait(ring, &done, 1, 1000000000) == 1);
    close(ends[0]);
    return works;
}

static bool message_works(struct ring *ring, struct ring_features *features)
{
    struct completion done = {.op = RING_WAKE};
    features->message_ring = true;
    ring_wake(ring, ring);
    bool rung = ring_wait(ring, &done, 1, 1000000000) == 1 && done.op == RING_WAKE;
    return rung && features->message_ring;
}

/* From the newest kernel's way to the oldest's. */
int ring_probe(struct ring *ring, struct ring_features *features,
               const struct ring_features *without)
{
    features->multishot_accept = !without->multishot_accept;
    features->multishot_receive = !without->multishot_receive;
    features->receive_length_cap = features->multishot_receive && !without->receive_length_cap;
    while (!receive_works(ring)) {
        if (!features->multishot_receive)
            return -EOPNOTSUPP;
        if (!features->receive_length_cap)
            features->multishot_receive = false;
        features->receive_length_cap = false;
    }
    features->message_ring = !without->message_ring && message_works(ring, features);
    return 0;
}
