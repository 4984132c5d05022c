/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of a command line, one at a time, without getopt's globals:
 *
 *   struct command_line line = {.arguments = argv + 1,
 *                               .options = options,
 *                               .options_count = COUNT_OF(options)};
 *   for (int option; (option = command_next(&line)) != COMMAND_END;)
 *       switch (option) {
 *       case 'c':             file = line.value; break;
 *       case COMMAND_OPERAND: … line.value … break;
 *       case COMMAND_WRONG:   fprintf(stderr, "ringmain: %s\n", line.wrong); return 2;
 *       }
 *
 * Understood: -cFILE, -c FILE, --config=FILE, --config FILE, -vq for -v -q, and -- before operands
 * that begin with a dash. A dash alone is an operand. Values point into the arguments.
 */
#ifndef CORE_COMMAND_H
#define CORE_COMMAND_H

#include "core/must.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct command_option {
    char letter;       /* what command_next() returns; if a letter or a digit, also -x */
    const char *name;  /* --name; NULL: none */
    const char *value; /* the help's name for its value, such as "FILE"; NULL: it takes none */
    const char *help;
};

enum { COMMAND_END = 0, COMMAND_OPERAND = -1, COMMAND_WRONG = -2 };

struct command_line {
    char *const *arguments; /* ends in NULL */
    const struct command_option *options;
    unsigned options_count;
    const char *value; /* of the option or the operand just returned */
    char wrong[256];   /* after COMMAND_WRONG: a sentence */
    const char *group; /* rest of -vq; internal */
    bool only_operands;
};

/* An option's letter, or one of the three above. */
NODISCARD int command_next(struct command_line *line);

/* A whole number between the bounds, nothing around it. False: *out is as it was. */
NODISCARD bool command_number(const char *text, int64_t least, int64_t most, int64_t *out);

/* The options, aligned, one a line. */
void command_print_options(FILE *out, const struct command_option *options, unsigned count);

#endif
