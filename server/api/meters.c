/*
 * meters.c - meters: found, registered one by one or many at once, changed;
 * their registers, and what these counted in hours, days and months.
 */
#include "server/api/call.h"
#include "server/base/csv.h"
#include "server/store/meter.h"

#include <stdio.h>

#define ID                                                                     \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,                  \
                                  .help = "meter_id"                           \
    }
#define TEXTS                                                                  \
    {"timezone",                                                               \
     IN_BODY,                                                                  \
     FIELD_TEXT,                                                               \
     .nullable = true,                                                         \
     .min = 1,                                                                 \
     .max = 64,                                                                \
     .help = "IANA zone of its clock; null: the tenant's."},                   \
        {"name", IN_BODY, FIELD_TEXT, .max = 200,                              \
         .help = "What people call it."},                                      \
        {"note", IN_BODY, FIELD_TEXT, .max = 2000, .help = "Anything else."},  \
    {                                                                          \
        "verification_due", IN_BODY, FIELD_TEXT,                               \
            .nullable = true, .min = 10, .max = 10,                            \
            .help = "When it must be verified next, 2032-12-11."               \
    }

enum { IMPORT_MOST = 10000 };

/* The rows of the body as JSON; false after a refusal. */
static bool import_rows(struct call *c, struct buf *rows)
{
    struct str text = arena_str(http_arena(c->r), c->body_text); /* eaten */
    char error[CSV_ERROR];

    if (c->body)
        json_write(rows, json_get(c->body, "meters"));
    else if (!text.p || csv_json((char *)text.p, meter_columns, METER_COLUMNS,
                                 IMPORT_MOST, rows, error) < 0) {
        http_problem(c->r, 422, NULL, "The file cannot be read: %s.",
                     text.p ? error : "it is too long");
        return false;
    }
    buf_u8(rows, 0);
    return true;
}

static void meters_import(struct call *c)
{
    bool dry = json_bool(json_get(c->body, "dry_run"), false) ||
               (c->values[0] && *c->values[0] == 't');
    struct buf rows = {0};
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (import_rows(c, &rows))
        call_do(c, "meter_import($1::int, $2::jsonb, $3, $4::boolean)", 4,
                (const char *const[]){tenant, (char *)rows.p, c->values[1],
                                      dry ? "true" : "false"});
    buf_done(&rows);
}

