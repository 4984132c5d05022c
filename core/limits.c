/* SPDX-License-Identifier: Apache-2.0 */
#include "core/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>

/* What is allowed now, after having asked for `wanted`:
 * beyond the hard limit if we may, else up to it. */
static uint64_t raise_limit(int resource, uint64_t wanted)
{
    struct rlimit limit;
    must(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    if (limit.rlim_cur >= wanted)
        return limit.rlim_cur;
    struct rlimit more = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
    if (more.rlim_max < wanted)
        more.rlim_max = wanted;
    if (setrlimit((__rlimit_resource_t)resource, &more) == 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit((__rlimit_resource_t)resource, &limit);
    must(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    return limit.rlim_cur;
}

int limits_raise_descriptors(uint64_t wanted, char *why)
{
    uint64_t got = raise_limit(RLIMIT_NOFILE, wanted);
    if (got >= wanted)
        return 0;
    snprintf(why, LIMITS_WHY,
             "%" PRIu64 " descriptors are allowed and %" PRIu64
             " are wanted for limits.connections: raise "
             "LimitNOFILE in the service (ulimit -n in a shell)",
             got, wanted);
    return -EMFILE;
}

int limits_raise_locked_memory(uint64_t wanted, char *why)
{
    uint64_t got = raise_limit(RLIMIT_MEMLOCK, wanted);
    if (got >= wanted)
        return 0;
    snprintf(why, LIMITS_WHY,
             "%" PRIu64 " bytes of memory may be locked and %" PRIu64
             " are wanted: raise LimitMEMLOCK in "
             "the service (ulimit -l in a shell)",
             got, wanted);
    return -ENOMEM;
}

static int sysctl_disabled(void)
{
    int value = 0;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file && fscanf(file, "%d", &value) != 1)
        value = 0;
    if (file)
        fclose(file);
    return value;
}

void limits_explain_ring(int error, char *why)
{
    if (error == -EPERM && sysctl_disabled() > 0)
        snprintf(why, LIMITS_WHY,
                 "io_uring is switched off on this machine: set kernel.io_uring_disabled=0 with "
                 "sysctl (it "
                 "is %d; with 1 the group kernel.io_uring_group may use it)",
                 sysctl_disabled());
    else if (error == -EPERM || error == -EACCES)
        snprintf(
            why, LIMITS_WHY,
            "io_uring is forbidden to this process: a container or service manager filters the "
            "system "
            "calls io_uring_setup, io_uring_enter and io_uring_register; allow them (seccomp)");
    else if (error == -ENOSYS)
        snprintf(why, LIMITS_WHY,
                 "this kernel has no io_uring, or a filter hides it: Linux 6.1 or newer is needed, "
                 "and a "
                 "container must allow io_uring_setup, io_uring_enter and io_uring_register");
    else if (error == -EOPNOTSUPP)
        snprintf(why, LIMITS_WHY,
                 "this kernel's io_uring is too old: Linux 6.1 or newer is needed");
    else if (error == -ENOMEM)
        snprintf(why, LIMITS_WHY,
                 "no memory for io_uring: raise the limit of locked memory (LimitMEMLOCK=infinity "
                 "in the "
                 "service, ulimit -l unlimited in a shell) or lower limits.receive_buffers");
    else
        snprintf(why, LIMITS_WHY, "io_uring cannot be set up: %s", strerror(-error));
}

bool limits_is_memory(const char *directory)
{
    struct statfs status;
    return statfs(directory, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}
