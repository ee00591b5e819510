/* row.c - see row.h. */
#include "server/clocks/row.h"
#include "schema/event.h"
#include "server/base/hex.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/clocks/model_bytes.h"
#include "timesvc/zone.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- reading ---- */

int64_t row_number(const PGresult *res, int row, int column, int64_t none)
{
    return PQgetisnull(res, row, column)
               ? none
               : strtoll(PQgetvalue(res, row, column), NULL, 10);
}

/* PostgreSQL's hex form of bytea: \x.... */
void row_model(const PGresult *res, int row, int column, struct clock_model *m)
{
    static struct log_limit told;
    const char *text = PQgetvalue(res, row, column);
    uint8_t bytes[2048];
    int n = *text ? hex_decode(str_of(text + 2), bytes, sizeof bytes) : 0;
    int r = n < 0 ? n : model_read((struct str){(char *)bytes, (size_t)n}, m);

    if (r < 0) {
        clock_init(m);
        if (log_allowed(&told))
            log_warning("clock model not readable, begins anew", "err=%s",
                        err_name(r));
    }
}

static void read_policy(const PGresult *res, int row, struct clock_policy *p)
{
    const char *owner = PQgetvalue(res, row, 5);

    *p = (struct clock_policy){
        .owner = strcmp(owner, "server") == 0   ? OWNER_SERVER
                 : strcmp(owner, "device") == 0 ? OWNER_DEVICE
                                                : OWNER_NOBODY,
        .accepted_us = row_number(res, row, 6, 60) * US_PER_S,
        .step_us = row_number(res, row, 7, 900) * US_PER_S,
        .approve_us = row_number(res, row, 8, 1800) * US_PER_S,
        .per_day = (uint32_t)row_number(res, row, 9, 4),
        .guard_us = row_number(res, row, 10, 30) * US_PER_S,
        .day_guard_us = row_number(res, row, 11, 120) * US_PER_S,
        .patience_us = row_number(res, row, 12, 172800) * US_PER_S,
        .interval_us = row_number(res, row, 13, 0) * US_PER_S,
        .slew_ppm = (double)row_number(res, row, 14, 0)};
}

static void read_samples(struct arena *arena, const char *text,
                         struct clock_row *r)
{
    struct json *root;
    struct json_error error;

    arena_reset(arena);
    if (json_parse(arena, str_of(text), (struct json_limits){0}, &root,
                   &error) < 0)
        return;
    json_each (item, root) {
        struct clock_heard *h = &r->samples[r->n];
        int64_t received = 0;
        if (r->n < JUDGE_SAMPLES && json_int(json_at(item, 0), &h->heard_us) &&
            json_int(json_at(item, 1), &h->meter_us) &&
            json_int(json_at(item, 2), &received)) {
            h->network_time = h->heard_us != received;
            r->n++;
        }
    }
}

/* No slot, or no way to tell it: nothing is followed. */
static void read_slot(const PGresult *res, int row, struct clock_row *r)
{
    r->slot_way = slot_way_named(str_of(PQgetvalue(res, row, 27)));
    r->slot =
        (struct slot_hand){.at_s = (int32_t)row_number(res, row, 28, 0),
                           .told = (uint32_t)row_number(res, row, 30, 0),
                           .told_us = row_number(res, row, 31, TIME_NONE),
                           .kept_us = row_number(res, row, 32, TIME_NONE)};
    if (r->slot_way != SLOT_WAY_NONE && !PQgetisnull(res, row, 28))
        r->slot.window_min = (uint32_t)row_number(res, row, 29, 0);
}

void row_read(const PGresult *res, int row, struct arena *arena,
              struct clock_row *r)
{
    const char *state = PQgetvalue(res, row, 24);

