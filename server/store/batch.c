/*
 * batch.c - builds a batch: frames and captures as binary COPY streams for the
 * temporary tables of writer.c, profiles and events as JSON.
 */
#include "server/store/batch.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/store/batch_rows.h"
#include "server/store/copy.h"
#include <stdlib.h>

void profiles_clear(struct profile_known **set)
{
    struct profile_known *p, *next;
    HASH_ITER (hh, *set, p, next) {
        HASH_DEL(*set, p);
        free(p->json);
        free(p);
    }
}

struct profile_known *profile_find(struct profile_known *set,
                                   const struct profile_key *key)
{
    struct profile_known *p;
    HASH_FIND(hh, set, key, sizeof *key, p);
    return p;
}

struct profile_known *profile_put(struct profile_known **set,
                                  const struct profile_key *key)
{
    struct profile_known *p = mem_alloc(sizeof *p);
    p->key = *key;
    HASH_ADD(hh, *set, key, sizeof p->key, p);
    return p;
}

struct store_batch *store_batch_new(void)
{
    struct store_batch *b = mem_alloc(sizeof *b);
    store_batch_reset(b);
    return b;
}

void store_batch_reset(struct store_batch *b)
{
    buf_clear(&b->frames);
    buf_clear(&b->captures);
    buf_clear(&b->events);
    buf_clear(&b->notes);
    buf_clear(&b->more_tenants);
    b->n_rows = b->n_frames = b->n_tenants = 0;
    b->wide = false;
    profiles_clear(&b->profiles);
    runs_clear(b);
    copy_header(&b->frames);
    copy_header(&b->captures);
    buf_z(&b->events, "[");
}

void store_batch_free(struct store_batch *b)
{
    if (!b)
        return;
    profiles_clear(&b->profiles);
    runs_clear(b);
    buf_done(&b->frames);
    buf_done(&b->captures);
    buf_done(&b->events);
    buf_done(&b->notes);
    buf_done(&b->more_tenants);
    free(b->rows);
    free(b);
}

uint32_t store_batch_frames(const struct store_batch *b)
{
    return b->n_frames;
}

void store_batch_tenant(struct store_batch *b, int32_t tenant)
{
    for (uint32_t i = 0; i < b->n_tenants; i++)
        if (b->tenants[i] == tenant)
            return;
    if (b->n_tenants < sizeof b->tenants / sizeof b->tenants[0])
        b->tenants[b->n_tenants++] = tenant;
    else /* rare; a repeated number does no harm */
        buf_printf(&b->more_tenants, ",%d", tenant);
}

static void opt_int4(struct buf *b, bool there, int32_t v)
{
    if (there)
        copy_int4(b, v);
    else
        copy_null(b);
}

static void opt_int8(struct buf *b, bool there, int64_t v)
{
    if (there)
        copy_int8(b, v);
    else
        copy_null(b);
}

static void opt_int2(struct buf *b, bool there, int v)
{
    if (there)
        copy_int2(b, (int16_t)v);
    else
        copy_null(b);
}

/* Bytes of a row as it is copied, which is not shorter than as it is stored,
 * but for jsonb: a digit and its comma become a number of 12 bytes. */
enum { PAGE_HOLDS = 7500, JSONB_GROWS = 6 };

/* The order of columns of stage_frame, see `staging` in writer.c. */
void store_batch_frame(struct store_batch *b, const struct staged_frame *r)
{
    struct buf *o = &b->frames;
    const struct frame *f = r->frame;
    const size_t begin = o->n;
    bool heard = r->rssi_dbm != 0 || r->snr_tenths != 0;

    b->last = *r;
    b->n_frames++;
    store_batch_tenant(b, f->tenant_id);
    copy_row(o, 29);
    copy_time(o, f->received_us);
    copy_time(o, r->heard_us);
    copy_int8(o, f->id);
    opt_int8(o, r->counter >= 0, r->counter);
    opt_int8(o, r->gateway != 0, (int64_t)r->gateway);
    copy_int4(o, f->tenant_id);
    opt_int4(o, f->integration_id != 0, f->integration_id);
    opt_int4(o, r->meter_id != 0, r->meter_id);
    opt_int4(o, r->port >= 0, r->port);
    copy_int4(o, (int32_t)f->size);
    copy_int4(o, (int32_t)f->count);
    opt_int4(o, r->codec != NULL, (int32_t)r->codec_version);
    opt_int2(o, heard, r->rssi_dbm);
    opt_int2(o, heard, r->snr_tenths);
    copy_int2(o, (int16_t)f->source);
    copy_int2(o, (int16_t)r->fate);
    if (r->has_key)
        copy_uuid(o, r->key);
    else
        copy_null(o);
    copy_time(o, r->clock_us);
    copy_null(o); /* duplicate_of */
    copy_int8(o, r->session);
    run_put(b, r);
    copy_text(o, str_of(r->codec));
    copy_text(o, f->peer);
    copy_text(o, str_of(r->reason));
    copy_text(o, r->detail);
    copy_jsonb(o, r->extras);
    copy_bytes(o, r->payload);
    if (r->fate == FATE_QUARANTINED || r->may_be_refused) {
        struct buf record = {0};
        frame_encode(f, &record);
        copy_bytes(o, buf_view(&record));
        buf_done(&record);
    } else {
        copy_null(o);
    }
    b->wide |= o->n - begin + JSONB_GROWS * r->extras.n > PAGE_HOLDS;
}

