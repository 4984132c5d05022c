/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ringmain token`: mints a token with a configured HS secret,
 * for development and scripts. Prints it, and nothing else.
 */
#ifndef CORE_TOKEN_H
#define CORE_TOKEN_H

int token_main(char **words);

#endif
