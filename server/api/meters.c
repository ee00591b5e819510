/*
 * meters.c - meters: found, registered one by one or many at once, changed;
 * their registers, and what these counted in hours, days and months.
 */
#include "server/api/call.h"

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

static const struct field search_fields[] = {
    {"serial", IN_QUERY, FIELD_TEXT, .max = 64, .help = "Only this serial."},
    {"search", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Found in serial, name or DevEUI."},
    {"model", IN_QUERY, FIELD_TEXT, .max = 100, .help = "Only this model."},
    {"state", IN_QUERY, FIELD_TEXT, .one_of = "registered|in_service|removed",
     .help = "Only this state."},
    {"medium", IN_QUERY, FIELD_TEXT, .max = 32, .help = "Only this medium."},
    {"group_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this group's."},
    {0}};
static const struct field id_fields[] = {ID, {0}};
static const struct field add_fields[] = {
    {"serial", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 64,
     .help = "As on its label."},
    {"model", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 100,
     .help = "Name of a model of the tenant."},
    {"dev_eui", IN_BODY, FIELD_TEXT, .min = 16, .max = 32,
     .help = "LoRaWAN DevEUI, 16 hex digits."},
    TEXTS,
    {0}};
static const struct field change_fields[] = {
    ID,
    {"state", IN_BODY, FIELD_TEXT, .one_of = "registered|in_service|removed",
     .help = "Where it stands in its life."},
    TEXTS,
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};
static const struct field import_fields[] = {
    {"meters", IN_BODY, FIELD_LIST, true, .min = 1, .max = 10000,
     .help = "Objects as for one meter: serial, model, dev_eui ..."},
    {"dry_run", IN_BODY, FIELD_BOOL,
     .help = "Only tell what would become of each."},
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
     "Meters, by meter_id.", search_fields, .list = "meters",
     .sql = "SELECT * FROM meter_search($1::int, $2, $3, $4, $5, $6, $7::int,"
            " $8::bigint, $10::int) WHERE $9::text IS NULL OR true",
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
    {"POST", "/api/v1/meters/import", RIGHT_REGISTER, 0, "meters_import",
     "Registers many, with a result for each row.", import_fields,
     .call = "meter_import($1, $2)", .answer = "meters_imported"},
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
