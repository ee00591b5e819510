/*
 * meter_cmd.c - headend meter add | import | list.
 */
#include "server/base/csv.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "server/store/meter.h"
#include <stdio.h>

const struct cli_arg meter_add_args[] = {
    {"tenant", "NAME", true, "whose meter"},
    {"serial", "SERIAL", false, "serial number as on the label"},
    {"model", "MODEL", false,
     "a model of the tenant, e.g. elvaco-cmi4160; else its passport's"},
    {"dev-eui", "EUI", false,
     "LoRaWAN DevEUI, 16 hex digits; else its passport's"},
    {"timezone", "ZONE", false, "IANA zone of its clock (the tenant's)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg meter_import_args[] = {
    {"tenant", "NAME", true, "whose meters"},
    {"model", "MODEL", false, "of rows that name none"},
    {0}};
const struct cli_arg meter_list_args[] = {
    {"tenant", "NAME", true, "whose meters"},
    {"json", NULL, false, "print JSON"},
    {0}};

/* ---- registering: meters_take() of migrations/ says what became of each ----
 */

enum { ROW_LINE, ROW_SERIAL, ROW_RESULT, ROW_METER, ROW_FIELD, ROW_DETAIL };
static const char take_sql[] =
    "SELECT line, serial, result, meter_id, field, detail"
    " FROM meters_take($1, $2, $3, false)";

static bool is_result(const PGresult *r, int row, const char *result)
{
    return strcmp(PQgetvalue(r, row, ROW_RESULT), result) == 0;
}

static void put_option(struct buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(b, "%s\"%s\":", b->n ? "," : "[{", name);
    buf_json_str(b, str_of(value));
}

static PGresult *added_meter(PGconn *pq, const PGresult *r)
{
    const char *values[2] = {PQgetvalue(r, 0, ROW_METER),
                             is_result(r, 0, "added") ? "true" : "false"};

    return db_query(pq,
                    "SELECT meter_id, serial, dev_eui, timezone,"
                    " $2::boolean AS added FROM meter WHERE meter_id = $1",
                    2, values);
}

int cmd_meter_add(struct cli *c)
{
    const struct cli_arg *a = meter_add_args;
    struct buf row = {0};
    char id[16];
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;
    int32_t tenant = pq ? db_tenant_named(pq, cli_get(c, a, "tenant")) : -1;
    int status = 1;

    snprintf(id, sizeof id, "%d", tenant);
    put_option(&row, "serial", cli_get(c, a, "serial"));
    put_option(&row, "model", cli_get(c, a, "model"));
    put_option(&row, "dev_eui", cli_get(c, a, "dev-eui"));
    put_option(&row, "timezone", cli_get(c, a, "timezone"));
    buf_z(&row, row.n ? "}]" : "[{}]");
    buf_u8(&row, 0);
    if (tenant >= 0)
        r = db_query(pq, take_sql, 3,
                     (const char *const[]){id, (char *)row.p, NULL});
    if (r && is_result(r, 0, "refused"))
        cli_fail("%s: %s", PQgetvalue(r, 0, ROW_FIELD),
                 PQgetvalue(r, 0, ROW_DETAIL));
    else if (r)
        status = 0;
    if (status == 0 && cli_get(c, a, "json")) {
        PGresult *meter = added_meter(pq, r);
        if (meter)
            table_json(meter, "meters");
        status = meter ? 0 : 1;
        PQclear(meter);
    } else if (status == 0) {
        printf("meter %s %s id %s\n", PQgetvalue(r, 0, ROW_SERIAL),
               is_result(r, 0, "added") ? "has" : "was there already with",
               PQgetvalue(r, 0, ROW_METER));
    }
    PQclear(r);
    PQfinish(pq);
    buf_done(&row);
    return status;
}

/* ---- CSV: all rows or none, in pieces ---- */

enum { PIECE = 5000, ROW_ERRORS = 20 };

struct import {
    PGconn *pq;
    char tenant[16];
    const char *model;
    int added, there, refused;
};

static int import_piece(struct import *m, struct buf *rows)
{
    rows->n--; /* the last comma */
    buf_z(rows, "]");
    buf_u8(rows, 0);
    PGresult *r =
        db_query(m->pq, take_sql, 3,
                 (const char *const[]){m->tenant, (char *)rows->p, m->model});
    int status = r ? 0 : 1;

    for (int i = 0; r && i < PQntuples(r); i++) {
        m->added += is_result(r, i, "added");
        m->there += is_result(r, i, "unchanged");
        if (is_result(r, i, "refused") && m->refused++ < ROW_ERRORS)
            cli_fail("line %s: %s%s%s", PQgetvalue(r, i, ROW_LINE),
                     PQgetvalue(r, i, ROW_FIELD),
                     PQgetisnull(r, i, ROW_FIELD) ? "" : ": ",
                     PQgetvalue(r, i, ROW_DETAIL));
    }
    PQclear(r);
    buf_clear(rows);
    buf_z(rows, "[");
    return status;
}

static int import_text(struct import *m, char *text)
{
    char error[CSV_ERROR];
    struct csv_file f;
    struct buf rows = {0};
    int n = 0, status = 0;

    if (csv_begin(&f, text, meter_columns, METER_COLUMNS, error) < 0)
        return cli_fail("line 1: %s", error);
    for (buf_z(&rows, "["); status == 0 && csv_row(&f, &rows);) {
        buf_u8(&rows, ',');
        if (++n % PIECE == 0)
            status = import_piece(m, &rows);
        if (n % 50000 == 0)
            fprintf(stderr, "%d meters ...\n", n);
    }
    if (status == 0 && n % PIECE)
        status = import_piece(m, &rows);
    buf_done(&rows);
    return status || m->refused;
}

static int import(struct import *m, char *text)
{
    PQclear(db_query(m->pq, "BEGIN", 0, NULL));
    int status = import_text(m, text);
    PGresult *r = db_query(m->pq, status == 0 ? "COMMIT" : "ROLLBACK", 0, NULL);

    if (m->refused > ROW_ERRORS)
        cli_fail("... and %d rows more", m->refused - ROW_ERRORS);
    if (status == 0 && r)
        printf("%d meters registered, %d were there already\n", m->added,
               m->there);
    else
        cli_fail("nothing was registered");
    PQclear(r);
    return r ? status : 1;
}

int cmd_meter_import(struct cli *c)
{
    const struct cli_arg *a = meter_import_args;
    struct import m = {.model = cli_get(c, a, "model")};
    struct buf text = {0};

    if (cli_read(c->free[0], &text) != 0)
        return 1;
    m.pq = db_open(c, DB_SERVER);
    int32_t tenant = m.pq ? db_tenant_named(m.pq, cli_get(c, a, "tenant")) : -1;
    snprintf(m.tenant, sizeof m.tenant, "%d", tenant);
    int status = tenant < 0 ? 1 : import(&m, (char *)text.p);
    PQfinish(m.pq);
    buf_done(&text);
    return status;
}

int cmd_meter_list(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;
    if (pq && db_tenant_named(pq, cli_get(c, meter_list_args, "tenant")) >= 0)
        r = db_query(pq,
                     "SELECT m.meter_id, m.serial, d.name AS model,"
                     " m.dev_eui, m.timezone, m.state FROM meter m"
                     " JOIN meter_model d USING (tenant_id, model_id)"
                     " ORDER BY m.meter_id",
                     0, NULL);
    if (r && cli_get(c, meter_list_args, "json"))
        table_json(r, "meters");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}
