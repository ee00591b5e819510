/*
 * meter_cmd.c - headend meter add | import | list.
 */
#include "server/base/csv.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/mem.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "timesvc/zone.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

const struct cli_arg meter_add_args[] = {
    {"tenant", "NAME", true, "whose meter"},
    {"serial", "SERIAL", true, "serial number as on the label"},
    {"model", "MODEL", true, "a model of the tenant, e.g. elvaco-cmi4160"},
    {"dev-eui", "EUI", false, "LoRaWAN DevEUI, 16 hex digits"},
    {"timezone", "ZONE", false, "IANA zone of its clock (the tenant's)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg meter_import_args[] = {
    {"tenant", "NAME", true, "whose meters"}, {0}};
const struct cli_arg meter_list_args[] = {
    {"tenant", "NAME", true, "whose meters"},
    {"json", NULL, false, "print JSON"},
    {0}};

struct meter_line {
    const char *serial, *model, *dev_eui, *timezone; /* NULL or "": none */
};

static bool given(const char *text)
{
    return text && *text;
}

/* Zone and DevEUI of an input, as they are stored; 1 after telling why. */
static int check(const struct meter_line *m, const char *place, char eui[17])
{
    uint64_t number;

    if (!m->serial || !*m->serial || !m->model || !*m->model)
        return cli_fail("%sserial or model is empty", place);
    if (given(m->timezone) && !zone_find(str_of(m->timezone)))
        return cli_fail("%s\"%s\" is no IANA time zone", place, m->timezone);
    if (given(m->dev_eui) && hex_eui(str_of(m->dev_eui), &number) < 0)
        return cli_fail("%sDevEUI \"%s\" is not 16 hex digits", place,
                        m->dev_eui);
    if (given(m->dev_eui))
        snprintf(eui, 17, "%016llx", (unsigned long long)number);
    return 0;
}

/* Why there is neither a new meter nor the very same one. */
static int explain(PGconn *pq, const char *const *values, const char *place)
{
    PGresult *r = db_query(
        pq,
        "SELECT (SELECT count(*) FROM meter_model WHERE tenant_id = $1"
        " AND name = $3), (SELECT min(m.serial) FROM meter m"
        " JOIN meter_model d USING (tenant_id, model_id) WHERE m.tenant_id = $1"
        " AND (m.serial = $2 AND d.name = $3 OR m.dev_eui = $4))",
        4, values);
    if (r && strcmp(PQgetvalue(r, 0, 0), "0") == 0)
        cli_fail("%sthe tenant has no meter model \"%s\"", place, values[2]);
    else if (r)
        cli_fail("%sserial %s not registered: its serial or DevEUI is that of "
                 "meter %s, which differs",
                 place, values[1], PQgetvalue(r, 0, 1));
    PQclear(r);
    return 1;
}

static const char insert_sql[] =
    "WITH added AS (INSERT INTO meter (tenant_id, serial, model_id, dev_eui,"
    " timezone) SELECT $1, $2, model_id, $4, $5 FROM meter_model"
    " WHERE tenant_id = $1 AND name = $3 ON CONFLICT DO NOTHING"
    " RETURNING meter_id, serial, dev_eui, timezone, true AS added)"
    " SELECT * FROM added UNION ALL"
    " SELECT m.meter_id, m.serial, m.dev_eui, m.timezone, false"
    " FROM meter m JOIN meter_model d USING (tenant_id, model_id)"
    " WHERE m.tenant_id = $1 AND m.serial = $2 AND d.name = $3"
    " AND m.dev_eui IS NOT DISTINCT FROM $4"
    " AND m.timezone IS NOT DISTINCT FROM $5";

/* 0 with the meter's row, `added` false when the very same was there already;
 * or 1 after telling why, prefixed with `place`. */
static int insert(PGconn *pq, int32_t tenant, const struct meter_line *m,
                  const char *place, PGresult **ret)
{
    char id[16], eui[17];
    const char *values[5] = {id, m->serial, m->model,
                             given(m->dev_eui) ? eui : NULL,
                             given(m->timezone) ? m->timezone : NULL};

    if (check(m, place, eui) != 0)
        return 1;
    snprintf(id, sizeof id, "%d", tenant);
    *ret = db_query(pq, insert_sql, 5, values);
    if (!*ret)
        return cli_fail("%sserial %s not registered", place, m->serial);
    return PQntuples(*ret) ? 0 : explain(pq, values, place);
}

static bool added(const PGresult *r)
{
    return *PQgetvalue(r, 0, 4) == 't';
}

int cmd_meter_add(struct cli *c)
{
    const struct cli_arg *a = meter_add_args;
    struct meter_line m = {cli_get(c, a, "serial"), cli_get(c, a, "model"),
                           cli_get(c, a, "dev-eui"), cli_get(c, a, "timezone")};
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;
    int32_t tenant = pq ? db_tenant_named(pq, cli_get(c, a, "tenant")) : -1;
    int status = tenant < 0 ? 1 : insert(pq, tenant, &m, "", &r);

    if (status == 0 && cli_get(c, a, "json"))
        table_json(r, "meters");
    else if (status == 0)
        printf("meter %s %s id %s\n", m.serial,
               added(r) ? "has" : "was there already with",
               PQgetvalue(r, 0, 0));
    PQclear(r);
    PQfinish(pq);
    return status;
}

/* ---- CSV ---- */

enum { COLUMNS = 4 };
static const char *const column_names[COLUMNS] = {"serial", "model", "dev_eui",
                                                  "timezone"};

struct header {
    char separator;
    int position[COLUMNS]; /* -1: not there */
    int n;
};

static int read_header(char *line, struct header *h)
{
    char *fields[CSV_FIELDS];
    h->separator = csv_separator(line);
    h->n = csv_split(line, h->separator, fields);
    for (int k = 0; k < COLUMNS; k++) {
        h->position[k] = -1;
        for (int i = 0; i < h->n; i++)
            if (strcasecmp(fields[i], column_names[k]) == 0)
                h->position[k] = i;
    }
    if (h->position[0] < 0 || h->position[1] < 0)
        return cli_fail("line 1: the header must name serial and model "
                        "(and may name dev_eui, timezone)");
    return 0;
}

static int import_line(PGconn *pq, int32_t tenant, const struct header *h,
                       char *line, int number, int *new_meters)
{
    char *fields[CSV_FIELDS], place[32];
    const char *v[COLUMNS] = {NULL};
    PGresult *r = NULL;

    snprintf(place, sizeof place, "line %d: ", number);
    int n = csv_split(line, h->separator, fields);
    if (n != h->n)
        return cli_fail("%s%d fields, the header has %d", place, n, h->n);
    for (int k = 0; k < COLUMNS; k++)
        if (h->position[k] >= 0)
            v[k] = fields[h->position[k]];
    int status = insert(
        pq, tenant, &(struct meter_line){v[0], v[1], v[2], v[3]}, place, &r);
    *new_meters += status == 0 && added(r);
    PQclear(r);
    return status;
}

static int import(PGconn *pq, int32_t tenant, FILE *in)
{
    struct header h = {0};
    char *line = NULL;
    size_t cap = 0;
    int number = 0, meters = 0, new_meters = 0, status = 0;

    PQclear(db_query(pq, "BEGIN", 0, NULL));
    while (status == 0 && getline(&line, &cap, in) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (number++ == 0) {
            char *text = line;
            if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
                text += 3;
            status = read_header(text, &h);
        } else if (*line) {
            status = import_line(pq, tenant, &h, line, number, &new_meters);
            meters += status == 0;
        }
        if (status == 0 && meters && meters % 10000 == 0)
            fprintf(stderr, "%d meters ...\n", meters);
    }
    free(line);
    if (number == 0)
        status = cli_fail("the file is empty");
    PGresult *r = db_query(pq, status == 0 ? "COMMIT" : "ROLLBACK", 0, NULL);
    PQclear(r);
    if (status == 0 && r)
        printf("%d meters registered, %d were there already\n", new_meters,
               meters - new_meters);
    else
        cli_fail("nothing was registered");
    return r ? status : 1;
}

int cmd_meter_import(struct cli *c)
{
    bool standard = strcmp(c->free[0], "-") == 0;
    FILE *in = standard ? stdin : fopen(c->free[0], "r");
    if (!in)
        return cli_fail("%s: cannot be read", c->free[0]);
    PGconn *pq = db_open(c, DB_SERVER);
    int32_t tenant =
        pq ? db_tenant_named(pq, cli_get(c, meter_import_args, "tenant")) : -1;
    int status = tenant < 0 ? 1 : import(pq, tenant, in);
    PQfinish(pq);
    if (!standard)
        fclose(in);
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