static const struct field search_fields[] = {
    {"serial", IN_QUERY, FIELD_TEXT, .max = 64, .help = "Only this serial."},
    {"search", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Found in serial, name or DevEUI."},
    {"model", IN_QUERY, FIELD_TEXT, .max = 100, .help = "Only this model."},
    {"state", IN_QUERY, FIELD_TEXT,
     .one_of = "registered|in_service|passive|removed",
     .help = "Only this state."},
    {"medium", IN_QUERY, FIELD_TEXT, .max = 32, .help = "Only this medium."},
    {"group_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this group's."},
    {"passive", IN_QUERY, FIELD_BOOL, .help = "Passive ones too (false)."},
    {"sort", IN_QUERY, FIELD_TEXT,
     .one_of = "meter_id|-meter_id|serial|-serial|name|-name|created_at"
               "|-created_at",
     .help = "In which order; with '-' downwards (meter_id)."},
    {0}};
static const struct field id_fields[] = {ID, {0}};
static const struct field add_fields[] = {
    {"serial", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "As on its label; or the DevEUI of a passport."},
    {"model", IN_BODY, FIELD_TEXT, .min = 1, .max = 100,
     .help = "Name of a model of the tenant; else its passport's."},
    {"dev_eui", IN_BODY, FIELD_TEXT, .min = 16, .max = 32,
     .help = "LoRaWAN DevEUI, 16 hex digits; else its passport's."},
    {"despite_passport", IN_BODY, FIELD_BOOL,
     .help = "Also where its passport says otherwise (false)."},
    TEXTS,
    {0}};
static const struct field change_fields[] = {
    ID,
    {"state", IN_BODY, FIELD_TEXT,
     .one_of = "registered|in_service|passive|removed",
     .help = "Where it stands in its life; passive: not shown unless asked "
             "for."},
    TEXTS,
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};
static const struct field import_fields[] = {
    {"dry_run", IN_QUERY, FIELD_BOOL,
     .help = "Only tell what would become of each."},
    {"model", IN_QUERY, FIELD_TEXT, .min = 1, .max = 100,
     .help = "Of rows that name none."},
    {"meters", IN_BODY, FIELD_LIST, true, .min = 1, .max = IMPORT_MOST,
     .help = "Objects with the columns of the CSV: serial, model, dev_eui, "
             "timezone, name, note, verification_due, state; of meters on an "
             "M-Bus also secondary_address, baud_rate, addressing_mode, "
             "primary_address, enhanced_address."},
    {"dry_run", IN_BODY, FIELD_BOOL,
     .help = "Only tell what would become of each."},
    {0}};
static const struct field accept_fields[] = {
    ID,
    {"reason", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 500,
     .help = "Why, for those who ask later."},
    {0}};
static const struct field sums_fields[] = {
    ID,
    {"register", IN_QUERY, FIELD_TEXT, .max = 32,
     .help = "OBIS code, such as 6-0:1.0.0."},
    {"by", IN_QUERY, FIELD_TEXT, .one_of = "hour|day|month",
     .help = "Periods of the meter's local time."},
    {"from", IN_QUERY, FIELD_TIME, .help = "Within the first period."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {0}};

const struct endpoint meter_endpoints[] = {
    {"GET", "/api/v1/meters", RIGHT_VIEW, 0, "meters_list",
     "Meters; their CSV can be imported again.", search_fields,
     .list = "meters",
     .sql = "SELECT * FROM meter_search($1::int, $2, $3, $4, $5, $6, $7::int,"
            " $8::boolean, $9, $10::bigint, $12::int)"
            " WHERE $11::text IS NULL OR true",
     .csv = "serial,model,dev_eui,timezone,name,note,verification_due,state,"
            "mbus.secondary_address,mbus.baud_rate,mbus.addressing_mode,"
            "mbus.primary_address,mbus.enhanced_address",
     .answer = "meter"},
    {"GET", "/api/v1/meters/{id}", RIGHT_VIEW, 0, "meter_get", "One meter.",
     id_fields,
     .sql = "SELECT meter_json(m) FROM meter m"
            " WHERE m.tenant_id = $1::int AND m.meter_id = $2::int",
     .answer = "meter"},
    {"POST", "/api/v1/meters", RIGHT_REGISTER, 0, "meter_add",
     "Registers a meter; the very same again changes nothing.", add_fields,
     .call = "meter_register($1, $2)", .status = 201, .answer = "meter_added"},
    {"PATCH", "/api/v1/meters/{id}", RIGHT_EDIT_METERS, 0, "meter_change",
     "Changes what people keep about a meter.", change_fields,
     .call = "meter_change($1, $2, $3::int)", .answer = "meter"},
    {"POST", "/api/v1/meters/import", RIGHT_REGISTER,
     ENDPOINT_ONCE | ENDPOINT_CSV, "meters_import",
     "Registers many, with a result for each row; JSON or CSV.", import_fields,
     .serve = meters_import, .answer = "meters_imported"},
    {"GET", "/api/v1/meters/{id}/conformity", RIGHT_VIEW, 0, "conformity_get",
     "Whether it keeps what its passport says.", id_fields,
     .sql = "SELECT meter_conformity($1::int, $2::int)",
     .answer = "conformity"},
    {"POST", "/api/v1/meters/{id}/conformity/accept", RIGHT_KEYS,
     ENDPOINT_CRITICAL, "conformity_accept",
     "Takes the differences from its passport upon oneself.", accept_fields,
     .call = "conformity_accept($1, $2, $3::int)", .answer = "conformity"},
    {"GET", "/api/v1/meters/{id}/registers", RIGHT_VIEW, 0, "registers_get",
     "The newest value of each of its registers.", id_fields,
     .sql = "SELECT meter_registers($1::int, $2::int)", .answer = "registers"},
    {"GET", "/api/v1/meters/{id}/sums", RIGHT_VIEW, 0, "sums_get",
     "What a register counted in each hour, day or month; gaps are gaps.",
     sums_fields,
     .sql = "SELECT meter_sums($1::int, $2::int, $3, $4, $5::timestamptz,"
            " $6::timestamptz)",
     .answer = "sums"},
    {0}};
