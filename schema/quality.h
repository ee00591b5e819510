/*
 * quality.h - quality flags of a capture or a value. 0 means "as good as the
 * meter itself". The bit numbers are stored in the database: never reused.
 */
#pragma once

enum quality {
    QUALITY_NO_METER_TIME = 1 << 0, /* no own timestamp: time is the network's
                                       or our reception */
    QUALITY_TIME_INVALID = 1 << 1,  /* the meter says its clock is invalid, or
                                       its time is impossible: time is ours */
    QUALITY_TIME_SHIFTED = 1 << 2,  /* reconciled time differs from the
                                       meter's own */
    QUALITY_LOCAL_TIME = 1 << 3,    /* meter time had no zone: read in the
                                       meter's configured zone */
    QUALITY_DST_AMBIGUOUS = 1 << 4, /* that local hour happens twice (or
                                       never); the first was taken */
    QUALITY_LATE = 1 << 5,        /* received more than a day after its time */
    QUALITY_METER_ERROR = 1 << 6, /* value captured during a meter error */
    QUALITY_UNIT_KEPT = 1 << 7,   /* canonical unit not exact: unit as sent */
    QUALITY_IDENTITY_MISMATCH = 1 << 8, /* telegram names another serial than
                                        the registered meter's */
    QUALITY_INVALID = 1 << 9,           /* the meter marked the value invalid */
    QUALITY_UNPROTECTED = 1 << 10,      /* clear content where encryption was
                                           announced */
    QUALITY_SUSPECT = 1 << 11,          /* implausible beside its neighbours */
    QUALITY_TIME_UNCERTAIN = 1 << 12,   /* the clock's error may be more than
                                        half the interval, or it was stepped */
    QUALITY_OUR_CLOCK_UNSURE = 1 << 13, /* headend's own clock was not
                                        synchronised when this was received */
};
