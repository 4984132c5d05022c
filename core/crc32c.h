/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected; RFC 3720 B.4). Pure; any thread.
 * crc32c(0, "123456789", 9) == 0xE3069283. Runs chain: crc32c(crc32c(0, a, n), b, m) is that of a
 * then b. Uses the processor's instruction where it has one (asked at run time), else a table.
 */
#ifndef CORE_CRC32C_H
#define CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);
/* The same by the table, whatever the processor: slow; what the tests compare with. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t length);

#endif
