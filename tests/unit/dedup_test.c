/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/dedup.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* openssl mac -macopt hexkey:00…0f -macopt size:16 -macopt
 * c-rounds:1 -macopt d-rounds:3 SIPHASH, of the bytes 0, 1, 2 … */
static void test_key_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        uint64_t low, high;
    } vectors[] = {
        {0, 0xbea58827b2bc7ee7, 0x013030dd6adb62fd},  {1, 0xa8edd36004376ffc, 0x63f02f2bcc73055e},
        {7, 0xc3e0aaf223b98410, 0x77ab4808c82e2fa6},  {8, 0xb4dae3d5e1fe12aa, 0x99c7f935ab164f72},
        {9, 0x9439f32c04b8dd81, 0x427c1394000e72f4},  {15, 0x6c52bdb205557ec1, 0x09017e1eeccd2129},
        {16, 0xeb8e511557d9a8d0, 0x93179e3df8b013b5}, {36, 0xda8e7102f010a137, 0x40f153e49e3f4bd2},
        {63, 0x6f42fe4ee300584c, 0xad6052a70a6b9f07}, {128, 0x2fd6c34f5d08f70a, 0x9f8eecb8f6cea375},
    };
    uint8_t secret[16], bytes[128];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    memcpy(secret, bytes, sizeof secret);
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        uint8_t *edge = unit_edge_copy(bytes, vectors[i].length);
        struct dedup_key key = dedup_key(secret, span_of(edge, vectors[i].length));
        unit_edge_free(edge, vectors[i].length);
        assert_true(key.low == vectors[i].low && key.high == vectors[i].high);
    }
}

/* Even numbers spread over 128 bits: what dedup_key() makes, without its cost. */
static struct dedup_key key_of(uint64_t id)
{
    static const uint8_t secret[16] = "0123456789abcde";
    return dedup_key(secret, span_of(&id, sizeof id));
}

static struct ticket ticket_of(uint64_t sequence, uint32_t shard)
{
    return (struct ticket){.sequence = sequence, .shard = shard};
}

/* -1: taken; else the sequence of the original. */
static int64_t take(struct dedup *dedup, uint64_t id, uint64_t sequence, uint32_t shard,
                    uint32_t now_s)
{
    bool evicted = true;
    struct ticket original = {UINT64_MAX, UINT32_MAX};
    dedup_prefetch(dedup, key_of(id));
    if (dedup_take(dedup, key_of(id), ticket_of(sequence, shard), now_s, &original, &evicted)) {
        assert_int_equal(original.shard, UINT32_MAX);
        assert_false(evicted);
        return -1;
    }
    assert_false(evicted);
    return (int64_t)original.sequence;
}

static void test_window(void **state)
{
    (void)state;
    static const uint32_t windows[] = {1, 7, 8, 600, DEDUP_WINDOW_MAX_S};
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        uint32_t window = windows[i], now = 1700000000;
        struct dedup *dedup = dedup_open(1024, window);
        assert_int_equal(take(dedup, 1, 10, 3, now), -1);
        assert_int_equal(take(dedup, 2, 11, 3, now + 1), -1);
        assert_int_equal(take(dedup, 1, 12, 3, now), 10);
        assert_int_equal(take(dedup, 1, 12, 4, now + window), 10);
        assert_int_equal(take(dedup, 1, 12, 3, now + window + 1), -1);
        assert_int_equal(take(dedup, 1, 13, 3, now + window + 1), 12);
        dedup_close(dedup);
    }
}

/* A record that nobody has met for so long that its bits of the second have come round. */
static void test_no_alias(void **state)
{
    (void)state;
    static const uint32_t windows[] = {1, 600, DEDUP_WINDOW_MAX_S};
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        for (uint64_t round = 1u << 16; round <= 1u << 24; round <<= 1) {
            for (uint32_t off = 0; off < 3; off++) {
                uint32_t now = 1700000000, later = now + (uint32_t)round + off - 1;
                struct dedup *dedup = dedup_open(1, windows[i]);
                assert_int_equal(take(dedup, 1, 10, 0, now), -1);
                assert_int_equal(take(dedup, 1, 11, 0, later), later - now <= windows[i] ? 10 : -1);
                dedup_close(dedup);
            }
        }
    }
}

