/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics door's listener. (The shards' listeners are the engine's, a floor above this room.)
 */
#ifndef METRICS_LISTEN_H
#define METRICS_LISTEN_H

#include "core/must.h"
#include <stdint.h>

enum { LISTEN_WHY = 256 }; /* bytes of a sentence */

/* A listening TCP socket that does not block, at "host:port",
 * "[IPv6]:port" or "*:port"; port 0 takes any that is free. `port` gets
 * the one that was bound. Or -errno, with a sentence for the operator in `why`. */
NODISCARD int listen_open(const char *address, uint16_t *port, char *why);

#endif
