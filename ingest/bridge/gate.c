/*
 * gate.c - see gate.h.
 *
 * gate_open -> dial -> dialled (the next address, or) -> GATE_OPENED -> admit
 * (paho's CONNECT for proxies, answered) -> from_broker, from_paho -> hang_up.
 *
 * What paho writes gathers in `held`. Each read is marked with the frame that
 * paho had handed over last when it was made, and leaves when that is durable.
 */
#include "ingest/bridge/gate.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK = 65536,
    GREETING_MAX = 4096, /* of paho's CONNECT to the proxy */
};

struct mark {
    uint64_t frame; /* when this is durable ... */
    size_t upto;    /* ... the bytes held up to here may leave */
};

struct gate {
    char *host, *port;
    struct addrinfo *found, *next; /* addresses; not tried yet */
    int listener, broker, paho;    /* -1: none */
    bool dialling, greeted, shut;
    char proxy[GATE_PROXY];
    char text[160];
    struct buf greeting;
    struct buf in;  /* for paho; */
    size_t in_at;   /* ... what of it is written */
    struct buf out; /* for the broker: free to go */
    size_t out_at;
    struct buf held;
    struct mark *marks; /* of them [passed, n) stand */
    uint32_t n, cap, passed;
    size_t released; /* bytes of `held` */
};

/* ---- making one ---- */

static char *copy(struct str s)
{
    return mem_strndup(s.p, s.n);
}

int gate_new(struct str url, struct gate **ret)
{
    static const struct {
        const char *scheme, *port;
    } kinds[] = {{"mqtt://", "1883"}, {"mqtts://", "8883"}};
    struct gate *g;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].scheme);
        struct str host, port = str_of(kinds[i].port);
        const char *colon, *bracket;

        if (url.n <= n || memcmp(url.p, kinds[i].scheme, n) != 0)
            continue;
        host = (struct str){url.p + n, url.n - n};
        for (size_t k = 0; k < host.n; k++)
            if (strchr("/?#", host.p[k]))
                host.n = k;
        colon = memrchr(host.p, ':', host.n);
        bracket = memrchr(host.p, ']', host.n);
        if (colon && (!bracket || colon > bracket)) {
            port =
                (struct str){colon + 1, host.n - (size_t)(colon + 1 - host.p)};
            host.n = (size_t)(colon - host.p);
        }
        if (bracket && host.n > 2)
            host = (struct str){host.p + 1, host.n - 2};
        if (host.n == 0 || port.n == 0)
            break;
        g = mem_alloc(sizeof *g);
        *g = (struct gate){.listener = -1, .broker = -1, .paho = -1};
        g->host = copy(host);
        g->port = copy(port);
        *ret = g;
        return 0;
    }
    return ERR_FORMAT;
}

bool gate_is_open(const struct gate *g)
{
    return g->broker >= 0 && !g->dialling;
}

const char *gate_proxy(const struct gate *g)
{
    return g->proxy;
}

const char *gate_text(const struct gate *g)
{
    return g->text;
}

void gate_shut(struct gate *g)
{
    g->shut = true;
}

static void end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum gate_event hang_up(struct gate *g, const char *text)
{
    end(&g->listener);
    end(&g->broker);
    end(&g->paho);
    if (g->found)
        freeaddrinfo(g->found);
    g->found = g->next = NULL;
    g->dialling = g->greeted = false;
    g->in_at = g->out_at = 0;
    buf_clear(&g->greeting);
    buf_clear(&g->in);
    buf_clear(&g->out);
    buf_clear(&g->held);
    g->n = g->passed = 0;
    g->released = 0;
    snprintf(g->text, sizeof g->text, "%s", text);
    return GATE_CLOSED;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    hang_up(g, "");
    buf_done(&g->greeting);
    buf_done(&g->in);
    buf_done(&g->out);
    buf_done(&g->held);
    free(g->marks);
    free(g->host);
    free(g->port);
    free(g);
}

/* ---- dialling ---- */

/* The next address that begins to answer; -1 when there is none. */
static int dial(struct gate *g)
{
    const int yes = 1;

    while (g->next) {
        const struct addrinfo *a = g->next;

        g->next = a->ai_next;
        g->broker =
            socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (g->broker < 0)
            continue;
        setsockopt(g->broker, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (connect(g->broker, a->ai_addr, a->ai_addrlen) == 0 ||
            errno == EINPROGRESS)
            return 0;
        snprintf(g->text, sizeof g->text, "%s", strerror(errno));
        end(&g->broker);
    }
    return -1;
}

/* A failure is told by the next turn, as all others are. */
void gate_open(struct gate *g)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int r;

    hang_up(g, "no address");
    r = getaddrinfo(g->host, g->port, &hints, &g->found);
    g->dialling = true;
    if (r != 0) {
        g->found = NULL;
        snprintf(g->text, sizeof g->text, "%s", gai_strerror(r));
        return;
    }
    g->next = g->found;
    dial(g);
}

/* Where paho finds us. */
static int listen_once(struct gate *g)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    g->listener =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (g->listener < 0 ||
        bind(g->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(g->listener, 1) < 0 ||
        getsockname(g->listener, (struct sockaddr *)&at, &n) < 0)
        return -1;
    snprintf(g->proxy, sizeof g->proxy, "127.0.0.1:%u", ntohs(at.sin_port));
    return 0;
}

