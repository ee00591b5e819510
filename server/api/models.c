/*
 * models.c - meter models: who made them, which codec reads them.
 */
#include "server/api/call.h"

#define FIELDS(needed)                                                         \
    {"name",                                                                   \
     IN_BODY,                                                                  \
     FIELD_TEXT,                                                               \
     needed,                                                                   \
     .min = 1,                                                                 \
     .max = 100,                                                               \
     .help = "Its name, once a tenant."},                                      \
        {"codec",                                                              \
         IN_BODY,                                                              \
         FIELD_TEXT,                                                           \
         needed,                                                               \
         .min = 1,                                                             \
         .max = 64,                                                            \
         .help = "Which codec decodes it (headend codecs list)."},             \
        {"maker", IN_BODY, FIELD_TEXT, .max = 100, .help = "Who made it."},    \
        {"medium", IN_BODY,   FIELD_TEXT,                                      \
         .min = 1, .max = 32, .help = "heat, water, gas, electricity ..."},    \
        {"gtin",                                                               \
         IN_BODY,                                                              \
         FIELD_TEXT,                                                           \
         .nullable = true,                                                     \
         .min = 14,                                                            \
         .max = 14,                                                            \
         .help = "GTIN-14 of its barcode."},                                   \
    {                                                                          \
        "verification_months", IN_BODY, FIELD_INT,                             \
            .nullable = true, .min = 1, .max = 600,                            \
            .help = "How often it must be verified."                           \
    }

static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "model_id"},
    {0}};
static const struct field add_fields[] = {FIELDS(true), {0}};
static const struct field change_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "model_id"},
    FIELDS(false),
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};

const struct endpoint model_endpoints[] = {
    {"GET", "/api/v1/models", RIGHT_VIEW, 0, "models_list",
     "Meter models, by model_id.", .list = "models",
     .sql = "SELECT model_json(m), m.model_id, '' FROM meter_model m"
            " WHERE m.tenant_id = $1::int AND m.model_id >"
            " coalesce($2::bigint, 0) AND ($3::text IS NULL OR true)"
            " ORDER BY m.model_id LIMIT $4::int",
     .answer = "model"},
    {"GET", "/api/v1/models/{id}", RIGHT_VIEW, 0, "model_get", "One of them.",
     id_fields,
     .sql = "SELECT model_json(m) FROM meter_model m"
            " WHERE m.tenant_id = $1::int AND m.model_id = $2::int",
     .answer = "model"},
    {"POST", "/api/v1/models", RIGHT_CODECS, 0, "model_add", "A new model.",
     add_fields, .call = "model_put($1, $2, NULL)", .status = 201,
     .answer = "model"},
    {"PATCH", "/api/v1/models/{id}", RIGHT_CODECS, 0, "model_change",
     "Changes a model; another codec counts for what arrives from then on.",
     change_fields, .call = "model_put($1, $2, $3::int)", .answer = "model"},
    {0}};
