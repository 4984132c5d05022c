/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in: the question that every door asks about a token, answered by the roof (keys,
 * cache and limits per address behind it). One a shard, on the shard's thread.
 */
#ifndef PROTO_ADMISSION_H
#define PROTO_ADMISSION_H

#include "core/conn.h"
#include "proto/principal.h"

struct admission {
    void *self;
    bool required; /* auth.required: who has no token is refused */
    /* 0: *out is filled. -EACCES: `why` (128 bytes) says in words for the client what is wrong
     * with the token. -EAGAIN: too many failures from this address; not even looked at. */
    int (*verify)(void *self, struct turn *turn, struct span token, const char *peer,
                  struct principal *out, char *why);
};

#endif
