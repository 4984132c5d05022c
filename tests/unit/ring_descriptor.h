/* SPDX-License-Identifier: Apache-2.0 */
/* How a test breaks a ring: it closes its descriptor behind its back. The ring has to be opened
 * without.ring_fd_registered, or else the kernel does not need the descriptor any more. */
#ifndef TESTS_UNIT_RING_DESCRIPTOR_H
#define TESTS_UNIT_RING_DESCRIPTOR_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* That of the first ring of this process; -1: there is none. */
static inline int ring_descriptor(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        char link[64], target[64] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, "io_uring"))
            return fd;
    }
    return -1;
}

#endif
