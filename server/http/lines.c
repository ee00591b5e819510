/*
 * lines.c - see lines.h. Cut means shut down: libmicrohttpd sees the end, and
 * closes. The waiting ones are in the order in which they began to wait.
 */
#include "server/http/lines.h"
#include "server/base/log.h"
#include "server/base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <utlist.h>

struct line {
    struct lines *all;
    struct line *prev, *next; /* of those that wait */
    int fd;
    bool waits;
    int64_t since_us;
};

struct lines {
    const struct clock *clock;
    int open, most;
    int64_t wait_us;
    struct line *waiting;
};

struct lines *lines_new(const struct clock *clock, int most, int64_t wait_us)
{
    struct lines *all = mem_alloc(sizeof *all);

    *all = (struct lines){.clock = clock, .most = most, .wait_us = wait_us};
    return all;
}

void lines_free(struct lines *all)
{
    free(all);
}

static void wait_begin(struct line *l)
{
    l->waits = true;
    l->since_us = clock_mono(l->all->clock);
    DL_APPEND(l->all->waiting, l);
}

static void wait_end(struct line *l)
{
    if (l->waits)
        DL_DELETE(l->all->waiting, l);
    l->waits = false;
}

static void cut(struct line *l)
{
    wait_end(l);
    shutdown(l->fd, SHUT_RDWR);
}

static struct line *line_new(struct lines *all, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct line *l = mem_alloc(sizeof *l);

    l->all = all;
    l->fd = info->connect_fd;
    all->open++;
    return l;
}

static void make_room(struct lines *all)
{
    static struct log_limit limit;
    int n;

    if (all->open <= all->most || !all->waiting)
        return;
    n = log_allowed(&limit);
    if (n)
        log_warning("http connection cut, too many", "open=%d more=%d",
                    all->open, n - 1);
    cut(all->waiting);
}

void lines_notify(void *arg, struct MHD_Connection *c, void **socket_context,
                  enum MHD_ConnectionNotificationCode what)
{
    struct lines *all = arg;
    struct line *l = *socket_context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        l = *socket_context = line_new(all, c);
        wait_begin(l);
        make_room(all);
    } else if (l) {
        wait_end(l);
        all->open--;
        free(l);
    }
}

void lines_answering(struct MHD_Connection *c, int change)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct line *l = info ? info->socket_context : NULL;

    if (!l)
        return;
    wait_end(l);
    if (change < 0)
        wait_begin(l);
}

int64_t lines_expire(struct lines *all)
{
    int64_t now = clock_mono(all->clock);
    struct line *l;

    while ((l = all->waiting) && now - l->since_us >= all->wait_us)
        cut(l);
    return l ? all->wait_us - (now - l->since_us) : all->wait_us;
}
