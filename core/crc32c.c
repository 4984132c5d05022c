/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor's crc32 instruction takes 8 bytes a cycle but gives its result after three, so one
 * long chain of them runs at a third of what it could. Three chains side by side do it, over the
 * three thirds of the input; then they are joined:
 *
 *     |<---- lane ---->|<---- lane ---->|<---- lane ---->| last 8 | tail …
 *        chain a            chain b          chain c
 *
 * A CRC is a remainder modulo a polynomial P, and appending n zero bytes multiplies it by x^(8n)
 * mod P. So chain a has to be multiplied by x^(8(2 lane + 8)), b by x^(8(lane + 8)), and both fold
 * into the last 8 bytes before these pass through chain c: the crc32 instruction then also reduces
 * the 64-bit products modulo P. Bit-reflected operands make a product come out one place off, and
 * the instruction multiplies by x^32 itself: hence the -33 below. (Gopal et al., "Fast CRC
 * Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011; the joining of lanes of
 * any length is Peter Cawley's, "fast-crc32".)
 */
#include "core/crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82F63B78u /* reflected */

/* CRC is linear: the table's entry for a byte is the sum
 * of those for its bits, and these stand here. */
#define BIT(n, k, value) (((n) >> (k)&1) != 0 ? (value) : 0u)
#define ENTRY(n)                                                                                   \
    (BIT(n, 0, 0xF26B8303u) ^ BIT(n, 1, 0xE13B70F7u) ^ BIT(n, 2, 0xC79A971Fu) ^                    \
     BIT(n, 3, 0x8AD958CFu) ^ BIT(n, 4, 0x105EC76Fu) ^ BIT(n, 5, 0x20BD8EDEu) ^                    \
     BIT(n, 6, 0x417B1DBCu) ^ BIT(n, 7, POLYNOMIAL))
#define FOUR(n)      ENTRY(n), ENTRY((n) + 1), ENTRY((n) + 2), ENTRY((n) + 3)
#define SIXTEEN(n)   FOUR(n), FOUR((n) + 4), FOUR((n) + 8), FOUR((n) + 12)
#define SIXTYFOUR(n) SIXTEEN(n), SIXTEEN((n) + 16), SIXTEEN((n) + 32), SIXTEEN((n) + 48)

static const uint32_t table[256] = {SIXTYFOUR(0), SIXTYFOUR(64), SIXTYFOUR(128), SIXTYFOUR(192)};

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    while (length-- > 0)
        crc = (crc >> 8) ^ table[(crc ^ *at++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__) || defined(__aarch64__)
static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define HARDWARE __attribute__((target("sse4.2,pclmul")))

/* Below this the joining costs more than it saves. */
enum { LANES_LEAST = 768 };

static bool have_hardware(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

HARDWARE static inline uint64_t multiply(uint32_t a, uint32_t b)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/*
 * x^n mod P. Squaring x^m by `multiply` and the instruction gives x^(2m
 * + 33), and with the product shifted back by one place x^(2m + 32):
 * so every n above the base case comes from m = (n >> 1) - 16, in log n steps.
 */
HARDWARE static uint32_t power(uint64_t n)
{
    uint64_t path = 1; /* what each step down has to do on the way up, behind a leading 1 */
    for (; n > 191; n = (n >> 1) - 16)
        path = path << 1 | (~n & 1);
    uint32_t value = 0x80000000u >> (n & 31);
    for (n >>= 5; n > 0; n--)
        value = _mm_crc32_u32(value, 0);
    for (; path > 1; path >>= 1)
        value = (uint32_t)_mm_crc32_u64(0, multiply(value, value) << (path & 1));
    return value;
}

/* Three lanes of `lane` bytes (a multiple of 8) and 8 bytes more. */
HARDWARE static uint64_t three_lanes(uint64_t a, const uint8_t *at, size_t lane)
{
    const uint8_t *end = at + lane;
    uint64_t b = 0, c = 0;
    for (; at < end; at += 8) {
        a = _mm_crc32_u64(a, load64(at));
        b = _mm_crc32_u64(b, load64(at + lane));
        c = _mm_crc32_u64(c, load64(at + 2 * lane));
    }
    uint64_t a_moved = multiply((uint32_t)a, power(8 * (2 * lane + 8) - 33));
    uint64_t b_moved = multiply((uint32_t)b, power(8 * (lane + 8) - 33));
    return _mm_crc32_u64(c, load64(at + 2 * lane) ^ a_moved ^ b_moved);
}

HARDWARE static uint32_t by_hardware(uint32_t crc, const uint8_t *at, size_t length)
{
    uint64_t state = (uint32_t)~crc;
    if (length >= LANES_LEAST) {
        size_t lane = (length - 8) / 24 * 8;
        state = three_lanes(state, at, lane);
        at += 3 * lane + 8;
        length -= 3 * lane + 8;
    }
    for (; length >= 8; at += 8, length -= 8)
        state = _mm_crc32_u64(state, load64(at));
    for (; length > 0; at++, length--)
        state = _mm_crc32_u8((uint32_t)state, *at);
    return ~(uint32_t)state;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

static bool have_hardware(void)
{
    enum { CRC32_BIT = 1 << 7 }; /* HWCAP_CRC32 */
    return (getauxval(AT_HWCAP) & CRC32_BIT) != 0;
}

/* In assembly, since the two compilers disagree about when <arm_acle.h> offers the instruction. */
static inline uint32_t step64(uint32_t state, uint64_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(word));
    return state;
}

static inline uint32_t step8(uint32_t state, uint8_t byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"(byte));
    return state;
}

static uint32_t by_hardware(uint32_t crc, const uint8_t *at, size_t length)
{
    uint32_t state = ~crc;
    for (; length >= 8; at += 8, length -= 8)
        state = step64(state, load64(at));
    for (; length > 0; at++, length--)
        state = step8(state, *at);
    return ~state;
}

#else

static bool have_hardware(void)
{
    return false;
}

static uint32_t by_hardware(uint32_t crc, const uint8_t *at, size_t length)
{
    return crc32c_by_table(crc, at, length);
}

#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
    return have_hardware() ? by_hardware(crc, bytes, length) : crc32c_by_table(crc, bytes, length);
}
