/*
 * host.c - spawn -> READY -> question -> answer, or a kill. The wall clock
 * counts only against a process that was given time: where the machine is
 * overloaded, a host that has not computed gets ten times as long.
 */
#include "codecs/script/host.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    START_MS = 20000,
    LOOK_MS = 20, /* how often a host at work is looked at */
    COMPUTED_MS = 120,
    PATIENCE = 10,
    MEMORY_MIB = 512
};

static int64_t now_ms(void)
{
    return clock_mono(&clock_system) / 1000;
}

static int64_t computed_ms(pid_t pid)
{
    clockid_t id;
    struct timespec t = {0};

    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) != 0)
        return 0;
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static long resident_mib(pid_t pid)
{
    char path[64];
    long pages = 0;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
}

/* ---- start and end ---- */

static int spawn(const char *program, int fd, pid_t *pid)
{
    /* Only what the engine needs; nothing of the server's own environment. */
    char *const environment[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=UTC",
                                 "ASAN_OPTIONS=detect_leaks=0", NULL};
    char name[] = "codec-host";
    char *const argv[] = {name, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, fd, WIRE_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, WIRE_FD + 1);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setflags(&how,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int err = posix_spawn(pid, program, &files, &how, argv, environment);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return -err;
}

/* Ends the process if it has not ended; its wait status. */
static int reap(struct host *h, bool kill_it)
{
    int status = 0;

    close(h->fd);
    if (kill_it)
        kill(h->pid, SIGKILL);
    while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
    return status;
}

void host_stop(struct host *h)
{
    if (h->pid)
        reap(h, true);
    buf_done(&h->out);
    buf_done(&h->in);
}

/* ---- a question ---- */

struct patience {
    const struct host *h;
    int64_t began_ms, computed_ms;
    int wall_ms;
    enum host_end end; /* HOST_ANSWERED while it may go on */
};

static int look(void *arg)
{
    struct patience *p = arg;
    struct pollfd fd = {p->h->fd, POLLIN, 0};

    for (;;) {
        if (poll(&fd, 1, LOOK_MS) > 0)
            return 0;
        int64_t wall = now_ms() - p->began_ms;
        bool computed = computed_ms(p->h->pid) - p->computed_ms >= COMPUTED_MS;
        if (resident_mib(p->h->pid) > MEMORY_MIB)
            p->end = HOST_FAT;
        else if (wall >= p->wall_ms && computed)
            p->end = HOST_HUNG;
        else if (wall >= (int64_t)p->wall_ms * PATIENCE)
            p->end = HOST_LOST;
        if (p->end != HOST_ANSWERED)
            return ERR_AWAY;
    }
}

/* Waits for the next record; otherwise ends the process and says how. */
static enum host_end hear(struct host *h, int wall_ms, struct wire_answer *ret)
{
    struct patience p = {.h = h,
                         .began_ms = now_ms(),
                         .computed_ms = computed_ms(h->pid),
                         .wall_ms = wall_ms};
    int r = wire_read(h->fd, &h->in, look, &p);

    if (r > 0 && wire_get_answer(buf_view(&h->in), ret) == 0)
        return HOST_ANSWERED;
    int status = reap(h, p.end != HOST_ANSWERED || r > 0);
    if (p.end != HOST_ANSWERED)
        return p.end;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return HOST_RETIRED;
    return WIFSIGNALED(status) &&
                   (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM)
               ? HOST_LOST
               : HOST_CRASHED;
}

static enum host_end start(struct host *h, const char *program)
{
    struct wire_answer ready;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return HOST_ABSENT;
    int err = spawn(program, pair[1], &h->pid);
    close(pair[1]);
    h->fd = pair[0];
    if (err < 0) {
        h->pid = 0;
        close(h->fd);
        log_error("codec-host cannot be started", "program=%s error=%s",
                  program, strerror(-err));
        return HOST_ABSENT;
    }
    enum host_end end = hear(h, START_MS, &ready);
    if (end == HOST_ANSWERED || end == HOST_LOST)
        return end;
    log_error("codec-host did not start", "program=%s", program);
    return HOST_ABSENT;
}

enum host_end host_ask(struct host *h, const char *program, int wall_ms,
                       const struct wire_request *q, struct wire_answer *ret)
{
    enum host_end end = h->pid ? HOST_ANSWERED : start(h, program);

    if (end != HOST_ANSWERED)
        return end;
    buf_clear(&h->out);
    wire_put_request(&h->out, q);
    /* A host that has just gone says so when its answer is awaited. */
    if (wire_write(h->fd, buf_view(&h->out)) < 0)
        log_debug("codec-host is gone", "pid=%d", (int)h->pid);
    return hear(h, wall_ms, ret);
}