static enum gate_event dialled(struct gate *g)
{
    int error = 0;
    socklen_t n = sizeof error;

    if (g->broker >= 0) {
        getsockopt(g->broker, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error == 0) {
            g->dialling = false;
            return listen_once(g) < 0 ? hang_up(g, strerror(errno))
                                      : GATE_OPENED;
        }
        snprintf(g->text, sizeof g->text, "%s", strerror(error));
        end(&g->broker);
    }
    if (dial(g) == 0)
        return GATE_QUIET;
    char text[sizeof g->text];
    memcpy(text, g->text, sizeof text);
    return hang_up(g, text);
}

/* ---- moving bytes ---- */

/* Bytes read (0: none now), or -1: the end. */
static ssize_t take(int fd, struct buf *into)
{
    ssize_t n = recv(fd, buf_room(into, CHUNK), CHUNK, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    into->n += (size_t)n;
    return n;
}

/* Writes what the other end takes; -1: it has gone. */
static int give(int fd, struct buf *from, size_t *at)
{
    while (*at < from->n) {
        ssize_t n = send(fd, from->p + *at, from->n - *at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        *at += (size_t)n;
    }
    buf_clear(from);
    *at = 0;
    return 0;
}

/* Answered before it asks: paho would look again a quarter of a second later.
 * A broker says nothing first, so nothing can follow the answer too early. */
static void admit(struct gate *g)
{
    static const char yes[] = "HTTP/1.1 200 OK\r\n\r\n";
    const int on = 1;

    g->paho = accept4(g->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (g->paho < 0)
        return;
    setsockopt(g->paho, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    buf_put(&g->in, yes, sizeof yes - 1);
    end(&g->listener);
}

/* The request ends with an empty line; what follows is for the broker. */
static int take_greeting(struct gate *g)
{
    uint8_t *line;
    size_t n;

    if (take(g->paho, &g->greeting) < 0)
        return -1;
    line = memmem(g->greeting.p, g->greeting.n, "\r\n\r\n", 4);
    if (!line)
        return g->greeting.n > GREETING_MAX ? -1 : 0;
    n = (size_t)(line + 4 - g->greeting.p);
    buf_put(&g->out, line + 4, g->greeting.n - n);
    buf_done(&g->greeting);
    g->greeted = true;
    return 0;
}

static void let_go(struct gate *g, uint64_t durable)
{
    size_t upto = g->released;

    for (; g->passed < g->n && g->marks[g->passed].frame <= durable;
         g->passed++)
        upto = g->marks[g->passed].upto;
    if (upto > g->released)
        buf_put(&g->out, g->held.p + g->released, upto - g->released);
    g->released = upto;
    if (g->passed == g->n) {
        buf_clear(&g->held);
        g->n = g->passed = 0;
        g->released = 0;
    }
}

/* First the bytes, then what had been handed over: an acknowledgement among
 * them was written after its frame was. */
static int from_paho(struct gate *g, uint64_t (*sent)(void))
{
    struct mark now;

    if (!g->greeted)
        return take_greeting(g);
    if (take(g->paho, &g->held) < 0)
        return -1;
    now = (struct mark){sent(), g->held.n};
    if (g->n > g->passed && g->marks[g->n - 1].frame == now.frame) {
        g->marks[g->n - 1] = now;
        return 0;
    }
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 64;
        g->marks = mem_grow(g->marks, g->cap, sizeof *g->marks);
    }
    g->marks[g->n++] = now;
    return 0;
}

void gate_durable(struct gate *g, uint64_t durable)
{
    if (g->broker < 0 || g->dialling)
        return;
    let_go(g, durable);
    give(g->broker, &g->out, &g->out_at); /* an end shows when reading */
}

void gate_poll(const struct gate *g, struct pollfd at[GATE_POLLS])
{
    int to_paho = g->in.n ? POLLOUT : 0;
    int to_broker = g->dialling || g->out.n ? POLLOUT : 0;
    int more = g->in.n || g->shut ? 0 : POLLIN;
    int want = to_broker | more; /* nothing: an end of it waits its turn */

    at[0] = (struct pollfd){g->listener, POLLIN, 0};
    at[1] = (struct pollfd){want ? g->broker : -1, (short)want, 0};
    at[2] = (struct pollfd){g->paho, (short)(to_paho | POLLIN), 0};
}

enum gate_event gate_turn(struct gate *g, const struct pollfd at[GATE_POLLS],
                          uint64_t (*sent)(void), uint64_t durable)
{
    if (g->dialling)
        return g->broker < 0 || at[1].revents ? dialled(g) : GATE_QUIET;
    if (g->broker < 0)
        return GATE_QUIET;
    if (g->listener >= 0 && at[0].revents)
        admit(g);
    if (g->paho >= 0 && at[2].revents & (POLLIN | POLLHUP | POLLERR)) {
        int r = from_paho(g, sent);

        gate_durable(g, durable);
        if (r < 0)
            return hang_up(g, "the connection ended");
    }
    if (at[1].revents & (POLLIN | POLLHUP | POLLERR) && g->in.n == 0 &&
        take(g->broker, &g->in) < 0)
        return hang_up(g, "the broker ended the connection");
    gate_durable(g, durable);
    if (g->paho >= 0 && g->in.n && give(g->paho, &g->in, &g->in_at) < 0)
        return hang_up(g, "the connection ended");
    return GATE_QUIET;
}
