/*
 * sandbox.c - rlimits and a seccomp filter. A system call that is not listed
 * fails with EPERM; nothing executable can be mapped; threads may be made (the
 * collector's), processes may not. RLIMIT_AS and RLIMIT_DATA are of no use:
 * JSC reserves some 70 GB of addresses; memory is bounded by the engine and by
 * headend, which look at what is resident.
 */
#include "codecs/host/sandbox.h"
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { FILES = 32 }; /* for the engine's eventfds; nothing can be opened */

static int limit(__rlimit_resource_t what, rlim_t n)
{
    struct rlimit r = {n, n};
    return setrlimit(what, &r) == 0 ? 0 : -errno;
}

int sandbox_limits(void)
{
    int err = limit(RLIMIT_CORE, 0);

    return err < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? err
                                                                  : -errno;
}

static const int allowed[] = {
    /* records, and statm */
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(sendto),
    SCMP_SYS(write),
    SCMP_SYS(close),
    /* the engine's timers */
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    /* memory */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(membarrier),
    /* threads, time */
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(tgkill),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(sysinfo),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    /* signals: the collector stops the script's thread with one */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigsuspend),
    SCMP_SYS(sigaltstack),
    /* the end */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

int sandbox_close(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = f ? limit(RLIMIT_NOFILE, FILES) : -ENOMEM;

    for (size_t i = 0; err == 0 && i < sizeof allowed / sizeof *allowed; i++)
        err = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    if (err == 0)
        err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (err == 0)
        err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (err == 0)
        err = seccomp_rule_add(
            f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
            SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (err == 0) /* its flags are out of a filter's sight: glibc goes on with
                     clone */
        err = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (err == 0)
        err = seccomp_load(f);
    seccomp_release(f);
    return err;
}
