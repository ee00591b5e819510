/*
 * audit.c - GET /api/v1/audit: who did what, newest first.
 */
#include "server/api/call.h"

static const struct field fields[] = {
    {"from", IN_QUERY, FIELD_TIME, .help = "First instant, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"actor", IN_QUERY, FIELD_TEXT, .max = 160, .help = "Only this actor's."},
    {"object", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Only acts on this kind of thing, such as meter."},
    {"object_id", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Only acts on this one of them."},
    {0}};

const struct endpoint audit_endpoints[] = {
    {"GET", "/api/v1/audit", RIGHT_AUDIT, 0, "audit_list",
     "Who did what to which object, newest first.", fields, .list = "audit",
     .sql = "SELECT json_build_object('seq', a.seq, 'at', a.at, 'actor',"
            " a.actor, 'address', a.address, 'action', a.action, 'object',"
            " a.object, 'object_id', a.object_id, 'before', a.before,"
            " 'after', a.after, 'hash', encode(a.hash, 'hex')), a.seq, ''"
            " FROM audit_entry a WHERE a.tenant_id = $1::int"
            " AND ($2::timestamptz IS NULL OR a.at >= $2::timestamptz)"
            " AND ($3::timestamptz IS NULL OR a.at < $3::timestamptz)"
            " AND ($4::text IS NULL OR a.actor = $4)"
            " AND ($5::text IS NULL OR a.object = $5)"
            " AND ($6::text IS NULL OR a.object_id = $6)"
            " AND ($7::bigint IS NULL OR a.seq < $7::bigint)"
            " AND ($8::text IS NULL OR true)"
            " ORDER BY a.seq DESC LIMIT $9::int",
     .answer = "audit_entry"},
    {0}};
