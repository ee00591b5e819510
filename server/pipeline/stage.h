/*
 * stage.h - one frame on its way from the journal to the store:
 *   stage_parse   (any thread) what is it, which device does it name?
 *   stage_resolve (loop)       which meter of which tenant is that?
 *   stage_decode  (any thread) codec -> time -> normalise -> rows of the batch
 * All three are pure but for the directory that resolve asks, so that history
 * can be run again.
 */
#pragma once

#include "codecs/registry.h"
#include "ingest/directory.h"
#include "ingest/uplink.h"
#include "server/clocks/book.h"
#include "server/clocks/contact.h"
#include "server/pipeline/tenant_codec.h"
#include "server/pipeline/unlock.h"
#include "server/store/batch.h"
#include "timesvc/zone.h"

/* Numbers of codec_version, by position in codec_list(). */
enum { STAGE_CODECS = CODECS_MAX };

struct stage_meter {             /* copied out of the directory */
    int32_t meter_id;            /* 0: unknown */
    const struct codec *codec;   /* until stage_decode */
    struct tenant_codec *script; /* counted until stage_decode; NULL: none */
    int16_t codec_version_id;
    const struct zone *zone;
    struct str serial;
    struct keyring *keyring;        /* counted until stage_decode; NULL: none */
    const struct book_entry *clock; /* NULL: nothing is known of it */
};

struct stage_item {
    struct frame frame;   /* once resolved, of the meter's tenant */
    int32_t journaled_by; /* the tenant that it was journaled for */
    struct uplink uplink; /* frames from a network server */
    bool is_uplink;
    enum fate fate;     /* 0 while nothing has gone wrong */
    const char *reason; /* with a fate: lower_snake, static or arena */
    struct str detail;
    struct stage_meter meter;
    bool ours_unsure;  /* our own clock was not synchronised */
    uint32_t readings; /* values that it brought, once decoded */
    struct unlocked unlocked;
    int64_t clock_us; /* what the meter's clock showed; TIME_NONE */
    bool distrusted;  /* by the meter itself */
};

/* What a frame in quarantine waits for begins with the name of it, and those
 * frames are found by it when it comes (migrations/0015_telegrams.sql).
 * The prefixes of what a stranger's detail names it by: one DevEUI, or one
 * serial: */
#define STRANGER_EUI    "DevEUI "
#define STRANGER_SERIAL "serial "
#define MISSING_FORMAT  "record list "

/* `position` and `journal` make the frame's id. A damaged stretch or a record
 * that cannot be read becomes a quarantined item of the platform tenant,
 * stamped `now_us`. */
void stage_parse(struct stage_item *it, struct arena *a, struct str record,
                 bool damaged, int64_t id, int64_t now_us);

/* `clocks` may be NULL. */
void stage_resolve(struct stage_item *it, struct arena *a,
                   const struct directory *d, const struct clock_book *clocks,
                   const int16_t codec_ids[STAGE_CODECS]);

/* Once after each stage_resolve, on a thread that may wait for a script. Adds
 * the frame, its captures and events to the batch. `keep` holds what the batch
 * refers to until its seal; `scratch` is reset for every frame. */
void stage_decode(struct stage_item *it, struct arena *keep,
                  struct arena *scratch, struct store_batch *batch);

/* What a stored frame is to the time service. Lives as long as the item. */
struct clock_contact stage_contact(const struct stage_item *it);