    *r = (struct clock_row){.tenant_id = (int32_t)row_number(res, row, 0, 0),
                            .meter_id = (int32_t)row_number(res, row, 1, 0),
                            .version = row_number(res, row, 2, 0),
                            .zone = zone_find(str_of(PQgetvalue(res, row, 4))),
                            .period_want = (int)row_number(res, row, 15, -1),
                            .package = (int)row_number(res, row, 16, 0),
                            .period = (int)row_number(res, row, 17, -2),
                            .token = (int)row_number(res, row, 18, -1),
                            .answered_us = row_number(res, row, 19, TIME_NONE),
                            .resync_us = row_number(res, row, 20, TIME_NONE),
                            .waiting_us = row_number(res, row, 21, TIME_NONE),
                            .today = (uint32_t)row_number(res, row, 22, 0),
                            .open_id = row_number(res, row, 23, 0),
                            .open_sent = strcmp(state, "sent") == 0,
                            .open_approved = strcmp(state, "approved") == 0};
    r->elvaco = strcmp(PQgetvalue(res, row, 33), "elvaco") == 0;
    row_model(res, row, 3, &r->model);
    read_policy(res, row, &r->policy);
    read_slot(res, row, r);
    read_samples(arena, PQgetvalue(res, row, 26), r);
}

/* ---- writing ---- */

static void put_number(struct buf *b, const char *name, int64_t v)
{
    if (v != TIME_NONE)
        buf_printf(b, ",\"%s\":%" PRId64, name, v);
}

static void put_correction(struct buf *b, const struct clock_row *r,
                           const struct clock_outcome *o)
{
    static const char *const states[] = {"", "verified", "failed"};

    if (o->settled != SETTLED_NOT)
        buf_printf(b,
                   ",\"settle\":{\"id\":%" PRId64
                   ",\"state\":\"%s\",\"after\":%" PRId64 "}",
                   r->open_id, states[o->settled], o->error.offset_us);
    if (o->keep)
        buf_printf(b,
                   ",\"correction\":{\"state\":\"%s\",\"by\":%" PRId64
                   ",\"before\":%" PRId64
                   ",\"crosses\":%s,\"way\":\"%s\",\"reason\":\"%s\"}",
                   o->sent ? "sent" : "approval", o->decision.by_us,
                   o->error.offset_us,
                   o->decision.crosses_edge ? "true" : "false",
                   clock_way_name(o->way), o->decision.reason);
    if (o->keep && o->reuse)
        buf_printf(b, ",\"reuse\":%" PRId64, r->open_id);
    if (o->event.code)
        buf_printf(b,
                   ",\"event\":{\"code\":\"%s\",\"state\":%d,\"at\":%" PRId64
                   ",\"detail\":\"%s\",\"severity\":%d}",
                   o->event.code, o->event.state, r->model.last_us,
                   o->event.detail,
                   (int)(event_type(str_of(o->event.code))
                             ? event_type(str_of(o->event.code))->severity
                             : SEVERITY_WARNING));
}

void row_write(const struct clock_row *r, const struct clock_outcome *o,
               struct buf *b)
{
    struct buf model = {0};
    char hex[4096];

    model_write(&r->model, &model);
    hex_encode(model.p, model.n, hex);
    buf_done(&model);
    buf_printf(b,
               "%s{\"tenant\":%d,\"meter\":%d,\"version\":%" PRId64
               ",\"model\":\"%s\",\"state\":\"%s\",\"package\":%d",
               b->n > 1 ? "," : "", r->tenant_id, r->meter_id, r->version, hex,
               clock_state_name(o->state), r->package);
    if (o->error.known)
        buf_printf(b, ",\"offset\":%" PRId64 ",\"uncertainty\":%" PRId64,
                   o->error.offset_us, o->error.uncertainty_us);
    if (r->model.fitted)
        buf_printf(b, ",\"drift\":%.3f", r->model.drift_ppm);
    put_number(b, "offset_at", r->model.at_us);
    put_number(b, "last", r->model.last_us);
    put_number(b, "waiting", r->waiting_us);
    put_number(b, "answered", r->answered_us);
    put_number(b, "resync", r->resync_us);
    put_number(b, "period", r->period == -2 ? TIME_NONE : r->period);
    put_number(b, "token", r->token < 0 ? TIME_NONE : r->token);
    if (o->jump != JUMP_NONE)
        buf_printf(b, ",\"jump\":\"%s\",\"jump_at\":%" PRId64,
                   clock_jump_name(o->jump), r->model.last_us);
    if (o->decision.reason)
        buf_printf(b, ",\"verdict\":\"%s\",\"reason\":\"%s\"",
                   correction_verdict_name(o->decision.verdict),
                   o->decision.reason);
    if (o->slot == SLOT_KEPT)
        put_number(b, "kept", r->slot.kept_us);
    put_correction(b, r, o);
    buf_u8(b, '}');
}