static void test_clock(void **state)
{
    (void)state;
    struct dedup *dedup = dedup_open(1024, 600);
    uint32_t now = UINT32_MAX - 100; /* 2106 */
    assert_int_equal(take(dedup, 1, 10, 0, now), -1);
    assert_int_equal(take(dedup, 1, 11, 0, now + 500), 10); /* round the end of 32 bits */
    /* Another shard's clock, and hours back: remembered. */
    assert_int_equal(take(dedup, 1, 11, 0, now - 2), 10);
    assert_int_equal(take(dedup, 1, 11, 0, now - 8 * 3600), 10);
    assert_int_equal(take(dedup, 2, 11, 0, now - 8 * 3600), -1);
    assert_int_equal(take(dedup, 2, 12, 0, now - 8 * 3600 + 601), -1);
    /* Years back: forgotten, and then all is as ever. */
    assert_int_equal(take(dedup, 1, 13, 0, now - 100000000), -1);
    assert_int_equal(take(dedup, 1, 14, 0, now - 100000000 + 600), 13);
    assert_int_equal(take(dedup, 1, 14, 0, now - 100000000 + 601), -1);
    dedup_close(dedup);
}

/* Sequences far above the 40 bits that are kept, and shards that stand at very different ones. */
/* A start reads one shard's spool after the other: the time of
 * what is taken goes back by all that a spool spans, and on again. */
static void test_one_shard_after_the_other(void **state)
{
    (void)state;
    enum { WINDOW = 60, SPAN_S = 3000, EACH_S = 15, FRESH = 300 };
    uint32_t now = 1700000000;
    struct dedup *dedup = dedup_open(2048, WINDOW);
    for (unsigned i = 0; i < FRESH; i++)
        assert_int_equal(take(dedup, i, i, 0, now), -1);
    for (unsigned i = 0; i < SPAN_S * EACH_S; i++)
        assert_int_equal(take(dedup, 1000000 + i, i, 1, now - SPAN_S + i / EACH_S), -1);
    for (unsigned i = 0; i < FRESH; i++)
        assert_int_equal(take(dedup, i, 7, 1, now + 1), i);
    dedup_close(dedup);
}

static void test_sequences(void **state)
{
    (void)state;
    static const uint64_t bases[] = {0,
                                     1,
                                     (UINT64_C(1) << 40) - 500,
                                     UINT64_C(1) << 40,
                                     (UINT64_C(7) << 40) - 1,
                                     (UINT64_C(1) << 62) + 12345};
    struct dedup *dedup = dedup_open(100000, 600);
    for (uint64_t i = 0; i < 1000; i++)
        for (unsigned shard = 0; shard < COUNT_OF(bases); shard++)
            assert_int_equal(take(dedup, i * 64 + shard, bases[shard] + i, shard * 12, 5000), -1);
    assert_int_equal(dedup_ids(dedup), 6000);
    for (uint64_t i = 0; i < 1000; i++) {
        for (unsigned shard = 0; shard < COUNT_OF(bases); shard++) {
            struct ticket original;
            bool evicted;
            assert_false(dedup_take(dedup, key_of(i * 64 + shard), ticket_of(77, 63), 5001,
                                    &original, &evicted));
            assert_true(original.sequence == bases[shard] + i && original.shard == shard * 12);
        }
    }
    dedup_close(dedup);
}

/* Against an array that simply remembers who took each id, and when. */
static void test_model(void **state)
{
    (void)state;
    enum { IDS = 3000, TAKES = 400000, WINDOW = 600 };
    struct {
        uint64_t sequence;
        uint32_t shard, at_s;
        bool there;
    } *model = calloc(IDS, sizeof *model);
    uint64_t next[4] = {0, 1000, UINT64_C(1) << 41, 5}, random = 1;
    struct dedup *dedup = dedup_open(IDS, WINDOW);
    uint32_t now = 1700000000;
    for (unsigned i = 0; i < TAKES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t shard = (random >> 60) & 3, seen_s = now - ((random >> 58) & 1);
        unsigned id = (unsigned)((random >> 20) % IDS);
        now += (random >> 48) % 64 == 0;
        if ((random >> 34) % 65536 == 0)
            now += (1u << 18) - 300 + (uint32_t)(random >> 50) % 600;
        if (seen_s - model[id].at_s == WINDOW)
            seen_s = now; /* a clock that is a second ahead may have cleaned it away */
        bool known = model[id].there && (int32_t)(seen_s - model[id].at_s) <= WINDOW;
        int64_t original = take(dedup, id, next[shard], shard, seen_s);
        assert_int_equal(original, known ? (int64_t)model[id].sequence : -1);
        if (known)
            continue;
        model[id].there = true;
        model[id].shard = shard;
        model[id].at_s = seen_s;
        model[id].sequence = next[shard]++;
    }
    dedup_close(dedup);
    free(model);
}

