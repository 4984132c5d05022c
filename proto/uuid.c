/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   0                 6             8                      16
 *   ┌─────────────────┬─────────────┬──────────────────────┐
 *   │ milliseconds    │ 7  fraction │ 10  random (62 bits) │   big-endian
 *   └─────────────────┴─────────────┴──────────────────────┘
 */
#include "proto/uuid.h"

#include "core/must.h"

#include <string.h>

void uuid_v7(int64_t wall_us, const uint8_t random[UUID_RANDOM_BYTES], uint8_t out[UUID_BYTES])
{
    must(wall_us >= 0);
    uint64_t milliseconds = (uint64_t)wall_us / 1000;
    unsigned fraction = (unsigned)((uint64_t)wall_us % 1000) * 4096 / 1000;
    for (unsigned i = 0; i < 6; i++)
        out[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    out[6] = (uint8_t)(0x70 | fraction >> 8);
    out[7] = (uint8_t)fraction;
    memcpy(out + 8, random, UUID_RANDOM_BYTES);
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3F));
}

/* Each half byte becomes its digit, all 32 alike (a
 * compiler does 16 at once); then the groups are set apart. */
void uuid_print(const uint8_t uuid[UUID_BYTES], char out[UUID_TEXT_BYTES])
{
    char digits[2 * UUID_BYTES];
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        unsigned high = uuid[i] >> 4, low = uuid[i] & 0xF;
        digits[2 * i] = (char)('0' + high + (high > 9 ? 'a' - '9' - 1 : 0));
        digits[2 * i + 1] = (char)('0' + low + (low > 9 ? 'a' - '9' - 1 : 0));
    }
    out[8] = out[13] = out[18] = out[23] = '-';
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
}
