/*
 * hand.h - telling a meter its contact slot, where a command of its device
 * carries one (slot_way() in migrations/0025_slots.sql). Pure.
 *
 * Vega: no. Their devices send "by a random time at the selected period" (user
 * manuals, operation algorithm); only the period can be set. Elvaco: no. A
 * module has a transmit interval in minutes (TLV 06) and nothing that says
 * where it begins. Those keep the minutes that they have.
 */
#pragma once

#include "server/clocks/request.h"

enum slot_way {
    SLOT_WAY_NONE,
    SLOT_WAY_HEO,   /* in the session: set_schedule, our own profile */
    SLOT_WAY_KARAT, /* FPort 5, our own profile (codecs/karat_928lw.c) */
};
/* Of a codec's name, which the database gives; "" and others: none. */
enum slot_way slot_way_named(struct str codec);

/* By radio; nothing (n 0) for a way that is none. */
void answer_slot(struct clock_answer *a, enum slot_way way, int32_t at_s,
                 uint32_t window_min);
