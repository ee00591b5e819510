/*
 * command_cmd.c - headend command send, list, show, cancel: what meters are
 * told to do.
 */
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "server/downlink/kinds.h"
#include <stdio.h>

const struct cli_arg command_send_args[] = {
    {"tenant", "NAME", true, "whose meter it is"},
    {"archive", "NAME", false,
     "read_archive: hour (if not given), day, month, event"},
    {"from", "TIME", false, "read_archive: first instant"},
    {"to", "TIME", false, "read_archive: last instant (now)"},
    {"period-h", "N", false, "set_schedule: hours between two reports"},
    {"pressure-kpa", "N", false, "set_substitution: gas pressure"},
    {"z", "N", false, "set_substitution: compressibility"},
    {"w", "N", false, "set_substitution: conversion factor"},
    {"port", "N", false, "raw: FPort, 1 to 223"},
    {"payload", "HEX", false, "raw: the bytes"},
    {"unconfirmed", NULL, false,
     "raw: the device need not confirm it by radio"},
    {"priority", "N", false, "9 goes before 0 (0)"},
    {"not-after", "TIME", false,
     "it leaves before this, or never (in three days)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg command_list_args[] = {
    {"tenant", "NAME", false, "one tenant instead of all"},
    {"meter", "ID", false, "only this meter's"},
    {"state", "STATE", false,
     "only waiting, queued, sent, acknowledged, done, failed, expired or "
     "cancelled ones"},
    {"limit", "N", false, "most lines (default 100)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg command_one_args[] = {
    {"tenant", "NAME", true, "whose it is"},
    {"json", NULL, false, "print JSON"},
    {0}};

/* {"kind": ..., "period_h": ...}: arguments by their names in the API. */
static void put_body(struct buf *b, const struct cli *c)
{
    static const char *const names[][2] = {{"archive", "archive"},
                                           {"from", "from"},
                                           {"to", "to"},
                                           {"period-h", "period_h"},
                                           {"pressure-kpa", "pressure_kpa"},
                                           {"z", "z"},
                                           {"w", "w"},
                                           {"port", "port"},
                                           {"payload", "payload"},
                                           {"priority", "priority"},
                                           {"not-after", "not_after"}};

    buf_z(b, "{\"kind\":");
    buf_json_str(b, str_of(c->free[1]));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = cli_get(c, command_send_args, names[i][0]);
        if (!value)
            continue;
        buf_printf(b, ",\"%s\":", names[i][1]);
        buf_json_str(b, str_of(value));
    }
    if (cli_get(c, command_send_args, "unconfirmed"))
        buf_z(b, ",\"confirmed\":false");
    buf_put(b, "}", 2);
}

/* One command with its steps, as the API answers it. */
static int print_one(PGconn *pq, PGresult *r, bool json)
{
    static const char steps[] =
        "SELECT s->>'at' AS at, s->>'state' AS state, s->>'attempt' AS attempt,"
        " s->>'actor' AS actor, s->>'detail' AS detail"
        " FROM json_array_elements($1::json -> 'steps') s";
    const char *text = r && PQntuples(r) ? PQgetvalue(r, 0, 0) : NULL;
    PGresult *t;

    if (r && !text)
        cli_fail("there is no such command; `headend command list` shows them");
    if (!text)
        return 1;
    if (json) {
        puts(text);
        return 0;
    }
    t = db_query(pq,
                 "SELECT c->>'command_id' AS command, c->>'meter_id' AS meter,"
                 " c->>'kind' AS kind, c->>'state' AS state, c->>'arguments' AS"
                 " arguments, c->>'not_after' AS not_after, c->>'asked_by' AS"
                 " asked_by FROM (SELECT $1::json AS c) x",
                 1, &text);
    if (t)
        table_print(t);
    PQclear(t);
    t = db_query(pq, steps, 1, &text);
    if (t)
        table_print(t);
    PQclear(t);
    return 0;
}

/* Runs `sql` in the tenant named; $1 is its id, `more` what follows. */
static int run(struct cli *c, const struct cli_arg *args, const char *sql,
               int n, const char *const *more)
{
    PGconn *pq = db_open(c, DB_SERVER);
    char tenant[16];
    const char *values[5] = {tenant};
    int status = 1;

    if (!pq)
        return 1;
    int32_t id = db_tenant_named(pq, cli_get(c, args, "tenant"));
    snprintf(tenant, sizeof tenant, "%d", id);
    for (int i = 1; i < n; i++)
        values[i] = more[i - 1];
    if (id >= 0) {
        PGresult *r = db_query(pq, sql, n, values);
        status = print_one(pq, r, cli_get(c, args, "json") != NULL);
        PQclear(r);
    }
    PQfinish(pq);
    return status;
}

int cmd_command_send(struct cli *c)
{
    struct buf body = {0}, names = {0}, rows = {0};

    put_body(&body, c);
    kinds_put(&names, &rows); /* as a server of this program would have */
    const char *values[] = {(char *)body.p, c->free[0], (char *)names.p,
                            (char *)rows.p};
    int status =
        run(c, command_send_args,
            "SELECT command_add($1::int, $2::jsonb, $3::int)"
            " FROM (SELECT codec_commands_put($4::text[], $5::jsonb)) x",
            5, values);
    buf_done(&body);
    buf_done(&names);
    buf_done(&rows);
    return status;
}

int cmd_command_show(struct cli *c)
{
    const char *values[] = {c->free[0]};

    return run(c, command_one_args,
               "SELECT command_whole_json(c) FROM command c WHERE c.tenant_id ="
               " $1::int AND c.command_id = $2::bigint",
               2, values);
}

int cmd_command_cancel(struct cli *c)
{
    const char *values[] = {c->free[0]};

    return run(c, command_one_args,
               "SELECT command_cancel($1::int, $2::bigint)", 2, values);
}

int cmd_command_list(struct cli *c)
{
    static const char sql[] =
        "SELECT t.name AS tenant, c.command_id, c.meter_id, m.serial, c.kind,"
        " c.state, c.attempts, c.created_at, c.asked_by, c.detail"
        " FROM command c JOIN meter m USING (tenant_id, meter_id)"
        " JOIN tenant t USING (tenant_id)"
        " WHERE ($2::int IS NULL OR c.meter_id = $2::int)"
        " AND ($3::text IS NULL OR c.state = $3)"
        " ORDER BY c.command_id DESC LIMIT $1::bigint";
    const struct cli_arg *a = command_list_args;
    const char *name = cli_get(c, a, "tenant"), *limit = cli_get(c, a, "limit");
    const char *values[] = {limit ? limit : "100", cli_get(c, a, "meter"),
                            cli_get(c, a, "state")};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    bool scoped = name ? db_tenant_named(pq, name) >= 0 : db_all(pq) == 0;
    PGresult *r = scoped ? db_query(pq, sql, 3, values) : NULL;
    if (r && cli_get(c, a, "json"))
        table_json(r, "commands");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}
