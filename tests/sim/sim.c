/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulation's command line. See tests/sim/README.md.
 *
 *   SEED=n     only this one, with its trace
 *   SEEDS=n    this many, from FIRST (1) on; default 20,000
 *   STOP=n     begin no more when n have failed; default 10
 *   JOBS=n     processes; default: as many as there are cores
 */
#include "core/log.h"
#include "tests/sim/box.h"
#include "tests/sim/crew.h"
#include "tests/sim/seed.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEEDS_DEFAULT = 20000, SEEDS_TO_SEE_ALL = 4000, FAILURES_TOLD = 3 };

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? otherwise : strtoull(text, NULL, 10);
}

/* ── One ────────────────────────────────────────────────────────────────────────────────────── */

static void on_abort(int number)
{
    (void)number;
    world_print_end();
    printf("# aborted in seed %llu\n", (unsigned long long)world.seed);
    fflush(stdout);
    signal(SIGABRT, SIG_DFL);
}

static int run_one(uint64_t seed)
{
    signal(SIGABRT, on_abort);
    bool good = seed_run(seed, TELL_ALL);
    printf("%s seed %llu%s%s\n", good ? "ok" : "not ok", (unsigned long long)seed, good ? "" : ": ",
           world.verdict);
    return good ? 0 : 1;
}

/* ── Many ───────────────────────────────────────────────────────────────────────────────────── */

static bool run_quietly(uint64_t seed)
{
    return seed_run(seed, TELL_NOTHING);
}

/* Once more, in a process of its own, now with the end of its trace. */
static void tell_failure(const struct crew_failure *failure)
{
    printf("# seed %llu: %s\n# again: make sim SEED=%llu\n", (unsigned long long)failure->seed,
           failure->verdict, (unsigned long long)failure->seed);
    fflush(stdout);
    pid_t process = fork();
    must(process >= 0);
    if (process == 0) {
        signal(SIGABRT, on_abort);
        (void)alarm(120);
        if (seed_run(failure->seed, TELL_THE_END))
            printf("# this time it did not fail: something is not the seed's\n");
        else
            world_print_end();
        fflush(stdout);
        _exit(0);
    }
    (void)waitpid(process, NULL, 0);
}

static void tell_scenarios(const struct crew_report *report)
{
    const char *name;
    for (unsigned i = 0; (name = seed_scenario_name(i)) != NULL; i++) {
        bool good = true;
        for (unsigned j = 0; j < report->failures; j++)
            good = good && seed_scenario(report->failure[j].seed) != i;
        printf("%s %s\n", good ? "ok" : "not ok", name);
    }
}

static bool tell_sights(const uint64_t saw[SIGHTS])
{
    static const char *const text[] = {
#define SIGHT(id, what) what,
        WORLD_SIGHTS(SIGHT)
#undef SIGHT
    };
    bool all = true;
    for (unsigned i = 0; i < SIGHTS; i++) {
        printf("# %12llu %s\n", (unsigned long long)saw[i], text[i]);
        all = all && saw[i] > 0;
    }
    printf("%s everything that is to go wrong has gone wrong at least once\n",
           all ? "ok" : "not ok");
    return all;
}

static int run_many(void)
{
    struct crew_report report;
    struct crew_order order = {.first = setting("FIRST", 1),
                               .seeds = setting("SEEDS", SEEDS_DEFAULT),
                               .size = (unsigned)setting("JOBS", (uint64_t)get_nprocs()),
                               .failures_max = (unsigned)setting("STOP", 10),
                               .run = run_quietly};
    if (order.size > CREW_SIZE_MAX)
        order.size = CREW_SIZE_MAX;
    crew_run(&order, &report);
    for (unsigned i = 0; i < report.failures && i < FAILURES_TOLD; i++)
        tell_failure(&report.failure[i]);
    for (unsigned i = FAILURES_TOLD; i < report.failures; i++)
        printf("# seed %llu: %s\n", (unsigned long long)report.failure[i].seed,
               report.failure[i].verdict);
    tell_scenarios(&report);
    bool seen = report.seeds < SEEDS_TO_SEE_ALL || tell_sights(report.saw);
    printf("# %llu seeds from %llu on, %u failed\n", (unsigned long long)report.seeds,
           (unsigned long long)order.first, report.failures);
    return report.failures == 0 && seen ? 0 : 1;
}

int main(void)
{
    uint64_t seed = setting("SEED", 0);
    /* What one boot gives back is what the next one takes: the kernel need not clear it again. */
    (void)mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 512 * 1024 * 1024);
    log_setup(getenv("LOG") != NULL ? LOG_DEBUG : LOG_ERROR + 1, LOG_LOGFMT);
    box_furnish();
    return seed == 0 ? run_many() : run_one(seed);
}
