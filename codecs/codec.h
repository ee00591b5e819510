/*
 * codec.h - the ABI between headend and a codec.
 *
 * A codec is pure: the same input gives the same output; no clock, no heap, no
 * I/O, no state. It runs on pool threads, several at once. Memory comes from
 * the arena in `struct decoded` and dies with the frame.
 *
 * A loaded codec (codecs/loaded.h) is built against these headers: CODEC_ABI is
 * raised with every change of a structure or of a value in an enumeration here
 * and in the headers included; a new value goes to the end of its list.
 */
#pragma once

#include "schema/event.h"
#include "schema/quality.h"
#include "schema/quantity.h"
#include "server/base/arena.h"

#define CODEC_ABI 2u

/* Most measurements and rows that one frame may hold. */
enum {
    DECODED_MEASUREMENTS = 20000,
    DECODED_ROWS = 4096,
    DECODED_EVENTS = 256
};

struct codec_input {
    struct str payload;
    int port;                /* LoRaWAN FPort; 0 elsewhere */
    const uint8_t *key;      /* 16 bytes, or NULL */
    const uint8_t *auth_key; /* DLMS authentication key: 16 bytes, or NULL */
    /* Record lists (`struct decoded`.format) that earlier frames taught; NULL
     * and 0 where there are none. */
    const struct str *formats;
    uint32_t n_formats;
};

enum time_form {
    METER_TIME_NONE,
    METER_TIME_UTC,   /* the meter gave zone or UTC */
    METER_TIME_LOCAL, /* civil time of the meter's zone, as if it were UTC */
};

struct meter_time {
    enum time_form form;
    int64_t us;
    bool invalid; /* the meter itself says: do not trust it */
    int8_t dst;   /* 1 summer, 0 winter, -1 not told */
};

enum function { FUNCTION_INST, FUNCTION_MAX, FUNCTION_MIN, FUNCTION_ERROR };

/* Direction and condition of a measurement (EN 13757-3 combinable VIFE). */
enum measurement_flag {
    MEASURED_EXPORT = 1 << 0,      /* only negative contributions */
    MEASURED_UNCORRECTED = 1 << 1, /* at metering conditions */
    MEASURED_BASE = 1 << 2,        /* at base conditions */
    MEASURED_RATE = 1 << 3,        /* a limit, a rate, an exceed time: kept as
                                      an extra, never as the register itself */
};

/* Part of an electrical quantity (EN 13757-3, VIFE behind FC). */
enum measurement_phase {
    PHASE_ALL = 0,
    PHASE_L1 = 1,
    PHASE_N = 4,
    PHASE_L1_L2 = 5,
    PHASE_QUADRANT_1 = 8, /* 8 to 11 */
    PHASE_NET = 12,       /* import less export */
    PHASE_ABSOLUTE = 13,  /* import and export added up */
};

struct measurement {
    uint32_t row; /* index into decoded.rows */
    enum quantity quantity;
    enum unit unit;       /* as the meter codes it */
    struct decimal value; /* mantissa VALUE_NONE (INT64_MIN): the meter sent
                             the register without a valid value */
    struct obis obis;     /* given by the telegram or the device's mapping;
                             OBIS_NONE: the normaliser derives it */
    enum value_kind kind; /* read only where obis is given */
    enum function function;
    uint32_t storage;
    uint32_t tariff, subunit;
    uint8_t phase;    /* enum measurement_phase */
    uint32_t flags;   /* enum measurement_flag */
    uint32_t quality; /* enum quality bits of this value alone */
    uint32_t offset;  /* of its first byte in the payload */
    struct str text;  /* Q_TEXT, or an unusual unit; empty */
};

/* Values of one time. Row 0 always exists and stands for "now". */
struct decoded_row {
    struct meter_time time;
};

struct decoded_event {
    struct str code; /* schema/event.h, or the device's own word */
    enum event_state state;
    struct meter_time time;
    struct str detail; /* raw value or text; may be empty */
};

/* What a frame lacked, or what it was given and did not fit: with another key,
 * with another record list it may decode. A frame that decodes and wants a key
 * has an authentication code that nobody has checked. */
enum decoded_wants { WANTS_NOTHING, WANTS_KEY, WANTS_FORMAT };