#ifdef __SANITIZE_THREAD__
enum { FULL_IDS = 262144 }; /* ten times slower */
#else
enum { FULL_IDS = 4194304 };
#endif

/* As many ids as it is made for: none is forgotten. */
static void test_full(void **state)
{
    (void)state;
    enum { IDS = FULL_IDS };
    struct dedup *dedup = dedup_open(IDS, 600);
    unsigned evictions = 0;
    for (uint64_t i = 0; i < IDS; i++) {
        struct ticket original;
        bool evicted;
        dedup_prefetch(dedup, key_of(i + 16));
        assert_true(dedup_take(dedup, key_of(i), ticket_of(i, 0), 1000, &original, &evicted));
        evictions += evicted;
    }
    assert_int_equal(evictions, 0);
    assert_int_equal(dedup_ids(dedup), IDS);
    assert_true(dedup_bytes(dedup) < (size_t)IDS * 27 + 4 * 1024 * 1024);
    dedup_close(dedup);
}

/* Far more than it holds: each one too many costs one, the oldest, and says so. */
static void test_evictions(void **state)
{
    (void)state;
    enum { IDS = 20000, LAST = 60 };
    struct dedup *dedup = dedup_open(1, 600);
    uint64_t evictions = 0;
    for (uint64_t i = 0; i < IDS; i++) {
        struct ticket original;
        bool evicted;
        assert_true(dedup_take(dedup, key_of(i), ticket_of(i, 0), (uint32_t)(1000 + i / 50),
                               &original, &evicted));
        evictions += evicted;
    }
    assert_true(evictions >= IDS - 128 * 7);
    assert_int_equal(dedup_ids(dedup) + evictions, IDS);
    uint32_t end_s = 1000 + IDS / 50;
    for (uint64_t i = IDS - LAST; i < IDS; i++)
        assert_int_equal(take(dedup, i, IDS, 0, end_s), i);
    dedup_close(dedup);
}

/* ── Threads: whoever is first, exactly one has an id, and all agree who ────────────────────── */

enum { THREADS = 4, CONTESTED = 30000 };

struct contest {
    struct dedup *dedup;
    uint32_t shard;
    uint8_t won[CONTESTED];
    struct ticket original[CONTESTED];
    pthread_barrier_t *start;
};

static void *contend(void *context)
{
    struct contest *contest = context;
    pthread_barrier_wait(contest->start);
    for (uint32_t i = 0; i < CONTESTED; i++) {
        struct ticket mine = ticket_of(UINT64_C(1) << 41 | i, contest->shard);
        bool evicted;
        contest->original[i] = mine;
        contest->won[i] = dedup_take(contest->dedup, key_of(i / 2 * 2), mine, 1000 + contest->shard,
                                     &contest->original[i], &evicted);
    }
    return NULL;
}

static void judge(const struct contest *contest, uint32_t id)
{
    unsigned winners = 0;
    for (unsigned t = 0; t < THREADS; t++) {
        winners += contest[t].won[id] + contest[t].won[id + 1];
        const struct ticket *original = contest[t].original;
        assert_true(original[id].shard == contest[0].original[id].shard &&
                    original[id + 1].shard == original[id].shard);
        assert_true(original[id].sequence == (UINT64_C(1) << 41 | id));
        assert_true(original[id + 1].sequence == original[id].sequence);
    }
    assert_int_equal(winners, 1);
}

static void test_threads(void **state)
{
    (void)state;
    struct contest *contest = calloc(THREADS, sizeof *contest);
    pthread_t thread[THREADS];
    pthread_barrier_t start;
    struct dedup *dedup = dedup_open(CONTESTED, 600);
    pthread_barrier_init(&start, NULL, THREADS);
    for (uint32_t t = 0; t < THREADS; t++) {
        contest[t].dedup = dedup;
        contest[t].shard = t;
        contest[t].start = &start;
        assert_int_equal(pthread_create(&thread[t], NULL, contend, &contest[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(thread[t], NULL), 0);
    for (uint32_t id = 0; id < CONTESTED; id += 2)
        judge(contest, id);
    assert_int_equal(dedup_ids(dedup), CONTESTED / 2);
    pthread_barrier_destroy(&start);
    dedup_close(dedup);
    free(contest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_vectors),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_no_alias),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_one_shard_after_the_other),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_evictions),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
