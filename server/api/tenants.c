/*
 * tenants.c - the caller's own tenant; and for the platform's operator all of
 * them.
 */
#include "server/api/call.h"

static const struct field own_fields[] = {
    {"timezone", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "IANA zone of meters that do not say theirs."},
    {"locale", IN_BODY, FIELD_TEXT, .min = 2, .max = 5,
     .help = "Language of people, such as en or de-DE."},
    {"frame_days", IN_BODY, FIELD_INT, .min = 1, .max = 3660,
     .help = "How long received frames are kept, days."},
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};
static const struct field protect_fields[] = {
    {"critical", IN_BODY, FIELD_TEXT, .one_of = "password|second_person",
     .help = "What a critical act asks of people: the password again, or "
             "another person's approval."},
    {"second_factor", IN_BODY, FIELD_BOOL,
     .help = "Its people may do nothing before they have a second factor."},
    {0}};
#define QUOTAS                                                                 \
    {"meter_quota",    IN_BODY,                                                \
     FIELD_INT,        .nullable = true,                                       \
     .max = INT32_MAX, .help = "Most meters; null: no limit."},                \
        {"codec_quota",                                                        \
         IN_BODY,                                                              \
         FIELD_INT,                                                            \
         .nullable = true,                                                     \
         .max = INT32_MAX,                                                     \
         .help = "Most payload codecs, by name; null: no limit."},             \
        {"frame_days_quota",                                                   \
         IN_BODY,                                                              \
         FIELD_INT,                                                            \
         .nullable = true,                                                     \
         .min = 1,                                                             \
         .max = 3660,                                                          \
         .help = "Most days that frames are kept; null: no limit."},           \
    {                                                                          \
        "uplinks_per_minute", IN_BODY, FIELD_INT,                              \
            .nullable = true, .max = 10000000,                                 \
            .help = "Above it its senders are slowed; null: no limit."         \
    }
static const struct field make_fields[] = {
    {"name", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 63,
     .help = "Letters, digits, '.', '_' and '-'."},
    {"timezone", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "IANA zone (UTC)."},
    {"locale", IN_BODY, FIELD_TEXT, .min = 2, .max = 5,
     .help = "Language of its people (en)."},
    QUOTAS,
    {0}};
static const struct field operate_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "tenant_id"},
    QUOTAS,
    {"suspended", IN_BODY, FIELD_BOOL,
     .help = "Its people and machines are kept out; its meters are served."},
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};

const struct endpoint tenant_endpoints[] = {
    {"GET", "/api/v1/tenant", RIGHT_VIEW, 0, "tenant_own",
     "The caller's tenant and its settings.",
     .sql = "SELECT tenant_json(t) FROM tenant t WHERE t.tenant_id = $1::int",
     .answer = "tenant"},
    {"PATCH", "/api/v1/tenant", RIGHT_SETTINGS, 0, "tenant_change",
     "Changes its settings.", own_fields, .call = "tenant_change($1, $2)",
     .answer = "tenant"},
    {"PATCH", "/api/v1/tenant/protection", RIGHT_SETTINGS, ENDPOINT_CRITICAL,
     "tenant_protect", "How it guards itself; a critical act.", protect_fields,
     .call = "tenant_protect($1, $2)", .answer = "tenant"},
    {"GET", "/api/v1/tenants", RIGHT_PLATFORM, 0, "tenants_list",
     "All tenants of the platform.", .list = "tenants",
     .sql = "SELECT * FROM tenants($2::int, $4::int)"
            " WHERE $1::int = 0 AND ($3::text IS NULL OR true)",
     .answer = "tenant_counted"},
    {"POST", "/api/v1/tenants", RIGHT_PLATFORM, 0, "tenant_make",
     "Makes a tenant.", make_fields, .call = "tenant_make($2)", .status = 201,
     .answer = "tenant"},
    {"PATCH", "/api/v1/tenants/{id}", RIGHT_PLATFORM, 0, "tenant_operate",
     "Quotas and suspension of a tenant.", operate_fields,
     .call = "tenant_operate($2, $3::int)", .answer = "tenant"},
    {0}};
