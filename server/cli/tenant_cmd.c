/*
 * tenant_cmd.c - headend tenant add | list, headend token add.
 */
#include "server/base/hex.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "timesvc/zone.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg list_args[] = {{"json", NULL, false, "print JSON"}, {0}};
const struct cli_arg token_args[] = {{"json", NULL, false, "print JSON"}, {0}};
const struct cli_arg tenant_add_args[] = {
    {"timezone", "ZONE", false,
     "IANA zone of meters that do not say theirs (default UTC)"},
    {"json", NULL, false, "print JSON"},
    {0}};

enum { TOKEN_BYTES = 24, TOKEN_TEXT = 4 + 2 * TOKEN_BYTES + 1 };

/* "hdk_" and 192 random bits; only its hash is stored. */
static int token_make(PGconn *pq, int32_t tenant, char token[TOKEN_TEXT])
{
    unsigned char random[TOKEN_BYTES], hash[32];
    char hex[65], id[16];
    const char *values[2] = {id, hex};

    if (sodium_init() < 0)
        return cli_fail("no source of random numbers");
    randombytes_buf(random, sizeof random);
    memcpy(token, "hdk_", 4);
    hex_encode(random, sizeof random, token + 4);
    crypto_generichash(hash, sizeof hash, (unsigned char *)token, strlen(token),
                       NULL, 0);
    hex_encode(hash, sizeof hash, hex);
    snprintf(id, sizeof id, "%d", tenant);
    PGresult *r =
        db_query(pq, "INSERT INTO api_token (tenant_id, hash) VALUES ($1, $2)",
                 2, values);
    PQclear(r);
    return r ? 0 : 1;
}

static void print_token(const char *name, int32_t tenant, const char *token,
                        bool json)
{
    if (json)
        printf("{\"tenant\":\"%s\",\"tenant_id\":%d,\"token\":\"%s\"}\n", name,
               tenant, token);
    else
        printf("tenant %s has id %d\nAPI token (shown once): %s\n", name,
               tenant, token);
}

int cmd_tenant_add(struct cli *c)
{
    const char *zone = cli_get(c, tenant_add_args, "timezone");
    const char *values[2] = {c->free[0], zone ? zone : "UTC"};
    char token[TOKEN_TEXT];

    if (!zone_find(str_of(values[1])))
        return cli_fail("--timezone %s: no such IANA time zone", values[1]);
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int status = 1;
    PQclear(db_query(pq, "BEGIN", 0, NULL));
    PGresult *r = db_query(pq, "SELECT tenant_add($1, $2)", 2, values);
    if (r) {
        int32_t tenant = atoi(PQgetvalue(r, 0, 0));
        status = db_tenant(pq, tenant) == 0 ? token_make(pq, tenant, token) : 1;
        PGresult *end = status == 0 ? db_query(pq, "COMMIT", 0, NULL) : NULL;
        if (end)
            print_token(c->free[0], tenant, token,
                        cli_get(c, tenant_add_args, "json") != NULL);
        status = end ? 0 : 1;
        PQclear(end);
    }
    PQclear(r);
    PQfinish(pq);
    return status;
}

int cmd_tenant_list(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    PGresult *r = db_query(pq, "SELECT * FROM tenant_list()", 0, NULL);
    if (r && cli_get(c, list_args, "json"))
        table_json(r, "tenants");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_token_add(struct cli *c)
{
    char token[TOKEN_TEXT];
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int32_t tenant = db_tenant_named(pq, c->free[0]);
    int status = tenant < 0 ? 1 : token_make(pq, tenant, token);
    if (status == 0)
        print_token(c->free[0], tenant, token,
                    cli_get(c, token_args, "json") != NULL);
    PQfinish(pq);
    return status;
}
