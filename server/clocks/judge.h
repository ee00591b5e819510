/*
 * judge.h - one meter's clock, looked at after a contact: what the samples say,
 * what is decided, what is to be kept and what to be sent. Pure.
 */
#pragma once

#include "server/clocks/hand.h"
#include "timesvc/policy.h"
#include "timesvc/slots.h"

enum { JUDGE_SAMPLES = 100 };

struct clock_heard {
    int64_t heard_us, meter_us;
    bool network_time;
};

/* A row of clock_read() (migrations/0010_clock.sql). *_us may be TIME_NONE. */
struct clock_row {
    int32_t tenant_id, meter_id;
    int64_t version;
    struct clock_model model;
    const struct zone *zone;
    struct clock_policy policy;
    int period_want; /* TS003; -1: as the device likes */
    int package;     /* TS003 version; 0 unknown, -1 asked for */
    int period;      /* accepted; -1 not supported; -2 unknown */
    int token;       /* of the newest answer; -1: none. Vega: requests since */
    int64_t answered_us, resync_us, waiting_us;
    uint32_t today;
    int64_t open_id; /* correction that is not settled; 0: none */
    bool open_sent, open_approved;
    bool elvaco; /* its module sets its clock by a number of seconds */
    enum slot_way slot_way;
    struct slot_hand slot; /* window_min 0: nothing to be told */
    struct clock_heard samples[JUDGE_SAMPLES];
    uint32_t n;
};

enum settled { SETTLED_NOT, SETTLED_VERIFIED, SETTLED_FAILED };

struct clock_event {
    const char *code; /* NULL: none */
    int state;        /* enum event_state */
    char detail[96];
};

struct clock_outcome {
    enum clock_state state;
    struct clock_error error;
    enum clock_jump jump;
    struct correction decision; /* .reason NULL: none was made */
    enum settled settled;       /* of the open correction */
    bool keep;                  /* a correction row: `decision`, made `sent` */
    bool sent;                  /* ... or waiting for a person */
    bool reuse;                 /* the open row, not a new one */
    struct clock_event event;
    /* What goes to the meter, once all this is kept: */
    enum clock_way way;
    struct clock_answer answer; /* by radio */
    int64_t shift_us; /* HEO: how far from the truth it is to be set */
    enum slot_word slot;
    enum slot_way slot_way;
};

/* Changes *row to what is to be kept. */
void clock_judge(struct clock_row *row, const struct clock_contact *c,
                 int64_t now_us, bool ours_unsure, struct clock_outcome *ret);
/* Nothing is to be done about this clock, and nothing is under way. */
bool clock_calm(const struct clock_row *row, const struct clock_outcome *o);
