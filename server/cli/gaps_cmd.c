/*
 * gaps_cmd.c - headend gaps: the meters of which frames are missing, those that
 * miss most first.
 */
#include "server/cli/db.h"
#include "server/cli/table.h"

const struct cli_arg gaps_args[] = {
    {"tenant", "NAME", false, "one tenant instead of all"},
    {"limit", "N", false, "most meters listed (default 100)"},
    {"json", NULL, false, "print JSON"},
    {0}};

static const char sql[] =
    "SELECT t.name AS tenant, m.meter_id, m.serial, m.dev_eui, k.received,"
    " k.skipped - k.late AS missing, k.late, k.last - k.base AS last_counter,"
    " k.last_at, array_to_string(ARRAY(SELECT concat_ws('-', lower(r) - k.base,"
    "   nullif(upper(r) - 1, lower(r)) - k.base) FROM unnest(k.open) r"
    "   ORDER BY r), ' ') AS counters"
    " FROM frame_counter k JOIN meter m USING (tenant_id, meter_id)"
    " JOIN tenant t USING (tenant_id) WHERE k.skipped > k.late"
    " ORDER BY missing DESC, m.meter_id LIMIT $1::bigint";

int cmd_gaps(struct cli *c)
{
    const char *name = cli_get(c, gaps_args, "tenant");
    const char *limit = cli_get(c, gaps_args, "limit");
    const char *values[1] = {limit ? limit : "100"};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    bool scoped = name ? db_tenant_named(pq, name) >= 0 : db_all(pq) == 0;
    PGresult *r = scoped ? db_query(pq, sql, 1, values) : NULL;
    if (r && cli_get(c, gaps_args, "json"))
        table_json(r, "gaps");
    else if (r)
        table_print(r);
    PQfinish(pq);
    PQclear(r);
    return r ? 0 : 1;
}
