/*
 * points.c - metering points, which meter was installed there when, and groups
 * of meters.
 */
#include "server/api/call.h"

#define ID(what)                                                               \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = what     \
    }
#define REVISION                                                               \
    {                                                                          \
        "revision", IN_BODY, FIELD_INT,                                        \
            .min = 1, .max = INT64_MAX,                                        \
            .help = "What was seen; 412 when it was changed meanwhile."        \
    }
#define POINT(needed)                                                          \
    {"moid",                                                                   \
     IN_BODY,                                                                  \
     FIELD_TEXT,                                                               \
     needed,                                                                   \
     .min = 1,                                                                 \
     .max = 64,                                                                \
     .help = "Measurement object id: the name that billing knows."},           \
        {"address", IN_BODY, FIELD_TEXT, .max = 500, .help = "Where it is."},  \
    {                                                                          \
        "note", IN_BODY, FIELD_TEXT, .max = 2000, .help = "Anything else."     \
    }

static const struct field point_list[] = {{"search", IN_QUERY, FIELD_TEXT,
                                           .max = 64,
                                           .help = "Found in MOID or address."},
                                          {0}};
static const struct field point_id[] = {ID("metering_point_id"), {0}};
static const struct field point_add[] = {POINT(true), {0}};
static const struct field point_change[] = {
    ID("metering_point_id"), POINT(false), REVISION, {0}};
static const struct field installation_list[] = {
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {"metering_point_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this point's."},
    {0}};
static const struct field installation_add[] = {
    {"metering_point_id", IN_BODY, FIELD_INT, true, .min = 1, .max = INT32_MAX,
     .help = "Where."},
    {"meter_id", IN_BODY, FIELD_INT, true, .min = 1, .max = INT32_MAX,
     .help = "Which meter."},
    {"from", IN_BODY, FIELD_TIME, .help = "Since when (now)."},
    {"note", IN_BODY, FIELD_TEXT, .max = 2000, .help = "Anything else."},
    {0}};
static const struct field installation_end[] = {
    ID("installation_id"),
    {"to", IN_BODY, FIELD_TIME, .help = "When the meter was removed (now)."},
    {"note", IN_BODY, FIELD_TEXT, .max = 2000, .help = "Anything else."},
    {0}};
#define GROUP(needed)                                                          \
    {"name",                                                                   \
     IN_BODY,                                                                  \
     FIELD_TEXT,                                                               \
     needed,                                                                   \
     .min = 1,                                                                 \
     .max = 100,                                                               \
     .help = "Its name, once a tenant."},                                      \
    {                                                                          \
        "meter_ids", IN_BODY, FIELD_LIST,                                      \
            .max = 100000, .help = "The meters in it, all of them."            \
    }
static const struct field group_id[] = {ID("group_id"), {0}};
static const struct field group_add[] = {GROUP(true), {0}};
static const struct field group_change[] = {
    ID("group_id"), GROUP(false), REVISION, {0}};

const struct endpoint point_endpoints[] = {
    {"GET", "/api/v1/metering-points", RIGHT_VIEW, 0, "points_list",
     "Metering points, by metering_point_id.", point_list,
     .list = "metering_points",
     .sql = "SELECT point_json(p), p.metering_point_id, '' FROM"
            " metering_point p WHERE p.tenant_id = $1::int"
            " AND ($2::text IS NULL OR position(lower($2) IN"
            " lower(p.moid || ' ' || p.address)) > 0)"
            " AND p.metering_point_id > coalesce($3::bigint, 0)"
            " AND ($4::text IS NULL OR true)"
            " ORDER BY p.metering_point_id LIMIT $5::int",
     .answer = "metering_point"},
    {"GET", "/api/v1/metering-points/{id}", RIGHT_VIEW, 0, "point_get",
     "One of them.", point_id,
     .sql = "SELECT point_json(p) FROM metering_point p"
            " WHERE p.tenant_id = $1::int AND p.metering_point_id = $2::int",
     .answer = "metering_point"},
    {"POST", "/api/v1/metering-points", RIGHT_EDIT_METERS, 0, "point_add",
     "A new metering point.", point_add, .call = "point_put($1, $2, NULL)",
     .status = 201, .answer = "metering_point"},
    {"PATCH", "/api/v1/metering-points/{id}", RIGHT_EDIT_METERS, 0,
     "point_change", "Changes a metering point.", point_change,
     .call = "point_put($1, $2, $3::int)", .answer = "metering_point"},
    {"DELETE", "/api/v1/metering-points/{id}", RIGHT_EDIT_METERS, 0,
     "point_remove", "Removes a metering point that never had a meter.",
     point_id, .call = "point_remove($1, $3::int)", .status = 204},

    {"GET", "/api/v1/installations", RIGHT_VIEW, 0, "installations_list",
     "Which meter was where, from when to when.", installation_list,
     .list = "installations",
     .sql = "SELECT installation_json(i), i.installation_id, '' FROM"
            " installation i WHERE i.tenant_id = $1::int"
            " AND ($2::int IS NULL OR i.meter_id = $2::int)"
            " AND ($3::int IS NULL OR i.metering_point_id = $3::int)"
            " AND i.installation_id > coalesce($4::bigint, 0)"
            " AND ($5::text IS NULL OR true)"
            " ORDER BY i.installation_id LIMIT $6::int",
     .answer = "installation"},
    {"POST", "/api/v1/installations", RIGHT_REGISTER, 0, "installation_add",
     "A meter comes to a metering point.", installation_add,
     .call = "installation_add($1, $2)", .status = 201,
     .answer = "installation"},
    {"PATCH", "/api/v1/installations/{id}", RIGHT_REGISTER, 0,
     "installation_end", "A meter leaves its metering point.", installation_end,
     .call = "installation_end($1, $2, $3::int)", .answer = "installation"},

    {"GET", "/api/v1/groups", RIGHT_VIEW, 0, "groups_list",
     "Groups of meters, by group_id.", .list = "groups",
     .sql = "SELECT group_json(g), g.group_id, '' FROM meter_group g"
            " WHERE g.tenant_id = $1::int AND g.group_id >"
            " coalesce($2::bigint, 0) AND ($3::text IS NULL OR true)"
            " ORDER BY g.group_id LIMIT $4::int",
     .answer = "group"},
    {"POST", "/api/v1/groups", RIGHT_EDIT_METERS, 0, "group_add",
     "A new group.", group_add, .call = "group_put($1, $2, NULL)",
     .status = 201, .answer = "group"},
    {"PATCH", "/api/v1/groups/{id}", RIGHT_EDIT_METERS, 0, "group_change",
     "Another name, or other meters.", group_change,
     .call = "group_put($1, $2, $3::int)", .answer = "group"},
    {"DELETE", "/api/v1/groups/{id}", RIGHT_EDIT_METERS, 0, "group_remove",
     "Removes a group; its meters stay.", group_id,
     .call = "group_remove($1, $3::int)", .status = 204},
    {0}};
