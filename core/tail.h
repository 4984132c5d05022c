/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ringmain tail`: follows rooms live, over /ws/live.
 */
#ifndef CORE_TAIL_H
#define CORE_TAIL_H

/* The words behind `tail`, ending in NULL. The exit status. */
int tail_main(char **words);

#endif
