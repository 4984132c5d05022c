/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that the system sets for this process: raised as far as it allows, and explained where
 * it does not. Before threads start; the explanations from any thread.
 */
#ifndef CORE_LIMITS_H
#define CORE_LIMITS_H

#include "core/must.h"
#include <stdbool.h>
#include <stdint.h>

enum { LIMITS_WHY = 256 }; /* bytes of a sentence */

/* RLIMIT_NOFILE to at least `wanted`, if it can be had, else as near as it can be.
 * 0, or -EMFILE with what to change; the process may go on with fewer connections. */
NODISCARD int limits_raise_descriptors(uint64_t wanted, char *why);
/* RLIMIT_MEMLOCK likewise. 0 or -ENOMEM; only old kernels and registered buffers need it. */
NODISCARD int limits_raise_locked_memory(uint64_t wanted, char *why);

/* Why io_uring could not be had, from the -errno, and what the operator can change. */
void limits_explain_ring(int error, char *why);

/* Is this directory in memory only (tmpfs, ramfs)? False where that can't be found out. */
bool limits_is_memory(const char *directory);

#endif
