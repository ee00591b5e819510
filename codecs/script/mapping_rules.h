/*
 * mapping_rules.h - a mapping as read: the rules of one object, and of the
 * records in its arrays. Private to mapping.c and mapping_read.c.
 */
#pragma once

#include "codecs/script/mapping.h"

struct rule_register {
    struct str field;
    struct measurement m; /* what it becomes, but for the value */
    int64_t mul;          /* factor = mul * 10^exp10 */
    int exp10;
    int decimals; /* -1: as it is */
};

struct rule_event {
    struct str field;
    struct str code;
    const struct json *when; /* the value that raises it; NULL: true */
    int bit;                 /* 0..62 of an integer; -1: not by bit */
    enum event_state state;
};

struct rule_time {
    struct str field; /* empty: none */
    int64_t unit_us;  /* of a number */
};

/* What holds for one object, and for each record of an array inside it. */
struct rules {
    struct str field; /* the array's; empty at the top */
    struct rule_time time;
    struct rule_register *registers;
    struct rule_event *events;
    struct rules *rows;
    uint32_t n_registers, n_events, n_rows;
};

struct mapping {
    struct rules top;
    enum medium medium;
    struct str serial;
    struct rule_time clock;
    bool normalized;
};
