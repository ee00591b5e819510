/*
 * audit_cmd.c - headend audit verify | list. verify recomputes the chain with
 * libsodium's SHA-256, not with the database that keeps it.
 */
#include "server/base/hex.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_arg audit_verify_args[] = {
    {"tenant", "NAME", false,
     "only this one's trail (default: every tenant's)"},
    {"head", "FILE", false,
     "compare with heads that an earlier run printed; what they named must "
     "still stand"},
    {0}};
const struct cli_arg audit_list_args[] = {
    {"tenant", "NAME", true, "whose trail"},
    {"limit", "N", false, "how many entries (default 50)"},
    {"json", NULL, false, "print JSON"},
    {0}};

enum { HASH = crypto_hash_sha256_BYTES };

/* One tenant's chain while it is read. */
struct chain {
    int tenant;
    long long seq;
    unsigned char hash[HASH];
    int bad;
};

static void bad(struct chain *k, const char *what)
{
    k->bad++;
    printf("tenant %d entry %lld: %s\n", k->tenant, k->seq, what);
}

/* Columns: seq, text, hash. */
static void check_entry(struct chain *k, const PGresult *r, int row)
{
    crypto_hash_sha256_state state;
    unsigned char found[HASH], want[HASH];
    long long seq = atoll(PQgetvalue(r, row, 0));
    struct str hex = str_of(PQgetvalue(r, row, 2));

    if (seq != k->seq + 1) {
        k->seq = seq;
        bad(k, "entries before it are missing");
    }
    k->seq = seq;
    crypto_hash_sha256_init(&state);
    if (seq > 1)
        crypto_hash_sha256_update(&state, k->hash, HASH);
    crypto_hash_sha256_update(&state, (unsigned char *)PQgetvalue(r, row, 1),
                              (unsigned long long)PQgetlength(r, row, 1));
    crypto_hash_sha256_final(&state, want);
    if (hex_decode(hex, found, HASH) != HASH || memcmp(found, want, HASH) != 0)
        bad(k, "does not fit its hash: it, or the one before it, was changed");
    memcpy(k->hash, found, HASH); /* so that each break is told once */
}

static int verify_tenant(PGconn *pq, int tenant, const char *name)
{
    static const char sql[] =
        "SELECT a.seq, audit_text(a), encode(a.hash, 'hex') FROM audit_entry a"
        " WHERE a.tenant_id = $1::int AND a.seq > $2::bigint"
        " ORDER BY a.seq LIMIT 10000";
    struct chain k = {.tenant = tenant};
    char id[16], after[24], hex[2 * HASH + 1];
    const char *values[2] = {id, after};
    int n;

    snprintf(id, sizeof id, "%d", tenant);
    do {
        snprintf(after, sizeof after, "%lld", k.seq);
        PGresult *r = db_query(pq, sql, 2, values);
        if (!r)
            return -1;
        n = PQntuples(r);
        for (int i = 0; i < n; i++)
            check_entry(&k, r, i);
        PQclear(r);
    } while (n > 0);
    printf("%s: %lld entries, %d broken, head %lld %s\n", name, k.seq, k.bad,
           k.seq, k.seq ? hex_encode(k.hash, HASH, hex) : "-");
    return k.bad;
}

/* Lines of an earlier run: "NAME: N entries, B broken, head SEQ HASH". What
 * was the head then must be that entry now. */
static int check_heads(PGconn *pq, const char *path)
{
    static const char sql[] =
        "SELECT 1 FROM audit_entry a JOIN tenant t USING (tenant_id) WHERE"
        " t.name = $1 AND a.seq = $2::bigint AND a.hash = decode($3, 'hex')";
    char line[512], name[80], seq[24], hash[2 * HASH + 1];
    int wrong = 0;
    FILE *f = fopen(path, "r");

    if (!f)
        return cli_fail("cannot read %s", path);
    while (fgets(line, sizeof line, f)) {
        const char *values[3] = {name, seq, hash};
        if (sscanf(line,
                   "%79[^:]: %*s entries, %*s broken, head %23s %64[0-9a-f]",
                   name, seq, hash) != 3)
            continue;
        PGresult *r = db_query(pq, sql, 3, values);
        if (!r || PQntuples(r) == 0) {
            printf("%s: entry %s is not what it was\n", name, seq);
            wrong++;
        }
        PQclear(r);
    }
    fclose(f);
    return wrong;
}

int cmd_audit_verify(struct cli *c)
{
    const char *only = cli_get(c, audit_verify_args, "tenant");
    const char *heads = cli_get(c, audit_verify_args, "head");
    int broken = 0;
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    PGresult *r =
        db_query(pq, "SELECT tenant_id, name FROM tenant_list()", 0, NULL);
    if (!r || db_all(pq) < 0 || sodium_init() < 0)
        broken = 1;
    for (int i = 0; r && !broken && i < PQntuples(r); i++)
        if (!only || strcmp(only, PQgetvalue(r, i, 1)) == 0)
            broken += verify_tenant(pq, atoi(PQgetvalue(r, i, 0)),
                                    PQgetvalue(r, i, 1)) != 0;
    if (heads && !broken)
        broken = check_heads(pq, heads);
    PQclear(r);
    PQfinish(pq);
    return broken ? 1 : 0;
}

int cmd_audit_list(struct cli *c)
{
    static const char sql[] =
        "SELECT seq, at, actor, address, action, object_id, before, after"
        " FROM audit_entry WHERE tenant_id = $1::int"
        " ORDER BY seq DESC LIMIT $2::bigint";
    const char *limit = cli_get(c, audit_list_args, "limit");
    char id[16];
    const char *values[2] = {id, limit ? limit : "50"};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    int32_t tenant = db_tenant_named(pq, cli_get(c, audit_list_args, "tenant"));
    snprintf(id, sizeof id, "%d", tenant);
    PGresult *r = tenant < 0 ? NULL : db_query(pq, sql, 2, values);
    if (r && cli_get(c, audit_list_args, "json"))
        table_json(r, "audit");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}
