/*
 * health.c - what needs no token: liveness, readiness, metrics, and the links
 * at the root.
 */
#include "server/api/call.h"

static void on_healthz(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain; charset=utf-8", STR("ok\n"));
}

static void on_readyz(struct http_request *r, void *arg)
{
    const struct api *a = arg;
    const char *why = a->deps.not_ready(a->deps.arg);

    if (!why) {
        http_reply(r, 200, "text/plain; charset=utf-8", STR("ready\n"));
        return;
    }
    http_set_header(r, "Retry-After", "5");
    http_reply(r, 503, "text/plain; charset=utf-8",
               arena_printf(http_arena(r), "%s\n", why));
}

static void on_metrics(struct http_request *r, void *arg)
{
    struct api *a = arg;

    buf_clear(&a->scratch);
    a->deps.metrics(&a->scratch, a->deps.arg);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8",
               buf_view(&a->scratch));
}

static void on_root(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(
        r, 200, "application/json",
        STR("{\"name\":\"headend\",\"version\":\"" HEADEND_VERSION
            "\",\"links\":{\"meters\":\"/api/v1/meters\","
            "\"frames\":\"/api/v1/frames\","
            "\"ledger\":\"/api/v1/ledger\",\"gaps\":\"/api/v1/gaps\","
            "\"quarantine\":\"/api/v1/quarantine\",\"health\":\"/healthz\","
            "\"ready\":\"/readyz\",\"metrics\":\"/metrics\"}}\n"));
}

void health_routes(struct api *a)
{
    struct http *h = a->deps.http;

    http_route(h, "GET", "/", on_root, a);
    http_route(h, "GET", "/healthz", on_healthz, a);
    http_route(h, "GET", "/readyz", on_readyz, a);
    http_route(h, "GET", "/metrics", on_metrics, a);
}
