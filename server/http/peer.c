/*
 * peer.c - who asks: the other end of the connection; or, if that is a trusted
 * proxy, whom it says it speaks for. Of X-Forwarded-For each proxy in turn has
 * added at the end, so it is read from there, and the first that no proxy of
 * ours is, is the client: what stands before that anybody may have made up.
 * The certificate of a client comes the same two ways.
 */
#include "server/http/request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

static const struct sockaddr *other_end(struct http_request *r)
{
    const union MHD_ConnectionInfo *info = NULL;

    if (r->connection)
        info = MHD_get_connection_info(r->connection,
                                       MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

static bool by_proxy(struct http_request *r)
{
    const struct sockaddr *a = other_end(r);

    return a && nets_has(http_proxies(r->http), a);
}

struct collect {
    const char *name;
    struct buf all;
};

/* A header that is sent several times is one list (RFC 9110, 5.3). */
static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind,
                                 const char *name, const char *value)
{
    struct collect *c = arg;

    (void)kind;
    if (value && strcasecmp(name, c->name) == 0)
        buf_printf(&c->all, "%s%s", c->all.n ? "," : "", value);
    return MHD_YES;
}

static struct str collected(struct http_request *r, const char *name)
{
    struct collect c = {.name = name};
    struct str all;

    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_header, &c);
    all = arena_str(r->arena, buf_view(&c.all));
    buf_done(&c.all);
    return all;
}

/* Takes the last element off a list. */
static struct str last_of(struct str *list)
{
    const char *comma = list->n ? memrchr(list->p, ',', list->n) : NULL;
    size_t at = comma ? (size_t)(comma - list->p) + 1 : 0;
    struct str last = {list->p + at, list->n - at};

    list->n = comma ? at - 1 : 0;
    return str_trim(last);
}

static bool is_address(struct str s)
{
    static struct nets everybody;

    if (everybody.n == 0)
        nets_parse(STR("::/0"), &everybody);
    return nets_has_text(&everybody, s);
}

/* Empty where the proxy said nothing that can be used. */
static struct str forwarded(struct http_request *r)
{
    struct str list = collected(r, "X-Forwarded-For"), found = {0}, one;

    while (list.n > 0 && (one = last_of(&list), is_address(one))) {
        found = one;
        if (!nets_has_text(http_proxies(r->http), one))
            break;
    }
    return found;
}

struct str http_peer(struct http_request *r)
{
    const struct sockaddr *a = other_end(r);
    char name[INET6_ADDRSTRLEN] = "";
    struct str s = {0};
    int port = 0;

    if (!a)
        return s;
    if (by_proxy(r))
        s = forwarded(r);
    if (s.n == 0) { /* the port lies at the same place in both families */
        uv_ip_name(a, name, sizeof name);
        port = ntohs(((const struct sockaddr_in *)a)->sin_port);
        s = str_of(name);
    }
    return arena_printf(r->arena,
                        memchr(s.p, ':', s.n) ? "[%.*s]:%d" : "%.*s:%d",
                        STR_ARGS(s), port);
}

bool http_secure(struct http_request *r)
{
    struct str list;

    if (http_is_tls(r->http))
        return true;
    if (!r->connection || !by_proxy(r))
        return false;
    list = collected(r, "X-Forwarded-Proto");
    return str_is(last_of(&list), "https");
}

void http_client(struct http_request *r, struct tls_client *ret)
{
    struct str told = {0};

    *ret = (struct tls_client){0};
    if (!r->connection)
        return;
    if (!by_proxy(r))
        *ret = *http_tls_client(r->http, r->connection);
    else if (*http_client_header(r->http))
        told = collected(r, http_client_header(r->http));
    if (told.n && tls_client_told(told, ret) < 0)
        *ret = (struct tls_client){0};
}
