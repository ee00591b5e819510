/*
 * signup.c - self-service: somebody asks for a tenant, the platform's operator
 * decides. No mail is sent: the operator gets the first password and hands it
 * on. Off unless signup.open says otherwise.
 */
#include "server/api/gate.h"

static void take_json(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

static void asked(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        call_answer(c, c->found);
}

static void signup_serve(struct call *c)
{
    if (c->api->deps.signup)
        call_ask(c, "SELECT signup_ask($1::jsonb)", 1,
                 (const char *const[]){c->body_text.p}, take_json, asked, c);
    else
        http_problem(c->r, 403, NULL,
                     "Nobody may sign up here; ask the operator.");
}

static const struct field ask_fields[] = {
    {"tenant", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 63,
     .help = "The name of the tenant: letters, digits, '.', '_' and '-'."},
    {"email", IN_BODY, FIELD_TEXT, true, .min = 3, .max = 254,
     .help = "The address of its first admin."},
    {"name", IN_BODY, FIELD_TEXT, .max = 100, .help = "The admin's name."},
    {"timezone", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "IANA zone of its meters (UTC)."},
    {0}};
static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "signup_id"},
    {0}};

const struct endpoint signup_endpoints[] = {
    {"POST", "/api/v1/signup", 0, ENDPOINT_PUBLIC, "signup",
     "Asks for a tenant; its operator decides.", ask_fields,
     .serve = signup_serve, .status = 202, .answer = "signup_asked"},
    {"GET", "/api/v1/signups", RIGHT_PLATFORM, 0, "signups_list",
     "Who asks for a tenant.", .list = "signups",
     .sql = "SELECT * FROM signups($2::int, $4::int)"
            " WHERE $1::int = 0 AND ($3::text IS NULL OR true)",
     .answer = "signup"},
    {"POST", "/api/v1/signups/{id}/approve", RIGHT_PLATFORM, ENDPOINT_ONCE,
     "signup_approve",
     "Makes the tenant and its first admin, whose password is shown once.",
     id_fields, .serve = invite_serve,
     .sql = "signup_approve($1::int, $2::int, $3, $4)", .shown = "password",
     .status = 201, .answer = "signup_approved"},
    {"DELETE", "/api/v1/signups/{id}", RIGHT_PLATFORM, 0, "signup_refuse",
     "Refuses it.", id_fields, .call = "signup_refuse($1, $3::int)",
     .status = 204},
    {0}};
