/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process takes of the machine, as the kernel tells it. Any thread.
 */
#ifndef METRICS_PROCESS_H
#define METRICS_PROCESS_H

#include <stdint.h>

struct process {
    double started_s; /* wall clock, since 1970 */
    double cpu_s;     /* user and system, all threads */
    uint64_t resident_bytes;
    uint64_t open_fds;
};

/* `started_s`, once: reading it is slow on machines
 * with many interrupts, and it does not change. */
void process_init(struct process *process);
/* The rest, for every scrape. What the kernel does not tell is 0. */
void process_refresh(struct process *process);

#endif
