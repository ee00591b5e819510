/*
 * events.c - GET /api/v1/events: alarms and other facts that meters or headend
 * told, newest first.
 */
#include "server/api/call.h"

static const struct field fields[] = {
    {"from", IN_QUERY, FIELD_TIME, .help = "First instant, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {"code", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Only this code (schema/event.h)."},
    {"severity", IN_QUERY, FIELD_TEXT, .one_of = "debug|info|warning|critical",
     .help = "This or a worse one."},
    {0}};

/* A key of a row: its time in us, and "meter code state" behind it. */
#define EVENT_US  "(extract(epoch FROM e.time) * 1000000)::bigint"
#define EVENT_KEY "e.meter_id || ' ' || e.code || ' ' || e.state"

const struct endpoint event_endpoints[] = {
    {"GET", "/api/v1/events", RIGHT_VIEW, 0, "events_list",
     "What meters or headend told, newest first.", fields, .list = "events",
     .sql = "SELECT json_build_object('time', e.time, 'meter_time',"
            " e.meter_time, 'received_at', e.received_at, 'meter_id',"
            " e.meter_id, 'code', e.code, 'severity',"
            " (ARRAY['debug', 'info', 'warning', 'critical'])[e.severity + 1],"
            " 'state', (ARRAY['pulse', 'start', 'end'])[e.state + 1],"
            " 'detail', e.detail, 'frame_id', e.frame_id::text), " EVENT_US
            ", left(" EVENT_KEY ", 95) FROM event e"
            " WHERE e.tenant_id = $1::int"
            " AND ($2::timestamptz IS NULL OR e.time >= $2::timestamptz)"
            " AND ($3::timestamptz IS NULL OR e.time < $3::timestamptz)"
            " AND ($4::int IS NULL OR e.meter_id = $4::int)"
            " AND ($5::text IS NULL OR e.code = $5)"
            " AND e.severity >= coalesce(array_position(ARRAY['debug', 'info',"
            " 'warning', 'critical'], $6), 1) - 1"
            " AND ($7::bigint IS NULL OR e.time <= us_time($7::bigint) AND"
            " (e.time < us_time($7::bigint) OR left(" EVENT_KEY ", 95) >"
            " $8::text))"
            " ORDER BY e.time DESC, left(" EVENT_KEY ", 95) LIMIT $9::int",
     .answer = "event"},
    {0}};
