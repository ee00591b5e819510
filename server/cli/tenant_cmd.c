/*
 * tenant_cmd.c - headend tenant add | list | set, headend api-key add | list |
 * remove.
 */
#include "server/base/hex.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "server/tls/client.h"
#include "timesvc/zone.h"
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg list_args[] = {{"json", NULL, false, "print JSON"}, {0}};
const struct cli_arg api_key_add_args[] = {
    {"name", "TEXT", false, "what it is for (default: cli)"},
    {"rights", "LIST", false,
     "comma-separated, such as view,export (default: all of a tenant's)"},
    {"critical", NULL, false, "it may do critical acts, and nobody is asked"},
    {"certificate", "FILE", false,
     "the machine is known by this certificate (PEM), of http.client_ca"},
    {"certificate-subject", "NAME", false,
     "or by whichever has this subject, as in CN=billing,O=Utility"},
    {"secret", NULL, false, "with a certificate: a key must come as well"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg api_key_list_args[] = {{"json", NULL, false, "print JSON"},
                                            {0}};
const struct cli_arg tenant_add_args[] = {
    {"timezone", "ZONE", false,
     "IANA zone of meters that do not say theirs (default UTC)"},
    {"json", NULL, false, "print JSON"},
    {0}};

const struct cli_arg tenant_set_args[] = {
    {"uplinks-per-minute", "N", false,
     "above it the tenant's senders are slowed; 0: no limit"},
    {"meters", "N", false, "most meters; none: no limit"},
    {"codecs", "N", false, "most payload codecs, by name; none: no limit"},
    {"frame-days", "N", false,
     "most days that its received frames are kept; none: no limit"},
    {"hand-slots", "yes|no", false,
     "tell meters their contact slot, where they understand it"},
    {"contact-window", "MINUTES", false,
     "meters report once in each; a divisor of 1440 (default 60)"},
    {"unprotected", "accept|refuse", false,
     "telegrams in clear under a header that announces encryption"},
    {0}};

enum { KEY_BYTES = 24, KEY_TEXT = 4 + 2 * KEY_BYTES + 1, PREFIX = 12 };

/* What a machine is known by, and what it may do. */
struct machine {
    const char *name, *rights; /* NULL: all of a tenant's */
    bool critical;
    const char *subject; /* of its certificate, or NULL */
    char sha256[TLS_FINGERPRINT];
    bool secret;        /* it has a key */
    char key[KEY_TEXT]; /* "hdk_" and 192 random bits; only its hash is kept */
};

static void key_make(struct machine *m, char hex[65], char prefix[PREFIX + 1])
{
    unsigned char random[KEY_BYTES], hash[32];

    randombytes_buf(random, sizeof random);
    memcpy(m->key, "hdk_", 4);
    hex_encode(random, sizeof random, m->key + 4);
    snprintf(prefix, PREFIX + 1, "%.*s", PREFIX, m->key);
    crypto_generichash(hash, sizeof hash, (unsigned char *)m->key,
                       strlen(m->key), NULL, 0);
    hex_encode(hash, sizeof hash, hex);
}

static int machine_add(PGconn *pq, int32_t tenant, struct machine *m)
{
    static const char sql[] =
        "INSERT INTO api_key (tenant_id, name, prefix, hash, rights,"
        " created_by, critical, certificate_sha256, certificate_subject)"
        " VALUES ($1, $2, $3, $4, right_bits(CASE WHEN $5::text IS NULL THEN"
        " array_remove(right_list(), 'platform') ELSE string_to_array($5, ',')"
        " END), current_setting('headend.actor', true), $6, $7, $8)";
    char hex[65], id[16], prefix[PREFIX + 1] = "";
    const char *values[8] = {id,        m->name,
                             prefix,    m->secret ? hex : NULL,
                             m->rights, m->critical ? "true" : "false",
                             m->sha256, m->subject};

    if (sodium_init() < 0)
        return cli_fail("no source of random numbers");
    if (m->secret)
        key_make(m, hex, prefix);
    if (!*m->sha256)
        values[6] = NULL;
    snprintf(id, sizeof id, "%d", tenant);
    PGresult *r = db_query(pq, sql, 8, values);
    PQclear(r);
    return r ? 0 : 1;
}

static void print_key(const char *name, int32_t tenant, const char *key,
                      bool json)
{
    if (json)
        printf("{\"tenant\":\"%s\",\"tenant_id\":%d,\"api_key\":%s%s%s}\n",
               name, tenant, *key ? "\"" : "", *key ? key : "null",
               *key ? "\"" : "");
    else if (*key)
        printf("tenant %s has id %d\nAPI key (shown once): %s\n", name, tenant,
               key);
    else
        printf("tenant %s has id %d; the certificate is the key, with X-Tenant:"
               " %s\n",
               name, tenant, name);
}

int cmd_tenant_add(struct cli *c)
{
    const char *zone = cli_get(c, tenant_add_args, "timezone");
    const char *values[2] = {c->free[0], zone ? zone : "UTC"};
    struct machine m = {.name = "cli", .secret = true};

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
        status = db_tenant(pq, tenant) == 0 ? machine_add(pq, tenant, &m) : 1;
        PGresult *end = status == 0 ? db_query(pq, "COMMIT", 0, NULL) : NULL;
        if (end)
            print_key(c->free[0], tenant, m.key,
                      cli_get(c, tenant_add_args, "json") != NULL);
        status = end ? 0 : 1;
        PQclear(end);
    }
    PQclear(r);
    PQfinish(pq);
    return status;
}

static int set_rate(PGconn *pq, const char *tenant, const char *text)
{
    const char *values[2] = {tenant, text};
    char *end;
    long n = strtol(text, &end, 10);

    if (!*text || *end || n < 0 || n > 10000000)
        return cli_fail("--uplinks-per-minute %s: it takes 0 to 10000000",
                        text);
    PGresult *r = db_query(pq, "SELECT tenant_quota($1, $2)", 2, values);
    if (r && n > 0)
        printf("tenant %s may send %ld uplinks a minute\n", tenant, n);
    else if (r)
        printf("tenant %s may send without limit\n", tenant);
    PQclear(r);
    return r ? 0 : 1;
}

/* One of the two may be NULL. */
/* One of the quotas, by its name in JSON. */
static int set_quota(PGconn *pq, int32_t tenant, const char *name,
                     const char *text)
{
    char id[16], body[128];
    const char *values[2] = {id, body};
    char *end;
    bool none = strcmp(text, "none") == 0;
    long n = none ? 0 : strtol(text, &end, 10);

    if (!none && (!*text || *end || n < 0 || n > INT32_MAX))
        return cli_fail("%s: it takes a number, or none; not %s", name, text);
    snprintf(id, sizeof id, "%d", tenant);
    snprintf(body, sizeof body, none ? "{\"%s\": null}" : "{\"%s\": %ld}", name,
             n);
    PGresult *r = db_query(pq, "SELECT tenant_quotas($1, $2)", 2, values);
    if (r)
        printf("tenant %d: %s = %s\n", tenant, name, text);
    PQclear(r);
    return r ? 0 : 1;
}

static int set_contacts(PGconn *pq, const char *tenant, const char *hand,
                        const char *window)
{
    static const char sql[] =
        "SELECT contact_plan_change(t.tenant_id, jsonb_strip_nulls("
        "jsonb_build_object('hand_slots', $1::boolean, 'window_min',"
        " $2::int))) FROM tenant t";
    const char *values[2] = {hand, window};
    int minutes = window ? atoi(window) : 60;

    if (hand && strcmp(hand, "yes") != 0 && strcmp(hand, "no") != 0)
        return cli_fail("--hand-slots %s: yes or no", hand);
    if (minutes < 1 || 1440 % minutes)
        return cli_fail("--contact-window %s: minutes, of which a day is a"
                        " whole number: 15, 60, 1440",
                        window);
    PGresult *r = db_query(pq, sql, 2, values);
    if (r && hand)
        printf("tenant %s: contact slots handed over: %s\n", tenant, hand);
    if (r && window)
        printf("tenant %s: meters report every %d minutes\n", tenant, minutes);
    PQclear(r);
    return r ? 0 : 1;
}

static int set_unprotected(PGconn *pq, const char *tenant, const char *text)
{
    if (strcmp(text, "accept") != 0 && strcmp(text, "refuse") != 0)
        return cli_fail("--unprotected %s: accept or refuse", text);
    PGresult *r = db_query(pq, "UPDATE tenant SET unprotected = $1", 1, &text);
    if (r)
        printf("tenant %s: unprotected telegrams: %s\n", tenant, text);
    PQclear(r);
    return r ? 0 : 1;
}

int cmd_tenant_set(struct cli *c)
{
    static const struct {
        const char *option, *name;
    } quotas[] = {{"meters", "meter_quota"},
                  {"codecs", "codec_quota"},
                  {"frame-days", "frame_days_quota"}};
    const char *rate = cli_get(c, tenant_set_args, "uplinks-per-minute");
    const char *unprotected = cli_get(c, tenant_set_args, "unprotected");
    const char *hand_slots = cli_get(c, tenant_set_args, "hand-slots");
    const char *window = cli_get(c, tenant_set_args, "contact-window");
    const char *said = NULL;

    for (const struct cli_arg *a = tenant_set_args; a->name && !said; a++)
        said = cli_get(c, tenant_set_args, a->name);
    if (!said)
        return cli_fail("say what: `headend help tenant set` lists it");
    PGconn *pq = db_open(c, DB_SERVER);
    int32_t tenant = pq ? db_tenant_named(pq, c->free[0]) : -1;
    int status = tenant < 0;
    if (status == 0 && rate)
        status = set_rate(pq, c->free[0], rate);
    for (int i = 0; status == 0 && i < 3; i++)
        if ((said = cli_get(c, tenant_set_args, quotas[i].option)))
            status = set_quota(pq, tenant, quotas[i].name, said);
    if (status == 0 && unprotected)
        status = set_unprotected(pq, c->free[0], unprotected);
    if (status == 0 && (hand_slots || window))
        status = set_contacts(pq, c->free[0], hand_slots, window);
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

static int read_certificate(const char *path, struct machine *m)
{
    struct tls_client found;
    char text[32 * 1024];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text, f) : 0;

    if (f)
        fclose(f);
    if (!f)
        return cli_fail("--certificate %s: %s", path, strerror(errno));
    if (tls_client_told((struct str){text, n}, &found) < 0 || !*found.subject)
        return cli_fail("--certificate %s: no certificate (PEM)", path);
    memcpy(m->sha256, found.sha256, sizeof m->sha256);
    return 0;
}

int cmd_api_key_add(struct cli *c)
{
    const char *name = cli_get(c, api_key_add_args, "name");
    const char *certificate = cli_get(c, api_key_add_args, "certificate");
    struct machine m = {
        .name = name ? name : "cli",
        .rights = cli_get(c, api_key_add_args, "rights"),
        .critical = cli_get(c, api_key_add_args, "critical") != NULL,
        .subject = cli_get(c, api_key_add_args, "certificate-subject"),
        .secret = cli_get(c, api_key_add_args, "secret") != NULL};

    m.secret = m.secret || !(certificate || m.subject);
    if (certificate && read_certificate(certificate, &m) != 0)
        return 1;
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int32_t tenant = db_tenant_named(pq, c->free[0]);
    int status = tenant < 0 ? 1 : machine_add(pq, tenant, &m);
    if (status == 0)
        print_key(c->free[0], tenant, m.key,
                  cli_get(c, api_key_add_args, "json") != NULL);
    PQfinish(pq);
    return status;
}

int cmd_api_key_list(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int32_t tenant = db_tenant_named(pq, c->free[0]);
    PGresult *r =
        tenant < 0
            ? NULL
            : db_query(pq,
                       "SELECT api_key_id, name, prefix,"
                       " array_to_string(right_names(rights), ',') AS rights,"
                       " critical, certificate_sha256, certificate_subject,"
                       " expires_at, last_used_at FROM api_key"
                       " ORDER BY api_key_id",
                       0, NULL);
    if (r && cli_get(c, api_key_list_args, "json"))
        table_json(r, "api_keys");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_api_key_remove(struct cli *c)
{
    const char *values[1] = {c->free[1]};
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    PGresult *r =
        db_tenant_named(pq, c->free[0]) < 0
            ? NULL
            : db_query(pq, "DELETE FROM api_key WHERE api_key_id = $1::int", 1,
                       values);
    int status = r && atoi(PQcmdTuples(r)) == 1 ? 0 : 1;
    if (r && status)
        cli_fail("tenant %s has no API key %s", c->free[0], c->free[1]);
    PQclear(r);
    PQfinish(pq);
    return status;
}
