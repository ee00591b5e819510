/*
 * passport_cmd.c - headend passport import | list | show: what makers say of
 * serial numbers. Rows as the API takes them (vault/passport_rows).
 */
#include "server/base/csv.h"
#include "server/base/err.h"
#include "server/cli/secrets.h"
#include "server/cli/table.h"
#include "server/vault/passport_rows.h"
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg passport_import_args[] = {
    {"tenant", "NAME", true, "whose passports"},
    {"dry-run", NULL, false, "say what would become of each row"},
    {0}};
const struct cli_arg passport_list_args[] = {
    {"tenant", "NAME", true, "whose passports"},
    {"search", "TEXT", false, "found in serial, DevEUI or the module's serial"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg passport_show_args[] = {
    {"tenant", "NAME", true, "whose passport"}, {0}};

struct import {
    PGconn *pq;
    struct vault *vault;
    int32_t tenant;
    char tenant_text[16];
    bool dry_run;
    int counts[4]; /* as in `words` */
};
static const char *const words[4] = {"added", "changed", "unchanged",
                                     "refused"};

/* ---- a piece of the file: looked at, sealed, stored ---- */

static int look(struct import *m, struct passport_rows *rows, const char *json)
{
    PGresult *r = db_query(m->pq, "SELECT * FROM passports_look($1, $2)", 2,
                           (const char *const[]){m->tenant_text, json});

    for (int i = 0; r && i < PQntuples(r); i++) {
        uint8_t bytes[SECRET_MAX + SEAL_EXTRA];
        int n = secrets_bytea(r, i, 5, bytes, sizeof bytes);
        passport_rows_looked(
            rows, m->vault, m->tenant,
            &(struct passport_looked){atoi(PQgetvalue(r, i, 0)),
                                      str_of(PQgetvalue(r, i, 1)),
                                      atoll(PQgetvalue(r, i, 2)),
                                      atoll(PQgetvalue(r, i, 3)),
                                      atoi(PQgetvalue(r, i, 4)),
                                      {(char *)bytes, n > 0 ? (size_t)n : 0}});
    }
    int status = r ? 0 : 1;
    PQclear(r);
    return status;
}

static void say(struct import *m, const PGresult *r)
{
    for (int i = 0; i < PQntuples(r); i++) {
        for (int k = 0; k < 4; k++)
            m->counts[k] += strcmp(PQgetvalue(r, i, 1), words[k]) == 0;
        if (!PQgetisnull(r, i, 3))
            printf("line %s: %s: %s%s%s\n", PQgetvalue(r, i, 0),
                   PQgetvalue(r, i, 1), PQgetvalue(r, i, 2),
                   *PQgetvalue(r, i, 2) ? ": " : "", PQgetvalue(r, i, 3));
    }
}

static int store(struct import *m, struct passport_rows *rows, const char *json)
{
    struct buf keys = {0};
    int err = passport_rows_seal(rows, m->vault, m->tenant, &keys);
    PGresult *r = NULL;

    if (err < 0)
        cli_fail("the keys cannot be sealed: %s", err_text(err));
    else
        r = db_query(
            m->pq,
            "SELECT x ->> 'line', x ->> 'result', x ->> 'field',"
            " x ->> 'detail' FROM jsonb_array_elements(passports_take($1, $2,"
            " $3, false, $4)) x ORDER BY (x ->> 'n')::int",
            4,
            (const char *const[]){m->tenant_text, json, (char *)keys.p,
                                  m->dry_run ? "true" : "false"});
    if (r)
        say(m, r);
    buf_done(&keys);
    int status = r ? 0 : 1;
    PQclear(r);
    return status;
}

static int import_piece(struct import *m, struct str list)
{
    struct arena *a = arena_new(0);
    struct passport_rows rows = {0};
    struct json *found;
    struct json_error why;
    int status =
        json_parse(a, list, (struct json_limits){4, 1 << 20}, &found, &why) == 0
            ? 0
            : cli_fail("%s", why.text); /* our own: cannot be */

    json_each (row, status == 0 ? found : NULL)
        passport_rows_add(&rows, row, 0);
    const char *json = passport_rows_json(&rows);
    if (status == 0)
        status = look(m, &rows, json);
    if (status == 0)
        status = store(m, &rows, json);
    passport_rows_done(&rows);
    arena_free(a);
    return status;
}

static int import_text(struct import *m, char *text)
{
    char error[CSV_ERROR];
    struct csv_file f;
    struct buf list = {0};
    bool more = true;
    int status = 0;

    if (csv_begin(&f, text, passport_columns, PASSPORT_COLUMNS, error) < 0)
        return cli_fail("line 1: %s", error);
    while (status == 0 && more) {
        buf_clear(&list);
        buf_u8(&list, '[');
        int n = 0;
        while (n < PASSPORT_ROWS_MOST && (more = csv_row(&f, &list))) {
            buf_u8(&list, ',');
            n++;
        }
        list.n -= n > 0; /* the last comma */
        buf_u8(&list, ']');
        if (n)
            status = import_piece(m, buf_view(&list));
    }
    buf_done(&list);
    return status;
}

int cmd_passport_import(struct cli *c)
{
    const struct cli_arg *a = passport_import_args;
    struct import m = {.dry_run = cli_get(c, a, "dry-run") != NULL};
    struct buf text = {0};
    int status = 1;

    if (cli_read(c->free[0], &text) != 0)
        return 1;
    m.pq = db_open(c, DB_SERVER);
    m.tenant = m.pq ? db_tenant_named(m.pq, cli_get(c, a, "tenant")) : -1;
    snprintf(m.tenant_text, sizeof m.tenant_text, "%d", m.tenant);
    m.vault = m.tenant < 0 ? NULL : secrets_open(c, m.pq, false);
    if (m.vault)
        status = import_text(&m, (char *)text.p);
    if (status == 0)
        printf("%d passports %sadded, %d changed, %d were there already, %d "
               "rows refused\n",
               m.counts[0], m.dry_run ? "would be " : "", m.counts[1],
               m.counts[2], m.counts[3]);
    vault_free(m.vault);
    PQfinish(m.pq);
    buf_done(&text);
    return status || m.counts[3] > 0;
}

/* ---- list, show ---- */

int cmd_passport_list(struct cli *c)
{
    const struct cli_arg *a = passport_list_args;
    PGconn *pq = db_open(c, DB_SERVER);
    char tenant[16];
    const char *values[2] = {tenant, cli_get(c, a, "search")};
    int32_t id = pq ? db_tenant_named(pq, cli_get(c, a, "tenant")) : -1;
    PGresult *r = NULL;

    snprintf(tenant, sizeof tenant, "%d", id);
    if (id >= 0)
        r = db_query(pq,
                     "SELECT p.passport_id, d.name AS model, p.serial,"
                     " p.dev_eui, p.module_serial, p.made_on, p.meter_id"
                     " FROM passport p JOIN meter_model d"
                     " USING (tenant_id, model_id) WHERE p.tenant_id = $1"
                     " AND ($2::text IS NULL OR position(lower($2) IN lower("
                     "p.serial || ' ' || coalesce(p.dev_eui, '') || ' ' ||"
                     " coalesce(p.module_serial, ''))) > 0)"
                     " ORDER BY p.passport_id",
                     2, values);
    if (r && cli_get(c, a, "json"))
        table_json(r, "passports");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_passport_show(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    const char *tenant = cli_get(c, passport_show_args, "tenant");
    PGresult *r = NULL;

    if (pq && db_tenant_named(pq, tenant) >= 0)
        r = db_query(pq,
                     "SELECT jsonb_pretty(passport_json(p)::jsonb ||"
                     " jsonb_build_object('conformity',"
                     " meter_conformity(p.tenant_id, p.meter_id)))"
                     " FROM passport p WHERE p.serial = $1 AND p.meter_id IS"
                     " NOT NULL UNION ALL SELECT"
                     " jsonb_pretty(passport_json(p)::jsonb) FROM passport p"
                     " WHERE p.serial = $1 AND p.meter_id IS NULL",
                     1, c->free);
    for (int i = 0; r && i < PQntuples(r); i++)
        puts(PQgetvalue(r, i, 0));
    int status = r && PQntuples(r) ? 0 : 1;
    if (r && status)
        cli_fail("%s has no passport of serial %s", tenant, c->free[0]);
    PQclear(r);
    PQfinish(pq);
    return status;
}