static void profile_json(struct buf *o, int32_t tenant, const struct profile *p)
{
    char obis[OBIS_TEXT];

    buf_printf(o, "{\"tenant_id\":%d,\"profile_id\":%lld,\"obis\":[", tenant,
               (long long)p->id);
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "",
                   obis_text(p->objects[i].obis, obis));
    buf_z(o, "],\"unit\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "", unit_name(p->objects[i].unit));
    buf_z(o, "],\"kind\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "", kind_name(p->objects[i].kind));
    buf_z(o, "],\"exp10\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s%d", i ? "," : "", p->objects[i].exp10);
    buf_z(o, "]}");
}

void store_batch_capture(struct store_batch *b, const struct capture *c)
{
    const struct staged_frame *f = &b->last;
    struct profile_key key = {c->profile->id, f->frame->tenant_id};

    if (b->n_rows == b->cap_rows) {
        b->cap_rows = b->cap_rows ? 2 * b->cap_rows : 256;
        b->rows = mem_grow(b->rows, b->cap_rows, sizeof *b->rows);
    }
    b->rows[b->n_rows++] = (struct capture_row){c,
                                                f->frame->id,
                                                f->frame->received_us,
                                                f->frame->tenant_id,
                                                f->meter_id,
                                                f->codec_version_id};
    if (profile_find(b->profiles, &key))
        return;
    struct buf json = {0};
    profile_json(&json, f->frame->tenant_id, c->profile);
    buf_u8(&json, 0);
    profile_put(&b->profiles, &key)->json = (char *)json.p;
}

static void us_member(struct buf *o, const char *name, int64_t us)
{
    if (us != TIME_NONE)
        buf_printf(o, ",\"%s\":%lld", name, (long long)us);
}

void json_text(struct buf *o, struct str s)
{
    size_t at = o->n;
    buf_json_str(o, s);
    for (uint8_t *p; (p = memmem(o->p + at, o->n - at, "\\u0000", 6));)
        memcpy(p, "\\ufffd", 6);
}

void store_batch_event(struct store_batch *b, const struct staged_event *e)
{
    struct buf *o = &b->events;
    const struct frame *f = b->last.frame;

    buf_printf(o,
               "%s{\"tenant_id\":%d,\"meter_id\":%d,\"frame_id\":%lld,"
               "\"severity\":%d,\"state\":%d",
               o->n > 1 ? "," : "", f->tenant_id, b->last.meter_id,
               (long long)f->id, e->severity, e->state);
    us_member(o, "time", e->time_us);
    us_member(o, "meter_time", e->meter_time_us);
    us_member(o, "received_at", f->received_us);
    buf_z(o, ",\"code\":");
    json_text(o, e->code);
    if (e->detail.n) {
        buf_z(o, ",\"detail\":");
        json_text(o, e->detail);
    }
    buf_z(o, "}");
}

static int by_key(const void *pa, const void *pb)
{
    const struct capture_row *a = pa, *b = pb;
#define ORDER(x, y)                                                            \
    if ((x) != (y))                                                            \
    return (x) < (y) ? -1 : 1
    ORDER(a->tenant_id, b->tenant_id);
    ORDER(a->meter_id, b->meter_id);
    ORDER(a->capture->time_us, b->capture->time_us);
    ORDER(a->capture->profile->id, b->capture->profile->id);
    ORDER(a->frame_id, b->frame_id);
#undef ORDER
    return 0;
}

/* The order of columns of stage_capture. */
static void put_capture(struct store_batch *b, const struct capture_row *r)
{
    struct buf *o = &b->captures;
    const struct capture *c = r->capture;
    const size_t begin = o->n;

    copy_row(o, 12);
    copy_time(o, c->time_us);
    copy_time(o, r->received_us);
    copy_time(o, c->meter_time_us);
    copy_int8(o, r->frame_id);
    copy_int8(o, c->profile->id);
    copy_int4(o, r->tenant_id);
    copy_int4(o, r->meter_id);
    copy_int4(o, (int32_t)c->quality);
    copy_int4(o, (int32_t)c->uncertainty_ms);
    copy_int2(o, r->codec_version_id);
    copy_int8_array(o, c->values, c->profile->n);
    if (c->value_quality)
        copy_int4_array(o, c->value_quality, c->profile->n);
    else
        copy_null(o);
    b->wide |= o->n - begin > PAGE_HOLDS;
}

void store_batch_seal(struct store_batch *b)
{
    if (b->n_rows)
        qsort(b->rows, b->n_rows, sizeof *b->rows, by_key);
    for (uint32_t i = 0; i < b->n_rows; i++)
        put_capture(b, &b->rows[i]);
    b->n_rows = 0;
    copy_trailer(&b->frames);
    copy_trailer(&b->captures);
    buf_z(&b->events, "]");
    if (b->notes.n)
        buf_z(&b->notes, "]");
}
