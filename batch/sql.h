/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as SQL text. Pure.
 */
#ifndef BATCH_SQL_H
#define BATCH_SQL_H

#include "core/buf.h"
#include "core/must.h"
#include "core/span.h"

/* Puts `text` as a literal that means the same under every
 * setting; without NUL bytes, which no text can hold. */
NODISCARD bool sql_put_text(struct buf *sql, struct span text);
/* Puts bytes as a bytea literal. */
NODISCARD bool sql_put_bytes(struct buf *sql, struct span bytes);

/* Where UTF-8 text may be cut so that at most `bytes_max` remain and no sequence is torn. */
size_t text_cut(struct span text, size_t bytes_max);

#endif
