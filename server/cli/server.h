/*
 * server.h - inside of the room: the running server, shared by what opens it
 * (serve_open.c), what its rooms tell it (serve_run.c), what ends it
 * (serve_stop.c) and the command (serve.c). Loop thread only.
 */
#pragma once

#include "ingest/admit.h"
#include "ingest/ingest.h"
#include "server/api/api.h"
#include "server/cli/boot.h"
#include "server/cli/cli.h"
#include "server/cli/metrics.h"
#include "server/cli/secrets.h"
#include "server/clocks/keeper.h"
#include "server/clocks/own.h"
#include "server/clocks/slotting.h"
#include "server/deliver/deliver.h"
#include "server/downlink/queue.h"
#include "server/loop/loop.h"
#include "server/loop/pulse.h"
#include "server/pipeline/examine.h"
#include "server/pipeline/feed.h"
#include "server/pipeline/pipeline.h"
#include "server/pipeline/progress.h"
#include "server/pipeline/reconcile.h"
#include "server/pipeline/strangers.h"
#include "server/pipeline/tenant_codec.h"
#include "server/report/reports.h"
#include "server/store/watch.h"

struct server {
    const struct settings *s;
    uv_loop_t loop;
    uv_signal_t signals[3]; /* the last one: read certificates anew */
    char program[4096];
    struct journal *journal;
    struct directory *directory;
    struct vault *vault;
    struct scripts *scripts;
    struct pg_pool *pool;
    struct store_watch *watch;
    struct feed *feed;
    struct boot *boot;
    struct ledger *books;
    struct pipeline *pipeline;
    struct progress *progress;
    struct strangers *strangers;
    struct ingest *ingest;
    struct deliver *deliver;
    struct reports *reports;
    struct clock_book *clocks;
    struct keeper *keeper;
    struct slotting *slotting;
    struct command_queue *commands;
    struct own_watch *own; /* our own clock */
    struct http *http;
    struct api *api;
    struct ticker *maintain, *stop_limit;
    struct pulse *pulse;
    int16_t codec_ids[STAGE_CODECS];
    bool booted, fed, serving, stopping, reconciled;
    char window[32];
    struct oidc_options oidc;
    char redirect_uri[400];
    struct ingest_options
        ingest_options; /* the rooms of ingest keep a pointer */
};

/* serve_open.c: 0, or 1 after telling why. */
int server_open_journal(struct server *v);
int server_open_vault(struct server *v);
int server_open_oidc(struct server *v);
int server_open_http(struct server *v);
int server_open_ingest(struct server *v);
int server_open_clock(struct server *v);
void server_open_database(struct server *v);

/* serve_run.c: `arg` is the server. */
void server_on_metrics(struct buf *out, void *arg);
int64_t server_on_pending(int32_t tenant_id, void *arg);
void server_on_examine(struct str record, struct str codec, struct arena *a,
                       struct api_examined *ret, void *arg);
int server_on_replay(const struct api_replay *r, void *arg);
int server_on_prove(int32_t tenant_id, struct str script, struct str mapping,
                    struct str vectors, struct arena *a, struct str *why,
                    void *arg);
const char *server_not_ready(void *arg);
void server_on_maintain(void *arg);
void server_on_changed(void *arg);
void server_on_loaded(void *arg);
void server_on_booted(void *arg);
void server_on_counted(void *arg);
void server_on_contact(void *arg, const struct clock_contact *c);
void server_on_heard(void *arg, const struct clock_contact *c, bool joined);
void server_on_clocks_loaded(void *arg);
bool server_ours_unsure(void *arg);
int server_send_downlink(void *arg, const struct clock_contact *c,
                         const struct clock_answer *a, int64_t correction_id);
int server_send_clock(void *arg, int32_t tenant, int32_t meter,
                      int64_t correction_id, int64_t shift_us);
int server_send_slot(void *arg, int32_t tenant, int32_t meter, int32_t at_s,
                     int32_t window_s);
void server_on_stored(void *arg);

/* serve_stop.c */
void server_on_stop_limit(void *arg);
void server_on_signal(uv_signal_t *h, int number);
