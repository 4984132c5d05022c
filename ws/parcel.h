/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parcel: the outer object of a producer's WebSocket message, {"type":"…","data":…}. Only the
 * wrapping is read here; the data is checked as JSON and otherwise left alone. Pure; any thread.
 */
#ifndef WS_PARCEL_H
#define WS_PARCEL_H

#include "proto/event.h"

enum parcel_type { PARCEL_CART_EVENT, PARCEL_EVENT, PARCEL_BATCH };

struct parcel {
    struct span text; /* all of it */
    enum parcel_type type;
    struct json_value data;
    bool bare; /* it has no members but these two */
};

/* EVENT_ACCEPTED: *out is filled. Else the code, with refusal->message for the client; *id is then
 * the id of the event within, if one was found ({NULL,0}: none). The text is not changed. */
NODISCARD enum event_code parcel_read(struct span text, struct parcel *out, struct span *id,
                                      struct refusal *refusal);

/*
 * A quick look for the usual form, {"type":"…","data":…} with one event and nothing else. True:
 * *out is filled, but data.text is merely what stands between the colon and the last brace,
 * unchecked. If, and only if, that is one JSON value, the message is a parcel with it; else
 * parcel_read() says what it is.
 */
NODISCARD bool parcel_guess(struct span text, struct parcel *out);

#endif
