/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of letters, and how a sleeper is not slept through.
 *
 *          taken              posted
 *            ▼                  ▼
 *   │ free … │ letters waiting  │ free … │      place of letter n: n & mask
 *
 * `posted` is written by the poster alone, `taken` by the taker alone;
 * both only grow (64 bits never wrap). Releasing `posted` publishes the letter's bytes,
 * acquiring it makes them readable; the same with `taken` for the place that has
 * become free. Each side looks at the other's line only when its own stale copy
 * says full or empty, so that a line crosses between cores once in many letters.
 */
#include "core/mail.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { CACHE_LINE = 64 };

struct mail {
    _Alignas(CACHE_LINE) uint8_t *places;
    size_t letter_bytes;
    uint64_t mask;
    /* the poster's line */
    _Alignas(CACHE_LINE) _Atomic uint64_t posted;
    uint64_t taken_seen;
    /* the taker's line */
    _Alignas(CACHE_LINE) _Atomic uint64_t taken;
    uint64_t posted_seen;
};

struct mail *mail_open(unsigned letters, size_t letter_bytes)
{
    must(letters > 0 && (letters & (letters - 1)) == 0 && letter_bytes > 0);
    struct mail *mail = aligned_alloc(CACHE_LINE, sizeof *mail);
    if (mail == NULL)
        return NULL;
    *mail = (struct mail){.letter_bytes = letter_bytes, .mask = letters - 1};
    size_t bytes = ((size_t)letters * letter_bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    mail->places = aligned_alloc(CACHE_LINE, bytes);
    if (mail->places == NULL) {
        free(mail);
        return NULL;
    }
    return mail;
}

void mail_close(struct mail *mail)
{
    if (mail == NULL)
        return;
    free(mail->places);
    free(mail);
}

/* Nearly every letter is a pointer: a copy of a known length is one instruction. */
static inline void copy_letter(void *to, const void *from, size_t bytes)
{
    if (LIKELY(bytes == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, bytes);
}

bool mail_post(struct mail *mail, const void *letter)
{
    uint64_t posted = atomic_load_explicit(&mail->posted, memory_order_relaxed);
    if (UNLIKELY(posted - mail->taken_seen > mail->mask)) {
        mail->taken_seen = atomic_load_explicit(&mail->taken, memory_order_acquire);
        if (posted - mail->taken_seen > mail->mask)
            return false;
    }
    copy_letter(mail->places + (posted & mail->mask) * mail->letter_bytes, letter,
                mail->letter_bytes);
    atomic_store_explicit(&mail->posted, posted + 1, memory_order_release);
    return true;
}

bool mail_take(struct mail *mail, void *letter)
{
    uint64_t taken = atomic_load_explicit(&mail->taken, memory_order_relaxed);
    if (UNLIKELY(taken == mail->posted_seen)) {
        mail->posted_seen = atomic_load_explicit(&mail->posted, memory_order_acquire);
        if (taken == mail->posted_seen)
            return false;
    }
    copy_letter(letter, mail->places + (taken & mail->mask) * mail->letter_bytes,
                mail->letter_bytes);
    atomic_store_explicit(&mail->taken, taken + 1, memory_order_release);
    return true;
}

/* `taken` is read first: it can't have passed a `posted` that is read later. */
unsigned mail_waiting(const struct mail *mail)
{
    uint64_t taken = atomic_load_explicit(&mail->taken, memory_order_acquire);
    return (unsigned)(atomic_load_explicit(&mail->posted, memory_order_acquire) - taken);
}

/*
 * The sleeper exchanges 1 in and then looks into its mail; the waker has posted and then exchanges
 * 0 in. The two exchanges are of one variable, so one comes first. The waker's second: it finds the
 * 1 and rings. The sleeper's second: it has read what the waker released, so its look finds the
 * letter. A plain store and load instead would allow both to pass each other, and a letter would
 * lie there until the next one.
 */
void sleeper_lie_down(struct sleeper *sleeper)
{
    (void)atomic_exchange_explicit(&sleeper->asleep, 1, memory_order_acq_rel);
}

void sleeper_got_up(struct sleeper *sleeper)
{
    (void)atomic_exchange_explicit(&sleeper->asleep, 0, memory_order_acq_rel);
}

bool sleeper_wake(struct sleeper *sleeper)
{
    if (atomic_exchange_explicit(&sleeper->asleep, 0, memory_order_acq_rel) == 0)
        return false;
    /* It can only fail when 2^64 - 2 rings wait to be heard: then it is awake anyway. */
    (void)eventfd_write(sleeper->doorbell, 1);
    return true;
}
