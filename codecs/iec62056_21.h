/*
 * iec62056_21.h - inside the codec iec62056-21: the frame around the data
 * lines, the words of a line, and what a line means.
 */
#pragma once

#include "codecs/cosem.h"

/* The stretches of data lines in a telegram, all checks of the frame passed. */
struct iec_blocks {
    struct str ident; /* "ISk5\2MT382-1004"; empty without */
    struct str *data;
    uint32_t n;
    const char *text; /* byte 0 of the payload, for offsets */
    bool plain;       /* no blocks: P1, where identifications are hex */
    bool has_check;   /* a CRC or BCC was there and fits */
};

/* Finds STX..ETX BCC blocks or a P1 telegram with or without CRC. ERR_SHORT,
 * ERR_FORMAT, ERR_DAMAGED with d->error set. */
int iec_blocks(struct decoded *d, struct str payload, struct iec_blocks *ret);

/* C.D[.E], A-B:C.D.E*F and the letters C, F, L, P for 96 to 99. */
int iec_obis(struct str id, struct obis *ret);
/* "4706.120"; digits, one sign, one point. */
int iec_number(struct str s, struct decimal *ret);
/* "kWh", "m3ph"; one that we have none for stays as text in the arena. */
struct cosem_unit iec_unit(struct arena *a, struct str s);
/* [season]YYMMDDhhmm[ss][W|S]; season 0 winter, 1 summer, 2 UTC. */
int iec_time(struct str s, struct meter_time *ret);
/* "24-03-21", "240321" and "21:10:29", "211029", a season digit before. */
int iec_date(struct str s, int64_t *day_us);
int iec_day_time(struct str s, int64_t *us);

enum { IEC_ID_MAX = 32 };

/* One identification with its values. */
struct iec_line {
    struct str id;
    struct obis obis; /* OBIS_NONE: an identification of the maker's own */
    struct str *values;
    size_t n;
};

/* A read-out while its lines are read. */
struct iec {
    struct decoded *d;
    const char *text; /* byte 0 of the payload */
    bool ultraheat, plain, needs_check, medium_known;
    int serial_rank;         /* of d->serial in `serials`, lower is better */
    int64_t day_us, time_us; /* from 0.9.2 and 0.9.1; TIME_NONE */
};

size_t iec_offset(const struct iec *c, struct str s); /* in the payload */
/* Sets l->obis from l->id and adds what the line means. */
int iec_add_line(struct iec *c, struct iec_line *l);
