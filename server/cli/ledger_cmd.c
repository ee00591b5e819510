/*
 * ledger_cmd.c - headend ledger: received, and what became of it, per tenant
 * and period of arrival. The fates are the database's; what is pending only a
 * running server knows: the one at http.listen is asked for its metrics. Where
 * none answers, pending is empty and received is the sum of the fates. Beside
 * the sum: frames that counters show to be missing, and those that came late.
 */
#include "server/base/buf.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

const struct cli_arg ledger_args[] = {
    {"tenant", "NAME", false, "one tenant instead of all"},
    {"from", "TIME", false, "minutes of arrival from this time on"},
    {"to", "TIME", false, "up to, not including"},
    {"by", "STEP", false, "minute, hour, day (UTC) or total (default)"},
    {"json", NULL, false, "print JSON"},
    {0}};

enum { ANSWER_MOST = 64 << 20, PATIENCE_S = 2 };

/* Pending frames have no period yet. */
static const char sql[] =
    "WITH rows AS ("
    "  SELECT tenant_id, CASE WHEN $3 <> 'total'"
    "    THEN date_trunc($3, minute, 'UTC') END AS period,"
    "    sum(stored) AS stored, sum(duplicate) AS duplicate,"
    "    sum(quarantined) AS quarantined, sum(rejected) AS rejected,"
    "    NULL::numeric AS pending, sum(missing) AS missing, sum(late) AS late"
    "  FROM ledger WHERE minute >= coalesce($1::timestamptz, '-infinity')"
    "    AND minute < coalesce($2::timestamptz, 'infinity') GROUP BY 1, 2"
    "  UNION ALL"
    "  SELECT p.tenant_id, NULL, 0, 0, 0, 0, p.pending, 0, 0"
    "  FROM unnest($4::int[], $5::bigint[]) AS p (tenant_id, pending)"
    "  WHERE $2 IS NULL AND (p.pending > 0 OR $3 = 'total'))"
    " SELECT t.name AS tenant, r.period,"
    "   sum(stored + duplicate + quarantined + rejected + coalesce(pending, 0))"
    "     ::bigint AS received, sum(stored)::bigint AS stored,"
    "   sum(duplicate)::bigint AS duplicate,"
    "   sum(quarantined)::bigint AS quarantined,"
    "   sum(rejected)::bigint AS rejected, sum(pending)::bigint AS pending,"
    "   sum(missing)::bigint AS missing, sum(late)::bigint AS late"
    " FROM rows r JOIN tenant t USING (tenant_id)"
    " GROUP BY t.tenant_id, t.name, r.period"
    " HAVING sum(stored + duplicate + quarantined + rejected"
    "   + coalesce(pending, 0)) > 0 OR t.tenant_id > 0"
    " ORDER BY t.tenant_id, r.period NULLS LAST";

/* ---- what is pending ---- */

static int dial(const char *listen)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval patience = {PATIENCE_S, 0};
    int fd = -1;

    if (n >= 2 && *listen == '[') /* [::1]:8080 */
        listen++, n -= 2;
    snprintf(host, sizeof host, "%.*s", (int)n, listen);
    if (!colon || getaddrinfo(host, colon + 1, &hints, &list) != 0)
        return -1;
    fd = socket(list->ai_family, list->ai_socktype, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

/* GET /metrics of the server, with a NUL behind it. */
static bool metrics(const char *listen, struct buf *ret)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    int fd = dial(listen);
    ssize_t n = -1;

    if (fd < 0)
        return false;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) ==
        sizeof request - 1)
        do {
            n = recv(fd, buf_room(ret, 65536), 65536, 0);
            ret->n += n > 0 ? (size_t)n : 0;
        } while (n > 0 && ret->n < ANSWER_MOST);
    close(fd);
    buf_u8(ret, 0);
    return n == 0;
}

/* Fills two arrays of SQL, tenants and their pending frames. */
static bool pending(const char *listen, struct buf *tenants, struct buf *frames)
{
    static const char name[] = "\nheadend_frames_pending{tenant=\"";
    struct buf text = {0};
    bool found = false;

    buf_z(tenants, "{");
    buf_z(frames, "{");
    if (metrics(listen, &text))
        for (char *at = (char *)text.p; (at = strstr(at, name));) {
            char *end;
            at += sizeof name - 1;
            buf_printf(tenants, "%s%ld", found ? "," : "",
                       strtol(at, &end, 10));
            at = end;
            buf_printf(frames, "%s%lld", found ? "," : "",
                       strtoll(at + strspn(at, "\"} "), NULL, 10));
            found = true;
        }
    buf_z(tenants, "}");
    buf_u8(tenants, 0);
    buf_z(frames, "}");
    buf_u8(frames, 0);
    buf_done(&text);
    return found;
}

/* ---- the command ---- */

/* The pending frames are asked for after the snapshot was taken: one that is
 * stored in between is missing for a moment, but never there twice. */
static PGresult *ask(const struct cli *c, PGconn *pq, const char *by)
{
    struct buf tenants = {0}, frames = {0};
    const char *listen = c->settings.http_listen;
    PGresult *begun = db_query(
        pq, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL);
    PGresult *r = begun ? db_query(pq, "SELECT 1", 0, NULL) : NULL;

    if (r && !pending(listen, &tenants, &frames))
        fprintf(stderr,
                "headend: what is pending is not known: no server answers at"
                " http.listen %s\n",
                listen);
    if (r) {
        const char *values[5] = {
            cli_get(c, ledger_args, "from"), cli_get(c, ledger_args, "to"), by,
            (const char *)tenants.p, (const char *)frames.p};
        PQclear(r);
        r = db_query(pq, sql, 5, values);
    }
    PQclear(begun);
    buf_done(&tenants);
    buf_done(&frames);
    return r;
}

int cmd_ledger(struct cli *c)
{
    const char *name = cli_get(c, ledger_args, "tenant");
    const char *by = cli_get(c, ledger_args, "by");
    static const char *const steps[] = {"minute", "hour", "day", "total", NULL};
    int i = 0;

    by = by ? by : "total";
    while (steps[i] && strcmp(steps[i], by) != 0)
        i++;
    if (!steps[i])
        return cli_fail("--by %s: minute, hour, day or total", by);
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    bool scoped = name ? db_tenant_named(pq, name) >= 0 : db_all(pq) == 0;
    PGresult *r = scoped ? ask(c, pq, by) : NULL;
    if (r && cli_get(c, ledger_args, "json"))
        table_json(r, "ledger");
    else if (r)
        table_print(r);
    PQfinish(pq);
    PQclear(r);
    return r ? 0 : 1;
}
