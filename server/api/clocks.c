/*
 * clocks.c - clocks of meters: one, the fleet, corrections and their approval,
 * policies, and when meters report.
 */
#include "server/api/call.h"

static const struct field meter_id[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "meter_id"},
    {0}};
static const struct field correction_id[] = {{"id", IN_PATH, FIELD_INT,
                                              .min = 1, .max = INT64_MAX,
                                              .help = "correction_id"},
                                             {0}};
static const struct field correction_fields[] = {
    {"state", IN_QUERY, FIELD_TEXT, .max = 16,
     .one_of = "approval|approved|sent|verified|failed|rejected",
     .help = "Only those in this state."},
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {0}};
static const struct field policy_fields[] = {
    {"model_id", IN_PATH, FIELD_INT, .min = 0, .max = INT32_MAX,
     .help = "A meter model; 0: all that have no policy of their own."},
    {"owner", IN_BODY, FIELD_TEXT, .max = 8, .one_of = "server|device|nobody",
     .help = "Who sets these clocks."},
    {"accepted_s", IN_BODY, FIELD_INT, .min = 1, .max = 86400,
     .help = "A difference from here on is corrected (60)."},
    {"step_s", IN_BODY, FIELD_INT, .min = 1, .max = 86400,
     .help = "Most that one correction moves a clock (900)."},
    {"approve_s", IN_BODY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Beyond this a person decides (1800)."},
    {"per_day", IN_BODY, FIELD_INT, .min = 0, .max = 96,
     .help = "Corrections in 24 hours (4)."},
    {"guard_s", IN_BODY, FIELD_INT, .min = 0, .max = 21600,
     .help = "Never nearer to an edge of the interval (30)."},
    {"day_guard_s", IN_BODY, FIELD_INT, .min = 0, .max = 21600,
     .help = "Never nearer to midnight of the meter's zone (120)."},
    {"patience_s", IN_BODY, FIELD_INT, .min = 0, .max = INT32_MAX,
     .help = "How long to wait for a moment without an edge between (172800)."},
    {"interval_s", IN_BODY, FIELD_INT, .min = 0, .max = 86400,
     .help = "The meter's readings are made at edges of this; 0: at any time."},
    {"slew_ppm", IN_BODY, FIELD_INT, .min = 0, .max = 100000,
     .help = "The device can be slowed or hurried by this; 0: not."},
    {"period", IN_BODY, FIELD_INT, .nullable = true, .min = 0, .max = 15,
     .help = "TS003: the device asks every 128 * 2^period s."},
    {0}};

static const struct field plan_fields[] = {
    {"window_min", IN_BODY, FIELD_INT, .min = 1, .max = 1440,
     .help = "Meters report once in each; a divisor of 1440 (60)."},
    {"hand_slots", IN_BODY, FIELD_BOOL,
     .help = "Meters are told their slots, where they understand it (no)."},
    {0}};

const struct endpoint clock_endpoints[] = {
    {"GET", "/api/v1/meters/{id}/clock", RIGHT_VIEW, 0, "meter_clock_get",
     "What is known of one meter's clock, and its newest corrections.",
     meter_id,
     .sql = "SELECT meter_clock_json($1::int, $2::int)"
            " WHERE EXISTS (SELECT FROM meter m WHERE m.tenant_id = $1::int"
            " AND m.meter_id = $2::int)",
     .answer = "meter_clock"},
    {"GET", "/api/v1/clocks", RIGHT_VIEW, 0, "clocks_get",
     "The fleet: states, a histogram of offsets, the worst, corrections.",
     .sql = "SELECT clocks_json($1::int)", .answer = "clocks"},
    {"GET", "/api/v1/clock-corrections", RIGHT_VIEW, 0,
     "clock_corrections_list", "Corrections, newest first.", correction_fields,
     .list = "clock_corrections",
     .sql = "SELECT correction_json(k), k.correction_id, ''"
            " FROM clock_correction k WHERE k.tenant_id = $1::int"
            " AND ($2::text IS NULL OR k.state = $2)"
            " AND ($3::int IS NULL OR k.meter_id = $3::int)"
            " AND ($4::bigint IS NULL OR k.correction_id < $4::bigint)"
            " AND ($5::text IS NULL OR true)"
            " ORDER BY k.correction_id DESC LIMIT $6::int",
     .answer = "clock_correction"},
    {"POST", "/api/v1/clock-corrections/{id}/approve", RIGHT_COMMAND, 0,
     "clock_correction_approve",
     "Yes: it is sent with the meter's next contact.", correction_id,
     .call = "correction_settle($1, $3::bigint, 'approved')",
     .answer = "clock_correction"},
    {"POST", "/api/v1/clock-corrections/{id}/reject", RIGHT_COMMAND, 0,
     "clock_correction_reject", "No.", correction_id,
     .call = "correction_settle($1, $3::bigint, 'rejected')",
     .answer = "clock_correction"},
    {"GET", "/api/v1/clock-policies", RIGHT_VIEW, 0, "clock_policies_list",
     "How clocks are corrected, by model.", .list = "clock_policies",
     .sql = "SELECT policy_json(p), p.model_id, '' FROM clock_policy p"
            " WHERE p.tenant_id = $1::int"
            " AND ($2::bigint IS NULL OR p.model_id > $2::bigint)"
            " AND ($3::text IS NULL OR true)"
            " ORDER BY p.model_id LIMIT $4::int",
     .answer = "clock_policy"},
    {"PUT", "/api/v1/clock-policies/{model_id}", RIGHT_SETTINGS, 0,
     "clock_policy_put", "Makes or changes one; what is left out stays.",
     policy_fields, .call = "policy_put($1, $2, $3::int)",
     .answer = "clock_policy"},
    {"GET", "/api/v1/contact-plan", RIGHT_VIEW, 0, "contact_plan_get",
     "When meters report: the window, and of each model whether its meters can"
     " be told their slot, were told, and keep it.",
     .sql = "SELECT contact_plan_json($1::int)", .answer = "contact_plan"},
    {"PATCH", "/api/v1/contact-plan", RIGHT_SETTINGS, 0, "contact_plan_change",
     "Changes the window, or whether meters are told; slots are given anew.",
     plan_fields, .call = "contact_plan_change($1, $2)",
     .answer = "contact_plan"},
    {"GET", "/api/v1/contact-forecast", RIGHT_VIEW, 0, "contact_forecast_get",
     "Calls in each minute of the next day (UTC), as meters will be heard.",
     .sql = "SELECT contact_forecast_json($1::int)",
     .answer = "contact_forecast"},
    {0}};
