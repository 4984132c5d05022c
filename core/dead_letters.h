/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ringmain dead-letters list|export|retry`: the rows that Postgres refused, to look at, to take
 * away, and to give another chance. Works beside a running ringmain. Exit status: 0 all went well;
 * 1 some rows were refused again; 2 wrong arguments; 3 it could not be done, or not be finished.
 */
#ifndef CORE_DEAD_LETTERS_H
#define CORE_DEAD_LETTERS_H

int dead_letters_main(char **words);

#endif
