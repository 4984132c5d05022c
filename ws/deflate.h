/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permessage-deflate, RFC 7692: the compression of whole messages, and the door to zlib.
 *
 * An inflater or deflater is a pointer that its owner keeps, NULL at first:
 * it is made when a message needs it and, where the agreement says that its side
 * keeps no context from one message to the next, freed with the message's end.
 * So an idle connection without context takeover costs nothing. One thread.
 */
#ifndef WS_DEFLATE_H
#define WS_DEFLATE_H

#include "core/buf.h"

enum { DEFLATE_BITS_MIN = 8, DEFLATE_BITS_MAX = 15 };

/* What the handshake agreed on (RFC 7692 7.1); zeroed: no compression. */
struct deflate_terms {
    bool agreed;
    bool server_no_context_takeover;
    bool client_no_context_takeover;
    uint8_t server_max_window_bits; /* 8..15; the client's is never limited */
};

enum deflate_fault {
    DEFLATE_OK = 0,
    DEFLATE_CORRUPT = -1, /* not a DEFLATE stream, or one that ends inside a block */
    DEFLATE_TOO_BIG = -2, /* the message would be longer than out->max */
    DEFLATE_NO_MEMORY = -3,
};

struct inflater;
struct deflater;

enum { INFLATER_BYTES = 48 * 1024 }; /* what one costs, about: zlib's window and tables */

/*
 * The next piece of a compressed message, of any length; what it yields is put behind `out`, which
 * is the message: out->max is the longest that is allowed. `last`: the message ends with this
 * piece. After a fault the inflater is of no further use but for inflater_close().
 */
NODISCARD int inflater_feed(struct inflater **inflater, const struct deflate_terms *terms,
                            struct span piece, bool last, struct buf *out);
void inflater_close(struct inflater **inflater);

/* A whole message, compressed behind `out`. 0 or a fault (never DEFLATE_CORRUPT); with context
 * takeover a fault leaves a context that the peer does not share: the connection must end. */
NODISCARD int deflater_message(struct deflater **deflater, const struct deflate_terms *terms,
                               struct span message, struct buf *out);
void deflater_close(struct deflater **deflater);

#endif
