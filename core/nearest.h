/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Did you mean …?": the known word that a mistyped one is nearest to. Pure; any thread.
 */
#ifndef CORE_NEAREST_H
#define CORE_NEAREST_H

/* Collects the best candidate; start with {.word = the mistyped one}. */
struct nearest {
    const char *word;
    const char *best; /* NULL: nothing is near enough to be meant */
    unsigned distance;
};

void nearest_offer(struct nearest *nearest, const char *candidate);

#endif
