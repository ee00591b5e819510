/*
 * examine.h - a quarantined frame looked at: the device's payload, and how far
 * its codec gets with it today. Pure; for people, not for the store.
 */
#pragma once

#include "codecs/codec.h"
#include "schema/frame.h"

struct examined {
    struct frame frame; /* as journaled */
    struct str device;  /* what it calls itself: a DevEUI, a serial; or empty */
    struct str payload; /* of the device; of a document that cannot be read,
                           the whole document */
    const struct codec *codec; /* NULL: no meter, so no codec, is known */
    struct str decoded;        /* what came out until the end or the error */
    int err;                   /* of the codec; 0: it decodes now */
    const char *error;         /* what and which clause */
    uint32_t offset;           /* of the error in the payload */
};

/* `record` is the journal's form, `codec` the name that the frame's row keeps
 * ("" if none). Everything in *ret lives in `a` or in `record`. ERR_SHORT,
 * ERR_FORMAT: not a record (a damaged stretch). */
int examine(struct str record, struct str codec, struct arena *a,
            struct examined *ret);
