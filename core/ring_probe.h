/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between kernels, found out by trying: the newest way first, then what older kernels
 * know. For core/ring.c only, on the ring's thread, once, while nothing else is in flight.
 */
#ifndef CORE_RING_PROBE_H
#define CORE_RING_PROBE_H

#include "core/ring.h"

/* `features` is what the ring goes by from the next request on: it is set, tried,
 * and corrected. -EOPNOTSUPP: not even a single receive into a provided buffer works. */
NODISCARD int ring_probe(struct ring *ring, struct ring_features *features,
                         const struct ring_features *without);

#endif
