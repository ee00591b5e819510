/*
 * approvals.c - critical acts that wait for a second person: the request as it
 * came, kept until somebody else with the same right decides.
 *   approval_ask -> 202, or (approved before) call_run
 *   approve_serve -> looked -> the act itself, in the transaction that marks
 *   it. An act that shows something (no `call`) is only marked: who asked sends
 *   the request again and is shown it.
 */
#include "server/api/call.h"

#include <stdio.h>

/* ---- asking ---- */

struct asking {
    struct call *call;
    bool passes;
};

static void ask_row(void *arg, const PGresult *res, int row)
{
    struct asking *a = arg;
    struct call *c = a->call;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
    a->passes = str_is(column_str(res, row, 1), "t");
}

static void asked(void *arg, const struct pg_outcome *o)
{
    struct asking *a = arg;
    struct call *c = a->call;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (a->passes)
        call_run(c);
    else
        http_reply(c->r, 202, "application/json", c->found);
}

bool approval_needed(const struct call *c)
{
    return (c->endpoint->flags & ENDPOINT_CRITICAL) && c->who.account_id &&
           c->who.second_person;
}

void approval_ask(struct call *c)
{
    struct asking *a = arena_alloc(http_arena(c->r), sizeof *a);
    char tenant[16], account[16], right[16];

    a->call = c;
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    snprintf(account, sizeof account, "%d", c->who.account_id);
    snprintf(right, sizeof right, "%u", c->endpoint->right);
    call_ask(c,
             "SELECT * FROM approval_ask($1::int, $2::int, $3, $4, $5::int, $6,"
             " $7, $8::jsonb)",
             8,
             (const char *const[]){tenant, account, c->endpoint->name,
                                   c->endpoint->title, right, c->values[0],
                                   c->values[1], c->body_text.p},
             ask_row, asked, a);
}

/* ---- deciding ---- */

struct deciding {
    struct call *call;
    const struct binding *binding; /* of the act */
    const char *path[ENDPOINT_PATH_FIELDS], *body;
    char tenant[16], account[16];
};

static const char *text_of(struct call *c, const PGresult *res, int row, int i)
{
    struct str s = column_str(res, row, i);

    return s.p ? arena_str(http_arena(c->r), s).p : NULL;
}

static void kept_row(void *arg, const PGresult *res, int row)
{
    struct deciding *d = arg;
    struct api *a = d->call->api;
    struct str name = column_str(res, row, 0);

    for (int i = 0; i < a->n_bindings; i++)
        if (str_is(name, a->bindings[i].endpoint->name))
            d->binding = &a->bindings[i];
    for (int i = 0; i < ENDPOINT_PATH_FIELDS; i++)
        d->path[i] = text_of(d->call, res, row, 1 + i);
    d->body = text_of(d->call, res, row, 1 + ENDPOINT_PATH_FIELDS);
    text_of(d->call, res, row, 0);
    snprintf(d->call->who.actor + strlen(d->call->who.actor),
             sizeof d->call->who.actor - strlen(d->call->who.actor),
             " (asked by %.*s)",
             STR_ARGS(column_str(res, row, 2 + ENDPOINT_PATH_FIELDS)));
}

static void decided_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

static void decided(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        call_answer(c, c->found);
}

static void kept_read(void *arg, const struct pg_outcome *o)
{
    static const char mark[] =
        "SELECT approval_result($1::int, $5::int, NULL) FROM (SELECT $2::text,"
        " $3::text, $4::text) p WHERE approval_take($1::int, $5::int, $6::int,"
        " 'approved')";
    struct deciding *d = arg;
    struct call *c = d->call;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (!d->binding)
        call_none(c);
    else
        call_ask(c, d->binding->approved ? d->binding->approved : mark, 6,
                 (const char *const[]){d->tenant, d->body, d->path[0],
                                       d->path[1], c->values[0], d->account},
                 decided_row, decided, c);
}

static void approve_serve(struct call *c)
{
    struct deciding *d = arena_alloc(http_arena(c->r), sizeof *d);

    d->call = c;
    snprintf(d->tenant, sizeof d->tenant, "%d", c->tenant_id);
    snprintf(d->account, sizeof d->account, "%d", c->who.account_id);
    call_ask(c,
             "SELECT a.operation, a.path[1], a.path[2], a.body, a.asked_actor"
             " FROM approval a WHERE a.tenant_id = $1::int"
             " AND a.approval_id = $2::int",
             2, (const char *const[]){d->tenant, c->values[0]}, kept_row,
             kept_read, d);
}

static void reject_serve(struct call *c)
{
    char tenant[16], account[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    snprintf(account, sizeof account, "%d", c->who.account_id);
    call_ask(c,
             "SELECT approval_result($1::int, $2::int, NULL)"
             " WHERE approval_take($1::int, $2::int, $3::int, 'rejected')",
             3, (const char *const[]){tenant, c->values[0], account},
             decided_row, decided, c);
}

/* ---- the rows ---- */

#define SEEN                                                                   \
    " FROM approval a WHERE a.tenant_id = $1::int AND approval_shown(a)"

static const struct field list_fields[] = {
    {"state", IN_QUERY, FIELD_TEXT,
     .one_of = "waiting|approved|rejected|done|expired",
     .help = "Only those in this state."},
    {0}};
static const struct field id_fields[] = {{"id", IN_PATH, FIELD_INT, .min = 1,
                                          .max = INT32_MAX,
                                          .help = "approval_id"},
                                         {0}};

const struct endpoint approval_endpoints[] = {
    {"GET", "/api/v1/approvals", 0, ENDPOINT_ANYBODY, "approvals_list",
     "Critical acts that wait, or waited, for a second person; one's own and "
     "those that one may approve.",
     list_fields, .list = "approvals",
     .sql = "SELECT approval_json(a), a.approval_id, ''" SEEN
            " AND ($2::text IS NULL OR approval_state(a) = $2)"
            " AND a.approval_id > coalesce($3::bigint, 0)"
            " AND ($4::text IS NULL OR true)"
            " ORDER BY a.approval_id LIMIT $5::int",
     .answer = "approval"},
    {"GET", "/api/v1/approvals/{id}", 0, ENDPOINT_ANYBODY, "approval_get",
     "One of them.", id_fields,
     .sql = "SELECT approval_json(a)" SEEN " AND a.approval_id = $2::int",
     .answer = "approval"},
    {"POST", "/api/v1/approvals/{id}/approve", 0, ENDPOINT_ANYBODY,
     "approval_approve",
     "Does it, in the name of both; what it would show is shown to who asked, "
     "when he sends it again.",
     id_fields, .serve = approve_serve, .answer = "approval_decided"},
    {"POST", "/api/v1/approvals/{id}/reject", 0, ENDPOINT_ANYBODY,
     "approval_reject", "Refuses it; who asked may take it back so.", id_fields,
     .serve = reject_serve, .answer = "approval_decided"},
    {0}};
