/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One assignment, wherever it comes from: section, key, value. Inside core/config*.c only.
 */
#ifndef CORE_CONFIG_ASSIGN_H
#define CORE_CONFIG_ASSIGN_H

#include "core/config_option.h"

enum { CONFIG_NAME_MAX = 128 }; /* of a stream or a key */

struct config_loader {
    struct config config;
    bool given[CONFIG_OPTIONS];       /* by any layer above the defaults */
    unsigned line;                    /* of the file that is being read; 0: it is not */
    unsigned line_of[CONFIG_OPTIONS]; /* where the file gave it; 0: it did not */
    FILE *errors;
    unsigned failures;
    char where[300]; /* what complaints begin with: "ringmain.conf:12", "environment RINGMAIN_X" */
};

/* Writes a line "where: …" to `errors` and counts it. */
void config_complain(struct config_loader *loader, const char *format, ...) PRINTF_LIKE(2, 3);

/* Section is "batch", "stream NAME" or "stream.NAME". What is wrong is complained about. */
void config_assign(struct config_loader *loader, const char *section, const char *key,
                   const char *value);

/* The repeated section that `section` names, and its NAME; NULL: not one. */
const struct config_repeat *config_repeat_find(const char *section, const char **name);

/* Assigns everything in the file. 0, or -errno if it cannot be read (complained). */
NODISCARD int config_read_file(struct config_loader *loader, const char *file);

/* Frees a text that may be secret. */
void config_wipe(char **text);

#endif
