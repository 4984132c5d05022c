/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Engine.IO test door: every message comes back as it was. The user of a door of Engine.IO that
 * has no context and no memory of its own.
 */
#ifndef WS_ENGINEIO_ECHO_H
#define WS_ENGINEIO_ECHO_H

#include "ws/engineio.h"

extern const struct engineio_ops engineio_echo_ops;

#endif
