/* SPDX-License-Identifier: Apache-2.0 */
/*
 * must(): what has to be true whatever a peer sends. It stays in release builds.
 * A false one is our own bug: it says where, and aborts. Peer input,
 * the disk, the network and Postgres are never judged with it.
 */
#ifndef CORE_MUST_H
#define CORE_MUST_H

#define must(condition)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            must_failed(#condition, __FILE__, __LINE__, __func__);                                 \
    } while (0)

_Noreturn void must_failed(const char *condition, const char *file, int line, const char *function);

#define NODISCARD                  __attribute__((warn_unused_result))
#define PRINTF_LIKE(at, arguments) __attribute__((format(printf, at, arguments)))
#define LIKELY(condition)          __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition)        __builtin_expect(!!(condition), 0)
#define COUNT_OF(array)            (sizeof(array) / sizeof((array)[0]))

#endif
