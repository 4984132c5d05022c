/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An automaton whose table is one word per byte. A state is a bit offset into that word, and the
 * six bits found there are the next state: one load and one shift a byte, no branch.
 *
 *              00-7F   80-8F   90-9F   A0-BF   C2-DF   E0   E1-EC,EE,EF   ED   F0   F1-F3   F4
 *   WHOLE      WHOLE   .       .       .       ONE     E0   TWO           ED   F0   THREE   F4
 *   ONE        .       WHOLE   WHOLE   WHOLE
 *   TWO        .       ONE     ONE     ONE        ONE, TWO, THREE: so many bytes are to come
 *   THREE      .       TWO     TWO     TWO
 *   AFTER_E0   .       .       .       ONE        shorter forms exist below A0
 *   AFTER_ED   .       ONE     ONE     .          surrogates from A0
 *   AFTER_F0   .       .       TWO     TWO        shorter forms exist below 90
 *   AFTER_F4   .       TWO     .       .          above U+10FFFF from 90
 *
 * Sixteen bytes of plain ASCII between two characters are passed over together.
 */
#include "ws/utf8.h"

enum {
    WHOLE = 0,
    ONE = 6,
    TWO = 12,
    THREE = 18,
    AFTER_E0 = 24,
    AFTER_ED = 30,
    AFTER_F0 = 36,
    AFTER_F4 = 42,
    WRONG = 48,
    STATE_BITS = 63,
    BLOCK = 16,
};

#define TO(from, next) ((uint64_t)(next) << (from))
#define ROW(whole, one, two, three, e0, ed, f0, f4)                                                \
    (TO(WHOLE, whole) | TO(ONE, one) | TO(TWO, two) | TO(THREE, three) | TO(AFTER_E0, e0) |        \
     TO(AFTER_ED, ed) | TO(AFTER_F0, f0) | TO(AFTER_F4, f4) | TO(WRONG, WRONG))
#define LEAD(next) ROW(next, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG)

static const uint64_t table[256] = {
    [0x00 ... 0x7f] = LEAD(WHOLE),
    [0x80 ... 0x8f] = ROW(WRONG, WHOLE, ONE, TWO, WRONG, ONE, WRONG, TWO),
    [0x90 ... 0x9f] = ROW(WRONG, WHOLE, ONE, TWO, WRONG, ONE, TWO, WRONG),
    [0xa0 ... 0xbf] = ROW(WRONG, WHOLE, ONE, TWO, ONE, WRONG, TWO, WRONG),
    [0xc0 ... 0xc1] = LEAD(WRONG),
    [0xc2 ... 0xdf] = LEAD(ONE),
    [0xe0] = LEAD(AFTER_E0),
    [0xe1 ... 0xec] = LEAD(TWO),
    [0xed] = LEAD(AFTER_ED),
    [0xee ... 0xef] = LEAD(TWO),
    [0xf0] = LEAD(AFTER_F0),
    [0xf1 ... 0xf3] = LEAD(THREE),
    [0xf4] = LEAD(AFTER_F4),
    [0xf5 ... 0xff] = LEAD(WRONG),
};

static bool is_ascii_block(const uint8_t *at)
{
    uint64_t low, high;
    memcpy(&low, at, sizeof low);
    memcpy(&high, at + sizeof low, sizeof high);
    return ((low | high) & 0x8080808080808080u) == 0;
}

bool utf8_feed(struct utf8 *utf8, const uint8_t *at, size_t length)
{
    uint64_t state = utf8->state;
    while (length >= BLOCK && (state & STATE_BITS) != WRONG) {
        if ((state & STATE_BITS) != WHOLE || !is_ascii_block(at)) {
            for (unsigned i = 0; i < BLOCK; i++)
                state = table[at[i]] >> (state & STATE_BITS);
        }
        at += BLOCK;
        length -= BLOCK;
    }
    for (; length > 0; at++, length--)
        state = table[*at] >> (state & STATE_BITS);
    utf8->state = (uint8_t)(state & STATE_BITS);
    return utf8->state != WRONG;
}

bool utf8_valid(struct span text)
{
    struct utf8 utf8 = {0};
    return utf8_feed(&utf8, text.at, text.length) && utf8_whole(utf8);
}
