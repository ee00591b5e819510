/*
 * dlms.h - inside the codec dlms-push: transport, then the body of a
 * notification.
 */
#pragma once

#include "codecs/axdr.h"
#include "codecs/cosem.h"

/* A whole APDU; its bytes live in the payload or in the arena. `offset`: of
 * its first byte, or of the frame that it came from. Further ones follow. */
typedef int dlms_apdu_fn(void *arg, struct str apdu, size_t offset);

/* Takes TCP wrappers, HDLC frames or a bare APDU apart, joins HDLC segments
 * and the blocks of general block transfer, calls `fn` for each APDU in order
 * until it returns an error. ERR_SHORT: the last one is incomplete. */
int dlms_apdus(struct decoded *d, struct str payload, dlms_apdu_fn *fn,
               void *arg);

/* COSEM date-time, 12 bytes; form METER_TIME_NONE when day or time of day is
 * not specified. ERR_FORMAT: no such date. */
int dlms_time(const uint8_t *p, struct meter_time *ret);

/* The body of one notification: measurements, clock and identity into d. `time`
 * is the notification's own; `first`: its values are row 0. */
int dlms_body(struct decoded *d, const struct axdr *nodes, size_t base,
              struct meter_time time, bool first);