struct decoded {
    struct arena *arena; /* set by the caller; everything below lives there */
    enum medium medium;
    struct str serial; /* as the telegram names the meter; empty if not */
    struct str manufacturer;
    int version;       /* of the device, as its header says; -1: not said */
    int device_type;   /* EN 13757-3 byte behind `medium`; -1: not said */
    struct str format; /* DIBs and VIBs of a full wireless frame: what a later
                          compact frame leaves out; empty: nothing to learn.
                          With WANTS_FORMAT: the signature of the missing one,
                          two bytes, low byte first */
    struct meter_time clock; /* the meter's clock when it sent this frame */
    int64_t sequence; /* the meter's own number of this frame; -1: none */
    /* Counter of an encrypted frame, which rises under one key: an older one is
     * a replay (DLMS invocation counter, M-Bus message counter). -1: none. */
    int64_t security_counter;
    enum decoded_wants wants;
    bool status; /* it tells its whole state: its EVENT_START without a time of
                    their own last until a frame comes without them */
    struct decoded_row *rows;
    uint32_t n_rows, cap_rows;
    struct measurement *measurements;
    uint32_t n_measurements, cap_measurements;
    struct decoded_event *events;
    uint32_t n_events, cap_events;
    const char *error;     /* on failure: what and which clause; static text,
                              or in the arena */
    uint32_t error_offset; /* byte in the payload */
};

/* Prepares *d with row 0. */
int decoded_init(struct decoded *d, struct arena *arena);
/* Copy *m, *e into the arena. ERR_FULL over the limits above. */
int decoded_add(struct decoded *d, const struct measurement *m);
int decoded_add_event(struct decoded *d, const struct decoded_event *e);
/* A further row; its index in *row. */
int decoded_add_row(struct decoded *d, struct meter_time time, uint32_t *row);
/* Records where and why; returns err, so that a codec may `return` it. */
int decoded_fail(struct decoded *d, int err, const char *text, size_t offset);
/* One line for people and for test vectors:
 * "serial 69322582; energy 106895 kWh; volume 2013.060 m3; ..." */
struct str decoded_text(const struct decoded *d);
/* What tells a measurement from its plain register: " [storage 1, max]". */
struct str decoded_modifiers(struct arena *a, const struct measurement *m);

/* A command to a meter, before any wire format. */
enum command_op {
    OP_READ_ARCHIVE,
    OP_SET_CLOCK,
    OP_SET_SUBSTITUTION,
    OP_VALVE,
    OP_SET_SCHEDULE,
    OP_REBOOT
};
struct command {
    const char *id; /* correlation; at most 64 characters */
    enum command_op op;
    int64_t from_us, to_us; /* OP_READ_ARCHIVE; OP_SET_CLOCK: from_us is now */
    const char *archive; /* OP_READ_ARCHIVE: "hour", "day", "month", "event" */
    bool open;           /* OP_VALVE */
    struct decimal pressure_kpa, z, w; /* OP_SET_SUBSTITUTION */
    int period_h;                      /* OP_SET_SCHEDULE */
};
struct encoded {
    struct arena *arena;
    int port;
    struct str payload; /* result; lives in the arena */
};

/* A proof: this input decodes to this text, or fails with this error. */
struct codec_vector {
    const char *name;   /* NULL ends the list */
    const char *hex;    /* payload in hex, or NULL and: */
    const char *text;   /* payload as text */
    const char *expect; /* decoded_text(), compared whole; NULL with err */
    int err;
    int port;
    const char *key; /* hex, or NULL */
};

struct codec {
    uint32_t abi;       /* CODEC_ABI, first and for ever first */
    const char *name;   /* "elvaco-cmi41" */
    uint32_t version;   /* raised when the same frame decodes differently */
    const char *title;  /* "Elvaco CMi4110/4130/4140/4160, LoRaWAN" */
    const char *source; /* standard and clause, manual, or "our own" */
    enum medium medium; /* when the telegram does not say */
    /* 0; ERR_SHORT, ERR_FORMAT, ERR_DAMAGED (a checksum, a key or a MAC does
     * not fit), ERR_UNKNOWN (no key, no record list), ERR_UNSUPPORTED, ERR_FULL
     * with d->error set; what was read before that may stand in *d. */
    int (*decode)(const struct codec_input *in, struct decoded *d);
    /* NULL where the device takes no commands. ERR_UNSUPPORTED. */
    int (*encode)(const struct command *c, struct encoded *out);
    const struct codec_vector *vectors;
};
