/*
 * conns.c - see conn.h. All connections: who is let in, who has to go, and the
 * end of a loop turn, when each that something happened to is settled (conn.c).
 */
#include "ingest/line.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

static void on_turn(uv_prepare_t *turn)
{
    struct conns *all = turn->data;
    struct conn *c;

    while ((c = all->dirty)) {
        all->dirty = c->next_dirty;
        c->dirty = false;
        conn_settle(c);
    }
    if (all->has_room) {
        all->has_room = false;
        all->room(all->room_arg);
    }
}

struct conns *conns_new(uv_loop_t *loop, const struct ingest_options *o,
                        void (*room)(void *arg), void *arg)
{
    struct conns *all = mem_alloc(sizeof *all);

    all->loop = loop;
    all->o = o;
    all->room = room;
    all->room_arg = arg;
    all->greeter = greeter_new(loop);
    uv_prepare_init(loop, &all->turn);
    all->turn.data = all;
    uv_prepare_start(&all->turn, on_turn);
    return all;
}

static void on_turn_closed(uv_handle_t *turn)
{
    struct conns *all = turn->data;
    void (*done)(void *arg) = all->done;
    void *arg = all->done_arg;

    free(all);
    done(arg);
}

void conns_free(struct conns *all, void (*done)(void *arg), void *arg)
{
    assert(!all->list);
    all->done = done;
    all->done_arg = arg;
    greeter_free(all->greeter);
    uv_close((uv_handle_t *)&all->turn, on_turn_closed);
}

/* The session cap: said once, then closed; not worth a session's memory. */
static void conn_refuse(struct conn *c, bool plain)
{
    static const char busy[] = "{\"t\":\"nak\",\"code\":\"busy\"}\n";
    static struct log_limit limit;
    uv_buf_t b = uv_buf_init((char *)busy, sizeof busy - 1);
    struct conns *all = c->all;
    int n = log_allowed(&limit);

    all->refused++;
    if (n)
        log_warning("session refused, too many",
                    "integration=%d sessions=%lld more=%d",
                    c->host->integration_id, (long long)all->open, n - 1);
    if (plain)
        uv_try_write((uv_stream_t *)&c->handle, &b, 1);
}

bool conns_have_room(struct conns *all)
{
    struct conn *idlest;

    if (greeter_open(all->greeter) < all->o->tcp_greetings)
        return true;
    idlest = greeter_idlest(all->greeter);
    if (idlest)
        conn_fail(idlest, "others want to greet, and it took longest");
    return idlest != NULL;
}

void conns_accept(struct conns *all, uv_stream_t *server,
                  const struct heo_host *host, struct tls_context *tls,
                  void (*gone)(void *arg), void *arg)
{
    struct conn *c = mem_alloc(sizeof *c);

    c->all = all;
    c->host = host;
    c->gone = gone;
    c->gone_arg = arg;
    c->due_us = INT64_MAX;
    c->handle.data = c;
    c->ticker = ticker_new(all->loop, conn_ticker, c);
    uv_tcp_init(all->loop, &c->handle);
    DL_APPEND(all->list, c);
    all->open++;
    if (uv_accept(server, (uv_stream_t *)&c->handle) < 0) {
        conn_close(c);
    } else if (all->open > all->o->tcp_sessions) {
        conn_refuse(c, !tls);
        conn_close(c);
    } else {
        all->total++;
        conn_start(c, tls);
    }
}

void conns_end(struct conns *all, const struct heo_host *host)
{
    struct conn *c;

    for (c = all->list; c; c = c->next)
        if (c->host == host && c->greeting) {
            conn_close(c);
        } else if (c->host == host && c->state == OPEN) {
            heo_session_end(c->session, NULL);
            conn_mark(c);
        }
}

void conns_close(struct conns *all)
{
    struct conn *c;

    for (c = all->list; c; c = c->next)
        conn_close(c);
}

void conns_stats(const struct conns *all, struct ingest_stats *s)
{
    s->sessions += all->open;
    s->sessions_total += all->total;
    s->sessions_refused += all->refused;
    s->greetings += greeter_open(all->greeter);
    s->greetings_failed += all->greetings_failed;
    s->sessions_secured += all->secured;
}

/* The connection in which that meter has a session, or NULL. */
static struct conn *conn_of(struct conns *all, int32_t tenant, int32_t meter)
{
    uint64_t key = (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
    struct conn *c;

    HASH_FIND(hh, all->by_meter, &key, sizeof key, c);
    return c && c->session ? c : NULL;
}

int conns_set_clock(struct conns *all, int32_t tenant, int32_t meter,
                    const char *id, int64_t shift_us)
{
    struct conn *c = conn_of(all, tenant, meter);
    int r = c ? heo_session_set_clock(c->session, id, shift_us) : ERR_AWAY;

    if (r == 0)
        conn_mark(c);
    return r;
}

int conns_set_slot(struct conns *all, int32_t tenant, int32_t meter,
                   int32_t at_s, int32_t window_s)
{
    struct conn *c = conn_of(all, tenant, meter);
    int r = c ? heo_session_set_slot(c->session, at_s, window_s) : ERR_AWAY;

    if (r == 0)
        conn_mark(c);
    return r;
}

int conns_command(struct conns *all, int32_t tenant, int32_t meter,
                  struct str line)
{
    struct conn *c = conn_of(all, tenant, meter);
    int r = c ? heo_session_command(c->session, line) : ERR_AWAY;

    if (r == 0)
        conn_mark(c);
    return r;
}

void conns_no_command(struct conns *all, int32_t tenant, int32_t meter)
{
    struct conn *c = conn_of(all, tenant, meter);

    if (!c)
        return;
    heo_session_no_command(c->session);
    conn_mark(c);
}

bool conns_listens(struct conns *all, int32_t tenant, int32_t meter)
{
    struct conn *c = conn_of(all, tenant, meter);

    return c && heo_session_listens(c->session);
}
