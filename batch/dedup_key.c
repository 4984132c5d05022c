/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3 with 128 bits of result (Aumasson, Bernstein, "SipHash: a fast short-input PRF",
 * 2012; one round a word and three at the end, as Rust and Python hash their tables). Keyed,
 * because ids come from strangers: without the secret nobody can prepare two ids that meet in one
 * key, and so have an event taken for a duplicate, or fill one bucket. 128 bits, because no other
 * comparison of ids follows.
 */
#include "batch/dedup.h"

#include <endian.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_finish(struct sip *s)
{
    for (int i = 0; i < 3; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

/* The last 0..7 bytes, and the length in the top byte. */
static inline uint64_t last_word(const uint8_t *at, size_t length)
{
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % 8; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

struct dedup_key dedup_key(const uint8_t secret[16], struct span id)
{
    uint64_t k0 = word_at(secret), k1 = word_at(secret + 8);
    struct sip s = {
        .v0 = k0 ^ 0x736f6d6570736575u,
        .v1 = k1 ^ 0x646f72616e646f6du ^ 0xee, /* 0xee, 0xee, 0xdd: for 128 bits */
        .v2 = k0 ^ 0x6c7967656e657261u,
        .v3 = k1 ^ 0x7465646279746573u,
    };
    const uint8_t *at = id.at;
    for (size_t words = id.length / 8; words > 0; words--, at += 8)
        sip_word(&s, word_at(at));
    sip_word(&s, last_word(at, id.length));
    s.v2 ^= 0xee;
    struct dedup_key key = {.low = sip_finish(&s)};
    s.v1 ^= 0xdd;
    key.high = sip_finish(&s);
    if (key.high == 0 && key.low == 0)
        key.low = 1; /* {0,0} stands for none */
    return key;
}
