/*
 * clock_cmd.c - headend clock: the fleet's clocks, those that are off most
 * first; of one meter its corrections.
 */
#include "server/cli/db.h"
#include "server/cli/table.h"

const struct cli_arg clock_args[] = {
    {"tenant", "NAME", false, "one tenant instead of all"},
    {"meter", "ID", false, "the corrections of this meter"},
    {"state", "STATE", false,
     "only clocks that are synced, drifting, unsynced, untrusted"},
    {"limit", "N", false, "most lines (default 100)"},
    {"json", NULL, false, "print JSON"},
    {0}};

static const char fleet[] =
    "SELECT t.name AS tenant, m.meter_id, m.serial, clock_state_now(c) AS "
    "state,"
    " seconds(c.offset_us) AS offset_s, seconds(c.uncertainty_us) AS"
    " uncertainty_s, round(c.drift_ppm::numeric, 1) AS drift_ppm,"
    " c.last_sample_at, c.jump, c.verdict, c.reason"
    " FROM meter_clock c JOIN meter m USING (tenant_id, meter_id)"
    " JOIN tenant t USING (tenant_id)"
    " WHERE $2::text IS NULL OR clock_state_now(c) = $2"
    " ORDER BY abs(c.offset_us) DESC NULLS LAST, m.meter_id LIMIT $1::bigint";

static const char one[] =
    "SELECT k.correction_id, k.state, k.way, k.reason, seconds(k.by_us) AS "
    "by_s,"
    " seconds(k.offset_before_us) AS before_s,"
    " seconds(k.offset_after_us) AS after_s, k.crosses_edge, k.sent_at,"
    " k.settled_at, k.decided_by FROM clock_correction k"
    " WHERE k.meter_id = $2::int ORDER BY k.correction_id DESC LIMIT "
    "$1::bigint";

int cmd_clock(struct cli *c)
{
    const char *name = cli_get(c, clock_args, "tenant");
    const char *meter = cli_get(c, clock_args, "meter");
    const char *limit = cli_get(c, clock_args, "limit");
    const char *values[2] = {limit ? limit : "100",
                             meter ? meter : cli_get(c, clock_args, "state")};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    bool scoped = name ? db_tenant_named(pq, name) >= 0 : db_all(pq) == 0;
    PGresult *r = scoped ? db_query(pq, meter ? one : fleet, 2, values) : NULL;
    if (r && cli_get(c, clock_args, "json"))
        table_json(r, meter ? "clock_corrections" : "clocks");
    else if (r)
        table_print(r);
    PQfinish(pq);
    PQclear(r);
    return r ? 0 : 1;
}
