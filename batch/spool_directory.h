/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spool's own files need of the node's directory beyond batch/spool.h.
 */
#ifndef BATCH_SPOOL_DIRECTORY_H
#define BATCH_SPOOL_DIRECTORY_H

#include "batch/spool.h"

enum { SPOOL_WHY_BYTES = 512 };

/* The descriptor of the directory itself, and what it is to be called in messages. */
int spool_directory_root(const struct spool_directory *directory);
const char *spool_directory_path(const struct spool_directory *directory);
const char *spool_directory_node(const struct spool_directory *directory);

/* Opens root/shard-NN, made durably if `make`. A descriptor, or -errno. */
NODISCARD int spool_shard_open(int root, unsigned shard, bool make);

#endif
