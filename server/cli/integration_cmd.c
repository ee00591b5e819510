/*
 * integration_cmd.c - headend integration add | list | enable | disable |
 * remove. A running server notices by itself.
 */
#include "server/base/mem.h"
#include "server/cli/secrets.h"
#include "server/cli/table.h"
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg integration_args[] = {
    {"tenant", "NAME", true, "whose it is"},
    {"name", "NAME", true, "its name inside the tenant"},
    {"kind", "KIND", true, "chirpstack | tts | heo-tcp"},
    {"url", "URL", true,
     "mqtt://host:port, mqtts://host:port; heo-tcp: tcp://address:port or "
     "tls://address:port to listen on"},
    {"username", "USER", false, "MQTT user"},
    {"password-file", "FILE", false, "file with the MQTT password"},
    {"ca-file", "FILE", false,
     "certificates that the broker's, or a meter's, must chain to"},
    {"cert-file", "FILE", false,
     "our certificate (tls://: instead of tcp.tls_cert)"},
    {"key-file", "FILE", false, "its private key"},
    {"topic-prefix", "TEXT", false, "put before the network server's topics"},
    {"bridges", "N", false, "parallel bridges on a shared subscription (1)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg integration_list_args[] = {
    {"tenant", "NAME", false, "of this tenant alone"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg integration_name_args[] = {
    {"tenant", "NAME", true, "whose it is"},
    {"name", "NAME", true, "which one"},
    {0}};

/* The first line of a file; NULL after telling why. The caller frees. */
static char *read_password(const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    if (!ok) {
        cli_fail("--password-file %s: cannot be read, or is empty", path);
        return NULL;
    }
    line[strcspn(line, "\r\n")] = 0;
    return mem_strdup(line);
}

static int check_url(const char *kind, const char *url)
{
    bool tcp = strcmp(kind, "heo-tcp") == 0;
    if (tcp ? strncmp(url, "tcp://", 6) != 0 && strncmp(url, "tls://", 6) != 0
            : strncmp(url, "mqtt://", 7) != 0 &&
                  strncmp(url, "mqtts://", 8) != 0)
        return cli_fail(
            "--url %s: %s", url,
            tcp ? "a listener is tcp://address:port or tls://address:port"
                : "a broker is mqtt://host:port or mqtts://host:port");
    if (strchr(url, '@'))
        return cli_fail("--url: give --username and --password-file instead");
    return 0;
}

/* Sealed, as the row's own secret. */
static int put_password(const struct cli *c, PGconn *pq, int32_t tenant,
                        const char *integration, const char *password)
{
    struct secret_name name = {tenant, "integration", atoll(integration),
                               "password"};
    struct vault *v = secrets_open(c, pq, true);
    int status = v ? secrets_put(pq, v, &name, str_of(password)) : -1;

    vault_free(v);
    return status;
}

static int add(struct cli *c, PGconn *pq, const char *password)
{
    const struct cli_arg *a = integration_args;
    const char *bridges = cli_get(c, a, "bridges");
    const char *prefix = cli_get(c, a, "topic-prefix");
    char id[16];
    const char *values[10] = {id,
                              cli_get(c, a, "name"),
                              cli_get(c, a, "kind"),
                              cli_get(c, a, "url"),
                              cli_get(c, a, "username"),
                              cli_get(c, a, "ca-file"),
                              cli_get(c, a, "cert-file"),
                              cli_get(c, a, "key-file"),
                              prefix ? prefix : "",
                              bridges ? bridges : "1"};
    int32_t tenant = db_tenant_named(pq, cli_get(c, a, "tenant"));
    if (tenant < 0)
        return 1;
    snprintf(id, sizeof id, "%d", tenant);
    PQclear(db_query(pq, "BEGIN", 0, NULL));
    PGresult *r = db_query(
        pq,
        "INSERT INTO integration (tenant_id, name, kind, url, username,"
        " ca_file, cert_file, key_file, topic_prefix, bridges)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " RETURNING integration_id, name, kind, url",
        10, values);
    bool sealed =
        r && (!password ||
              put_password(c, pq, tenant, PQgetvalue(r, 0, 0), password) == 0);
    PGresult *end = sealed ? db_query(pq, "COMMIT", 0, NULL) : NULL;
    if (!end) {
        PQclear(r);
        return 1;
    }
    PQclear(end);
    if (cli_get(c, a, "json"))
        table_json(r, "integrations");
    else
        printf("integration %s has id %s\n", values[1], PQgetvalue(r, 0, 0));
    PQclear(r);
    return 0;
}

int cmd_integration_add(struct cli *c)
{
    const struct cli_arg *a = integration_args;
    const char *file = cli_get(c, a, "password-file");
    char *password = NULL;

    if (check_url(cli_get(c, a, "kind"), cli_get(c, a, "url")) != 0)
        return 1;
    if (file && !(password = read_password(file)))
        return 1;
    PGconn *pq = db_open(c, DB_SERVER);
    int status = pq ? add(c, pq, password) : 1;
    PQfinish(pq);
    if (password)
        explicit_bzero(password, strlen(password));
    free(password);
    return status;
}

int cmd_integration_list(struct cli *c)
{
    const char *name = cli_get(c, integration_list_args, "tenant");
    char id[16];
    const char *values[1] = {NULL};
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;
    int32_t tenant = pq && name ? db_tenant_named(pq, name) : 0;

    if (name && tenant > 0) {
        snprintf(id, sizeof id, "%d", tenant);
        values[0] = id;
    }
    if (pq && tenant >= 0)
        r = db_query(pq,
                     "SELECT tenant_id, integration_id, name, kind, url,"
                     " topic_prefix, bridges, enabled"
                     " FROM directory_integrations()"
                     " WHERE $1::int IS NULL OR tenant_id = $1::int",
                     1, values);
    if (r && cli_get(c, integration_list_args, "json"))
        table_json(r, "integrations");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

static int change(struct cli *c, const char *sql, const char *said)
{
    const char *name = cli_get(c, integration_name_args, "name");
    const char *values[1] = {name};
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;
    int status = 1;

    if (pq &&
        db_tenant_named(pq, cli_get(c, integration_name_args, "tenant")) >= 0)
        r = db_query(pq, sql, 1, values);
    if (r && atoi(PQcmdTuples(r)) == 1) {
        printf("integration %s %s\n", name, said);
        status = 0;
    } else if (r) {
        cli_fail("no integration \"%s\" of that tenant", name);
    }
    PQclear(r);
    PQfinish(pq);
    return status;
}

int cmd_integration_enable(struct cli *c)
{
    return change(c, "UPDATE integration SET enabled = true WHERE name = $1",
                  "enabled");
}

int cmd_integration_disable(struct cli *c)
{
    return change(c, "UPDATE integration SET enabled = false WHERE name = $1",
                  "disabled");
}

int cmd_integration_remove(struct cli *c)
{
    return change(c, "DELETE FROM integration WHERE name = $1", "removed");
}
