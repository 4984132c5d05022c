/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ringmain send`: a producer for any of the doors, with a progress bar, resume after a lost
 * connection, and a summary. One thread over poll(2). Exit status: 0 everything was acknowledged; 1
 * some events were refused; 2 wrong arguments; 3 it could not be finished.
 */
#ifndef CORE_SEND_H
#define CORE_SEND_H

int send_main(int count, char **arguments);

#endif
