/*
 * commands.c - commands to meters: asking, looking, taking back. Each right has
 * its own way in; migrations/0021_commands.sql decides what a meter can be
 * told.
 */
#include "server/api/call.h"

#define METER                                                                  \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,                  \
                                  .help = "meter_id"                           \
    }
#define WHEN                                                                   \
    {"not_after", IN_BODY, FIELD_TIME,                                         \
     .help = "It leaves before this, or never (in three days)."},              \
    {                                                                          \
        "priority", IN_BODY, FIELD_INT,                                        \
            .min = 0, .max = 9,                                                \
            .help = "9 goes before 0; else in the order of asking (0)."        \
    }

static const struct field list_fields[] = {
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {"state", IN_QUERY, FIELD_TEXT,
     .one_of = "waiting|queued|sent|acknowledged|done|failed|expired|cancelled",
     .help = "Only those in this state."},
    {"kind", IN_QUERY, FIELD_TEXT,
     .one_of = "valve_open|valve_close|read_archive|set_schedule|"
               "set_substitution|set_clock|reboot|raw",
     .help = "Only this kind."},
    {0}};
static const struct field id_fields[] = {{"id", IN_PATH, FIELD_INT, .min = 1,
                                          .max = INT64_MAX,
                                          .help = "command_id"},
                                         {0}};
static const struct field command_fields[] = {
    METER,
    {"kind", IN_BODY, FIELD_TEXT, true,
     .one_of = "read_archive|set_schedule|set_clock|reboot",
     .help = "What it is to do."},
    {"archive", IN_BODY, FIELD_TEXT, .one_of = "hour|day|month|event",
     .help = "read_archive: which one (hour)."},
    {"from", IN_BODY, FIELD_TIME, .help = "read_archive: first instant."},
    {"to", IN_BODY, FIELD_TIME, .help = "read_archive: the last one (now)."},
    {"period_h", IN_BODY, FIELD_INT, .min = 1, .max = 744,
     .help = "set_schedule: hours between two reports."},
    WHEN,
    {0}};
static const struct field valve_fields[] = {METER,
                                            {"position", IN_BODY, FIELD_TEXT,
                                             true, .one_of = "open|close",
                                             .help = "How the valve is to be."},
                                            WHEN,
                                            {0}};
static const struct field substitution_fields[] = {
    METER,
    {"pressure_kpa", IN_BODY, FIELD_DECIMAL, true,
     .help = "Gas pressure, kPa."},
    {"z", IN_BODY, FIELD_DECIMAL, true, .help = "Compressibility."},
    {"w", IN_BODY, FIELD_DECIMAL, true, .help = "Conversion factor."},
    WHEN,
    {0}};
static const struct field raw_fields[] = {
    METER,
    {"port", IN_BODY, FIELD_INT, true, .min = 1, .max = 223, .help = "FPort."},
    {"payload", IN_BODY, FIELD_TEXT, true, .min = 2, .max = 484,
     .help = "Hexadecimal, as the device is to get it."},
    {"confirmed", IN_BODY, FIELD_BOOL,
     .help = "The device is to confirm it by radio (true)."},
    WHEN,
    {0}};

const struct endpoint command_endpoints[] = {
    {"GET", "/api/v1/commands", RIGHT_VIEW, 0, "commands_list",
     "Commands to meters, newest first; corrections of clocks among them.",
     list_fields, .list = "commands",
     .sql = "SELECT command_json(c), c.command_id, '' FROM command c"
            " WHERE c.tenant_id = $1::int"
            " AND ($2::int IS NULL OR c.meter_id = $2::int)"
            " AND ($3::text IS NULL OR c.state = $3)"
            " AND ($4::text IS NULL OR c.kind = $4)"
            " AND ($5::bigint IS NULL OR c.command_id < $5::bigint)"
            " AND ($6::text IS NULL OR true)"
            " ORDER BY c.command_id DESC LIMIT $7::int",
     .answer = "command"},
    {"GET", "/api/v1/commands/{id}", RIGHT_VIEW, 0, "command_get",
     "One of them, with every step.", id_fields,
     .sql = "SELECT command_whole_json(c) FROM command c"
            " WHERE c.tenant_id = $1::int AND c.command_id = $2::bigint",
     .answer = "command_whole"},
    {"POST", "/api/v1/commands/{id}/cancel", RIGHT_VIEW, 0, "command_cancel",
     "Takes one back that has not left; with the right to ask for such a one.",
     id_fields, .call = "command_cancel($1, $3::bigint)",
     .answer = "command_whole"},
    {"POST", "/api/v1/meters/{id}/commands", RIGHT_COMMAND, 0, "command_add",
     "Reads an archive, sets the schedule, has the clock set, restarts.",
     command_fields, .call = "command_add($1, $2, $3::int)", .status = 201,
     .answer = "command_whole"},
    {"POST", "/api/v1/meters/{id}/valve", RIGHT_VALVE, ENDPOINT_CRITICAL,
     "valve_command_add", "Opens or closes the meter's valve.", valve_fields,
     .call =
         "command_add($1, $2 - 'position'::text || jsonb_build_object('kind',"
         " 'valve_' || ($2 ->> 'position')), $3::int)",
     .status = 201, .answer = "command_whole"},
    {"POST", "/api/v1/meters/{id}/substitution", RIGHT_SUBSTITUTION,
     ENDPOINT_CRITICAL, "substitution_command_add",
     "Sets the values that a gas meter converts its volume with.",
     substitution_fields,
     .call = "command_add($1, $2 || '{\"kind\": \"set_substitution\"}',"
             " $3::int)",
     .status = 201, .answer = "command_whole"},
    {"POST", "/api/v1/meters/{id}/downlinks", RIGHT_COMMAND, ENDPOINT_CRITICAL,
     "raw_command_add",
     "Sends bytes to a port of a LoRaWAN device, as they are.", raw_fields,
     .call = "command_add($1, $2 || '{\"kind\": \"raw\"}', $3::int)",
     .status = 201, .answer = "command_whole"},
    {0}};
