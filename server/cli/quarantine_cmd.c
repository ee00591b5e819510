/*
 * quarantine_cmd.c - headend quarantine list | show: what could not become
 * readings, and why. Replaying it is `headend replay`.
 */
#include "server/base/buf.h"
#include "server/base/hex.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "server/pipeline/examine.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg quarantine_list_args[] = {
    {"tenant", "NAME", true,
     "whose frames; platform: those that no tenant could be named for"},
    {"reason", "REASON", false, "those quarantined for this reason"},
    {"serial", "SERIAL", false, "those of the meter with this serial"},
    {"codec", "CODEC", false, "those of meters whose model names this codec"},
    {"from", "TIME", false, "those that arrived from this time on"},
    {"to", "TIME", false, "those that arrived before"},
    {"limit", "N", false, "most frames listed (default 100)"},
    {"json", NULL, false, "print JSON"},
    {0}};

/* What `headend replay` takes, too. */
#define CHOSEN                                                                 \
    " FROM quarantine q LEFT JOIN meter m USING (tenant_id, meter_id)"         \
    " LEFT JOIN meter_model d USING (tenant_id, model_id)"                     \
    " WHERE ($1::text IS NULL OR q.reason = $1)"                               \
    " AND ($2::text IS NULL OR m.serial = $2)"                                 \
    " AND ($3::text IS NULL OR d.codec = $3)"                                  \
    " AND ($4::timestamptz IS NULL OR q.received_at >= $4::timestamptz)"       \
    " AND ($5::timestamptz IS NULL OR q.received_at < $5::timestamptz)"
enum { FILTERS = 5 };

static const char reasons_sql[] =
    "SELECT q.reason, count(*) AS frames" CHOSEN
    " GROUP BY q.reason ORDER BY frames DESC, q.reason";

static const char list_sql[] =
    "SELECT q.frame_id, q.received_at, q.reason, m.serial, q.detail" CHOSEN
    " ORDER BY q.received_at DESC, q.frame_id DESC LIMIT $6::bigint";

static const char one_sql[] =
    "SELECT t.name AS tenant, q.frame_id, q.received_at, m.serial AS meter,"
    " q.reason, q.detail, coalesce(f.codec, ''), q.record FROM quarantine q"
    " JOIN tenant t USING (tenant_id)"
    " LEFT JOIN meter m USING (tenant_id, meter_id)"
    " LEFT JOIN frame f USING (tenant_id, received_at, frame_id)"
    " WHERE q.frame_id = $1::bigint";

static void print_list(struct cli *c, const PGresult *reasons,
                       const PGresult *frames)
{
    if (cli_get(c, quarantine_list_args, "json")) {
        struct buf o = {0};
        buf_z(&o, "{");
        table_json_rows(&o, "reasons", reasons);
        buf_z(&o, ",");
        table_json_rows(&o, "quarantine", frames);
        buf_z(&o, "}\n");
        fwrite(o.p, 1, o.n, stdout);
        buf_done(&o);
        return;
    }
    table_print(reasons);
    if (PQntuples(frames)) {
        putchar('\n');
        table_print(frames);
    }
}

int cmd_quarantine_list(struct cli *c)
{
    const char *limit = cli_get(c, quarantine_list_args, "limit");
    const char *values[FILTERS + 1] = {
        cli_get(c, quarantine_list_args, "reason"),
        cli_get(c, quarantine_list_args, "serial"),
        cli_get(c, quarantine_list_args, "codec"),
        cli_get(c, quarantine_list_args, "from"),
        cli_get(c, quarantine_list_args, "to"),
        limit ? limit : "100"};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    PGresult *reasons = NULL, *frames = NULL;
    const char *tenant = cli_get(c, quarantine_list_args, "tenant");
    if (db_tenant_named(pq, tenant) >= 0)
        reasons = db_query(pq, reasons_sql, FILTERS, values);
    if (reasons)
        frames = db_query(pq, list_sql, FILTERS + 1, values);
    if (frames)
        print_list(c, reasons, frames);
    PQclear(reasons);
    PQclear(frames);
    PQfinish(pq);
    return frames ? 0 : 1;
}

/* ---- show ---- */

/* 16 bytes a line; the one where the codec stopped is marked. */
static void print_hex(struct str bytes, const struct examined *x)
{
    for (size_t at = 0; at < bytes.n; at += 16) {
        char hex[49] = "", text[17] = "";
        bool stop = x->error && x->offset >= at && x->offset < at + 16;

        for (size_t i = at; i < at + 16 && i < bytes.n; i++) {
            uint8_t byte = (uint8_t)bytes.p[i];
            char mark = x->error && i == x->offset ? '>' : ' ';
            snprintf(hex + 3 * (i - at), 4, "%c%02x", mark, byte);
            text[i - at] = isprint(byte) ? (char)byte : '.';
        }
        printf("  %06zx %-48s  %-16s%s\n", at, hex, text, stop ? "  <-" : "");
    }
}

static void print_examined(const struct examined *x)
{
    printf("  device         %.*s\n  peer           %.*s\n  topic          "
           "%.*s\n",
           STR_ARGS(x->device), STR_ARGS(x->frame.peer),
           STR_ARGS(x->frame.topic));
    if (x->codec)
        printf("  codec          %s v%u\n", x->codec->name, x->codec->version);
    if (x->codec && x->err == 0)
        puts("  today          decodes; `headend replay` stores it");
    if (x->error)
        printf("  stopped        at byte %u: %s\n", x->offset, x->error);
    if (x->decoded.n)
        printf("  decoded        %.*s\n", STR_ARGS(x->decoded));
    printf("payload: %zu bytes\n", x->payload.n);
    print_hex(x->payload, x);
}

static int show(const PGresult *r)
{
    struct examined x;
    const char *hex = PQgetvalue(r, 0, 7);
    size_t most = strlen(hex) / 2 + 1;
    struct arena *a = arena_new(64 << 20);
    uint8_t *record = arena_alloc(a, most);
    int n = hex_decode(str_of(hex + 2), record, most);
    struct str codec = str_of(PQgetvalue(r, 0, 6));

    for (int k = 0; k < 6; k++)
        if (!PQgetisnull(r, 0, k))
            printf("  %-14s %s\n", PQfname(r, k), PQgetvalue(r, 0, k));
    if (n > 0 &&
        examine((struct str){(char *)record, (size_t)n}, codec, a, &x) == 0)
        print_examined(&x);
    else if (n > 0)
        print_hex((struct str){(char *)record, (size_t)n},
                  &(struct examined){0});
    arena_free(a);
    return 0;
}

int cmd_quarantine_show(struct cli *c)
{
    char *end;
    const char *values[1] = {c->free[0]};
    int status = 1;

    if (strtoll(c->free[0], &end, 10) <= 0 || *end)
        return cli_fail("%s: a frame id is a number, as `headend quarantine"
                        " list` shows",
                        c->free[0]);
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    PGresult *r = db_all(pq) == 0 ? db_query(pq, one_sql, 1, values) : NULL;
    if (r && PQntuples(r))
        status = show(r);
    else if (r)
        cli_fail("frame %s is not in quarantine; `headend trace %s` tells what"
                 " became of it",
                 c->free[0], c->free[0]);
    PQclear(r);
    PQfinish(pq);
    return status;
}
