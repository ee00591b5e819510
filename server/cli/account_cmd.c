/*
 * account_cmd.c - headend account add | list | reset | disable | enable.
 */
#include "server/api/password.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>

const struct cli_arg account_add_args[] = {
    {"tenant", "NAME", true, "the tenant that the person belongs to"},
    {"role", "NAME", false,
     "what the person may do (default: tenant admin; see the README)"},
    {"name", "TEXT", false, "the person's name"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg account_list_args[] = {
    {"tenant", "NAME", true, "whose people"},
    {"json", NULL, false, "print JSON"},
    {0}};

static int new_password(char shown[PASSWORD_GENERATED],
                        char hash[PASSWORD_HASH])
{
    if (sodium_init() < 0)
        return cli_fail("no source of random numbers");
    password_generate(shown);
    if (password_hash(str_of(shown), hash) < 0)
        return cli_fail("not enough memory to hash a password (64 MiB)");
    return 0;
}

static void print_account(const PGresult *r, const char *email, bool json)
{
    const char *password = PQgetvalue(r, 0, 1);

    if (json)
        printf("%s\n", PQgetvalue(r, 0, 0));
    else if (*password)
        printf("%s\npassword (shown once, to be changed at the first sign-in): "
               "%s\n",
               email, password);
    else
        printf("%s has an account already, and is a member now\n", email);
}

int cmd_account_add(struct cli *c)
{
    static const char sql[] =
        "SELECT a, coalesce(a ->> 'password', '') FROM account_add($1::int,"
        " jsonb_strip_nulls(jsonb_build_object('email', $2::text, 'name',"
        " $3::text, 'role', $4::text)), $5, $6) a";
    char shown[PASSWORD_GENERATED], hash[PASSWORD_HASH], id[16];
    const char *role = cli_get(c, account_add_args, "role");
    const char *values[6] = {id,
                             c->free[0],
                             cli_get(c, account_add_args, "name"),
                             role ? role : "tenant admin",
                             hash,
                             shown};
    PGresult *r = NULL;
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    int32_t tenant =
        db_tenant_named(pq, cli_get(c, account_add_args, "tenant"));
    snprintf(id, sizeof id, "%d", tenant);
    if (tenant >= 0 && new_password(shown, hash) == 0)
        r = db_query(pq, sql, 6, values);
    if (r)
        print_account(r, c->free[0],
                      cli_get(c, account_add_args, "json") != NULL);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_account_list(struct cli *c)
{
    static const char sql[] =
        "SELECT item ->> 'account_id' AS account_id, item ->> 'email' AS email,"
        " item ->> 'name' AS name, item ->> 'role' AS role, item ->>"
        " 'disabled' AS disabled, item ->> 'last_login_at' AS last_login_at"
        " FROM account_list($1::int, 0, 1000000)";
    char id[16];
    const char *values[1] = {id};
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    int32_t tenant =
        db_tenant_named(pq, cli_get(c, account_list_args, "tenant"));
    snprintf(id, sizeof id, "%d", tenant);
    PGresult *r = tenant < 0 ? NULL : db_query(pq, sql, 1, values);
    if (r && cli_get(c, account_list_args, "json"))
        table_json(r, "accounts");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

static int operate(struct cli *c, const char *act)
{
    char shown[PASSWORD_GENERATED] = "", hash[PASSWORD_HASH] = "";
    const char *values[3] = {c->free[0], act, hash};
    bool reset = strcmp(act, "reset") == 0;

    if (reset && new_password(shown, hash) != 0)
        return 1;
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    PGresult *r = db_query(pq, "SELECT account_operate($1, $2, $3)", 3, values);
    int status = r && *PQgetvalue(r, 0, 0) == 't' ? 0 : 1;
    if (r && status)
        cli_fail("there is no account %s", c->free[0]);
    else if (r && reset)
        printf("password (shown once, to be changed at the first sign-in): "
               "%s\n",
               shown);
    PQclear(r);
    PQfinish(pq);
    return status;
}

int cmd_account_reset(struct cli *c)
{
    return operate(c, "reset");
}

int cmd_account_disable(struct cli *c)
{
    return operate(c, "disable");
}

int cmd_account_enable(struct cli *c)
{
    return operate(c, "enable");
}
