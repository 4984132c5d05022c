/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decimal number of any length, exactly, as JSON writes it (RFC 8259 6): taken apart without
 * arithmetic, then turned into what a column wants. Pure; any thread.
 */
#ifndef BATCH_DECIMAL_H
#define BATCH_DECIMAL_H

#include "core/must.h"
#include "core/span.h"

/* The number is ± whole·fraction × 10^power, read as one run of digits; no digits: zero. */
struct decimal {
    bool negative;
    struct span whole, fraction; /* digits, without zeros at the outer ends */
    int64_t power;               /* of ten, of the last digit */
    int64_t scale; /* digits behind the point as written, exponent applied; may be < 0 */
};

/* False: `text` is not a JSON number and nothing but. The decimal looks into the text. */
NODISCARD bool decimal_read(struct span text, struct decimal *out);

/* The value, if it is an integer from `least` to `most`: 5, 5.0, 50e-1. */
NODISCARD bool decimal_integer(const struct decimal *decimal, int64_t least, int64_t most,
                               int64_t *out);

/*
 * Postgres's binary numeric (src/backend/utils/adt/numeric.c, numeric_recv),
 * exact, with the scale as written. Returns its length, at most 12
 * bytes and one for every two of the text's; 0: numeric can't hold it.
 */
size_t decimal_numeric(const struct decimal *decimal, uint8_t *out);

/* The other way: a binary numeric as a JSON number, with all digits of its scale. Writes at most
 * decimal_text_bytes_max() bytes, no NUL; returns how many, 0: it is not one, or not a number. */
size_t decimal_text_bytes_max(struct span numeric);
size_t decimal_text(struct span numeric, char *out);

#endif
