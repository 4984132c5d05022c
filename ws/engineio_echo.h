/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Engine.IO test door: every message comes back as it was. The user of a door of Engine.IO that
 * has no context and no memory of its own.
 *
 * The published suites listen for one thing at a time, and only for the next when they have looked at
 * the last; the WebSocket of node hands out at once all that one read has brought. So where a test
 * door says two things by itself (101 and open packet, connect and `auth`), this lies between them.
 */
#ifndef WS_ENGINEIO_ECHO_H
#define WS_ENGINEIO_ECHO_H

#include "ws/engineio.h"

#define ECHO_PAUSE_NS 60000000u

extern const struct engineio_ops engineio_echo_ops;

#endif
