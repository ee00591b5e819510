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

enum { DLMS_TITLE = 8 };

struct dlms_opened {
    struct str content;   /* in the arena */
    const uint8_t *title; /* DLMS_TITLE bytes of the payload */
    int64_t counter;      /* invocation counter */
    bool guessed;         /* nothing but the content says that the key fits */
    bool unchecked;       /* there is a tag, and no key to check it */
};

/* Content of a general-glo- or general-ded-ciphering APDU. ERR_UNKNOWN without
 * a key, ERR_DAMAGED with another, ERR_UNSUPPORTED, ERR_SHORT, ERR_FORMAT. */
int dlms_open(struct decoded *d, const struct codec_input *in, struct str apdu,
              size_t offset, struct dlms_opened *ret);

/* Lists that are known by their version; NULL when this is none. */
struct dlms_list; /* opaque */
const struct dlms_list *dlms_list_find(struct str version);
const struct dlms_list *dlms_list_of(const struct axdr *root);
/* Value i of n, where the list holds values without names. */
bool dlms_list_name(const struct dlms_list *l, uint32_t n, uint32_t i,
                    struct obis *ret);
/* The scale that the list gives a value; untouched where it gives none. */
void dlms_list_scale(const struct dlms_list *l, struct obis o, int8_t *scaler,
                     uint8_t *unit);

extern const struct codec_vector dlms_push_vectors[];

/* The body of one notification: measurements, clock and identity into d. `time`
 * is the notification's own; `first`: its values are row 0; `name`: of the one
 * value of an event-notification, or NULL. */
int dlms_body(struct decoded *d, const struct axdr *nodes,
              const struct obis *name, size_t base, struct meter_time time,
              bool first);

/* The event that a value of an event object 0-b:96.11.e or of the alarm
 * register 0-0:97.98.0 tells; nothing for other names. */
int dlms_add_event(struct decoded *d, struct obis o, struct decimal value,
                   struct meter_time time);
