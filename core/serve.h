/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ringmain serve`: makes everything in order, runs until
 * SIGTERM or SIGINT, and takes it down in the exact reverse.
 *
 *   directory → recovery → dedup → writers → gateways → shards → metrics stage
 *             → doors open → ready file
 *
 * SIGHUP reads the configuration again: core/serve_reload.c, core/settings.h.
 *
 * Exit status: 0 after a clean stop; 1 it could not start,
 * or could not bring everything to the disk.
 */
#ifndef CORE_SERVE_H
#define CORE_SERVE_H

#include "core/config.h"

struct serve_options {
    bool accept_loss; /* start although acknowledged data in the spool is damaged */
    /* Reads the configuration once more, for SIGHUP; as config_load(). */
    int (*load)(void *context, struct config *out, FILE *errors);
    void *context;
};

int serve(const struct config *config, const struct serve_options *options);

/* Makes streams from the configuration, defaults first;
 * NULL after a sentence in `why` (256 bytes). Also `check`. */
struct streams;
NODISCARD struct streams *serve_streams(const struct config *config, char *why);

#endif
