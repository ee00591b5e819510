/*
 * stage.c - see stage.h for the story. What goes wrong becomes the item's
 * fate, with a reason for machines and a detail for people.
 */
#include "server/pipeline/stage.h"
#include "codecs/mbus_format.h"
#include "codecs/ts003.h"
#include "server/base/hex.h"
#include "server/clocks/request.h"
#include "server/pipeline/capture.h"
#include <stdio.h>

static void refuse(struct stage_item *it, enum fate fate, const char *reason,
                   struct str detail)
{
    it->fate = fate;
    it->reason = reason;
    it->detail = detail;
}

/* ---- parse ---- */

/* Not even a document: no frame. Documents with something wrong inside are
 * kept whole, because a corrected headend may understand them. */
static bool no_frame_at_all(const char *reason)
{
    static const char *const reasons[] = {"not_json", "too_deep", "too_large",
                                          "invalid_utf8"};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

static void parse_uplink(struct stage_item *it, struct arena *a)
{
    struct uplink_error error = {0};
    int err = uplink_parse(&it->frame, a, &it->uplink, &error);

    it->is_uplink = err == 0;
    if (err == 0 && it->uplink.encrypted)
        refuse(it, FATE_QUARANTINED, "encrypted",
               STR("the payload is still under the AppSKey (end-to-end mode)"));
    else if (err < 0)
        refuse(it,
               no_frame_at_all(error.reason) ? FATE_REJECTED : FATE_QUARANTINED,
               error.reason, error.detail);
}

void stage_parse(struct stage_item *it, struct arena *a, struct str record,
                 bool damaged, int64_t id, int64_t now_us)
{
    *it = (struct stage_item){.clock_us = TIME_NONE};
    if (damaged || frame_decode(record, &it->frame) < 0) {
        size_t most = FRAME_PAYLOAD_MAX / 4;
        it->frame = (struct frame){
            .source = SOURCE_JOURNAL,
            .received_us = now_us,
            .count = 1,
            .size = (uint32_t)record.n,
            .payload = {record.p, record.n < most ? record.n : most}};
        refuse(it, FATE_QUARANTINED,
               damaged ? "journal_damaged" : "journal_record_unreadable",
               arena_printf(a, "journal position %lld",
                            (long long)frame_position(id)));
    }
    it->frame.id = id;
    it->journaled_by = it->frame.tenant_id;
    if (it->fate)
        return;
    if (it->frame.rejected)
        refuse(it, FATE_REJECTED, it->frame.rejected, (struct str){0});
    else if (it->frame.source == SOURCE_CHIRPSTACK ||
             it->frame.source == SOURCE_TTS)
        parse_uplink(it, a);
}

/* ---- resolve ---- */

static void take_meter(struct stage_item *it, struct arena *a,
                       const struct directory *d, const struct meter_entry *m,
                       const int16_t codec_ids[STAGE_CODECS])
{
    /* Clock synchronization has a port of its own, whatever the device. */
    bool ts003 = it->is_uplink && it->uplink.kind == UPLINK_DATA &&
                 it->uplink.port == TS003_PORT;
    const struct codec *codec =
        codec_find(ts003 ? STR("ts003") : str_of(m->codec));
    struct tenant_codec *script =
        codec ? NULL : directory_codec(d, m->tenant_id, m->codec);

    it->frame.tenant_id = m->tenant_id;
    it->meter = (struct stage_meter){
        .meter_id = m->meter_id,
        .codec = codec,
        .zone = zone_find(str_of(m->zone)),
        .serial = arena_str(a, m->serial),
        .keyring = keyring_ref(directory_keys(d), m->tenant_id)};
    if (script) {
        it->meter.script = tenant_codec_ref(script);
        it->meter.codec = tenant_codec_face(script);
        it->meter.codec_version_id = tenant_codec_version_id(script);
    } else if (!codec)
        refuse(
            it, FATE_QUARANTINED, "unknown_codec",
            arena_printf(a, "the meter's model names codec \"%s\"", m->codec));
    else
        it->meter.codec_version_id = codec_ids[codec_number(codec)];
}

/* What a stranger's detail names it by. */
static struct str who(const struct stage_item *it, struct arena *a)
{
    if (it->is_uplink)
        return arena_printf(a, STRANGER_EUI "%016llx",
                            (unsigned long long)it->uplink.dev_eui);
    return arena_printf(a, STRANGER_SERIAL "%.*s",
                        STR_ARGS(it->frame.identity));
}

void stage_resolve(struct stage_item *it, struct arena *a,
                   const struct directory *d, const struct clock_book *clocks,
                   const int16_t codec_ids[STAGE_CODECS])
{
    const struct meter_entry *m = NULL;
    int err = ERR_UNKNOWN;

    if (it->fate)
        return;
    if (it->is_uplink)
        m = directory_by_eui(d, it->frame.tenant_id, it->uplink.dev_eui);
    else
        err =
            directory_by_serial(d, it->frame.tenant_id, it->frame.identity, &m);
    if (m) {
        take_meter(it, a, d, m, codec_ids);
        struct book_entry known, *copy = NULL;
        if (book_get(clocks, m->tenant_id, m->meter_id, &known))
            copy = arena_alloc(a, sizeof *copy);
        if (copy)
            *copy = known;
        it->meter.clock = copy;
    } else
        refuse(it, FATE_QUARANTINED,
               err == ERR_CONFLICT ? "ambiguous_meter" : "unknown_meter",
               who(it, a));
}

/* ---- decode ---- */

static struct time_evidence evidence_of(const struct stage_item *it)
{
    return (struct time_evidence){
        it->frame.received_us,
        it->is_uplink ? it->uplink.network_us : TIME_NONE, NULL};
}

static void frame_key(const struct stage_item *it, struct arena *scratch,
                      struct staged_frame *row)
{
    if (it->fate == FATE_REJECTED || it->frame.source == SOURCE_JOURNAL)
        return;
    if (it->is_uplink) {
        uplink_key(&it->uplink, &row->key);
    } else {
        struct str s = arena_printf(scratch, "%d|%.*s|%.*s", it->frame.source,
                                    STR_ARGS(it->frame.identity),
                                    STR_ARGS(it->frame.payload));
        if (!s.p)
            return;
        row->key = hash128(s.p, s.n);
    }
    row->has_key = true;
}

/* Leading zeros are decoration on a label, not another meter. */
static struct str bare(struct str serial)
{
    while (serial.n > 1 && *serial.p == '0')
        serial = (struct str){serial.p + 1, serial.n - 1};
    return serial;
}

static enum severity severity_of(struct str code)
{
    const struct event_type *type = event_type(code);

    return type ? type->severity : SEVERITY_WARNING;
}

static void add_event(struct store_batch *batch, struct reconciled when,
                      struct str code, enum event_state state,
                      struct str detail)
{
    store_batch_event(
        batch, &(struct staged_event){.time_us = when.time_us,
                                      .meter_time_us = when.meter_time_us,
                                      .code = code,
                                      .detail = detail,
                                      .severity = severity_of(code),
                                      .state = state});
}

static bool lasts(const struct decoded *d, const struct decoded_event *e)
{
    return d->status && e->state == EVENT_START &&
           e->time.form == METER_TIME_NONE;
}

/* What later frames build on. */
static void add_note(const struct stage_item *it, const struct decoded *d,
                     struct store_batch *batch)
{
    struct staged_condition conditions[DECODED_EVENTS];
    struct staged_note n = {.key_id = it->unlocked.key_id,
                            .counter =
                                it->unlocked.key_id ? d->security_counter : -1,
                            .status = d->status,
                            .conditions = conditions};

    if (!keyring_knows_format(it->meter.keyring, d->format)) {
        n.format = d->format;
        n.signature = mbus_crc(d->format.p, d->format.n);
    }
    for (uint32_t i = 0; i < d->n_events; i++)
        if (lasts(d, &d->events[i]))
            n.conditions[n.n_conditions++] = (struct staged_condition){
                d->events[i].code, d->events[i].detail,
                severity_of(d->events[i].code)};
    store_batch_note(batch, &n);
}

static void add_events(const struct stage_item *it, const struct decoded *d,
                       bool stranger, struct store_batch *batch)
{
    struct time_evidence evidence = evidence_of(it);

    for (uint32_t i = 0; i < d->n_events; i++) {
        const struct decoded_event *e = &d->events[i];
        if (lasts(d, e))
            continue;
        add_event(batch, capture_time(e->time, evidence, it->meter.zone),
                  e->code, e->state, e->detail);
    }
    if (stranger)
        add_event(
            batch,
            capture_time((struct meter_time){0}, evidence, it->meter.zone),
            STR("meter.identity_mismatch"), EVENT_PULSE, d->serial);
}

static struct str payload_of(const struct stage_item *it)
{
    struct str whole = it->is_uplink ? it->uplink.payload : it->frame.payload;
    if (it->fate == FATE_REJECTED && whole.n > FRAME_SAMPLE_MAX)
        whole.n = FRAME_SAMPLE_MAX;
    return whole;
}

static void frame_facts(const struct stage_item *it, struct staged_frame *row)
{
    uint32_t ignored = 0;
    const struct uplink *u = &it->uplink;

    *row =
        (struct staged_frame){.frame = &it->frame,
                              .meter_id = it->meter.meter_id,
                              .heard_us = heard_us(evidence_of(it), &ignored),
                              .counter = -1,
                              .session = -1,
                              .port = -1,
                              .payload = payload_of(it),
                              .clock_us = TIME_NONE};
    if (it->meter.codec) {
        row->codec = it->meter.codec->name;
        row->codec_version = it->meter.codec->version;
        row->codec_version_id = it->meter.codec_version_id;
    }
    if (!it->is_uplink)
        return;
    row->counter = u->has_counter ? (int64_t)u->counter : -1;
    row->session = u->has_dev_addr ? (int64_t)u->dev_addr : -1;
    row->port = u->kind == UPLINK_DATA ? u->port : -1;
    row->gateway = u->gateway;
    row->rssi_dbm = u->rssi_dbm;
    row->snr_tenths = u->snr_tenths;
}

/* A join, or an uplink of MAC commands alone, says nothing about registers. */
static bool nothing_to_decode(const struct stage_item *it)
{
    return it->is_uplink && (it->uplink.kind == UPLINK_JOIN ||
                             it->uplink.port == 0 || it->uplink.payload.n == 0);
}

/* For which key a frame asks: the address first, see strangers_met(). */
static struct str whose_key(const struct key_wanted *w, struct arena *keep)
{
    char type[16] = "-", version[16] = "-";

    if (w->device_type >= 0)
        snprintf(type, sizeof type, "%d", w->device_type);
    if (w->version >= 0)
        snprintf(version, sizeof version, "%d", w->version);
    return arena_printf(keep, "%s %s type %s version %s", w->address,
                        *w->manufacturer ? w->manufacturer : "-", type,
                        version);
}

static void refuse_undecoded(struct stage_item *it, struct arena *keep,
                             const struct decoded *d, int err,
                             const char *reason)
{
    const struct codec *c = it->meter.codec;
    const uint8_t *list = (const uint8_t *)d->format.p;

    if (d->wants == WANTS_KEY)
        refuse(it, FATE_QUARANTINED,
               it->unlocked.tried ? "decrypt_failed" : "key_missing",
               whose_key(&it->unlocked.whose, keep));
    else if (d->wants == WANTS_FORMAT && d->format.n == 2)
        refuse(it, FATE_QUARANTINED, "format_missing",
               arena_printf(keep, MISSING_FORMAT "%02x%02x", list[1], list[0]));
    else
        refuse(it, FATE_QUARANTINED, reason,
               arena_printf(keep, "codec %s v%u: %s, at byte %u (%s)", c->name,
                            c->version, d->error ? d->error : err_text(err),
                            d->error_offset, err_name(err)));
}

/* The frame's extras say which key opened it. */
static void name_key(int64_t key_id, struct arena *keep, struct str *extras)
{
    bool more = extras->n > 2;

    *extras =
        arena_printf(keep, "[{\"quantity\":\"key\",\"value\":\"%lld\"}%s%.*s]",
                     (long long)key_id, more ? "," : "",
                     more ? (int)extras->n - 2 : 0, more ? extras->p + 1 : "");
}

static bool unprotected(const struct decoded *d)
{
    for (uint32_t i = 0; i < d->n_measurements; i++)
        if (d->measurements[i].quality & QUALITY_UNPROTECTED)
            return true;
    return false;
}

/* What is known of the meter's clock, and what the frame shows of it. */
static struct clock_known known_of(struct stage_item *it,
                                   const struct decoded *d)
{
    const struct book_entry *e = it->meter.clock;
    struct time_evidence evidence = evidence_of(it);
    bool network = heard_us(evidence, NULL) != it->frame.received_us;
    struct meter_time shown = d->clock;

    it->distrusted = shown.invalid;
    shown.invalid = false;
    it->clock_us =
        shown.form == METER_TIME_NONE
            ? TIME_NONE
            : capture_time(shown, evidence, it->meter.zone).meter_time_us;
    struct contact_delay delay =
        contact_delay(it->meter.codec, network, it->clock_us);
    return (struct clock_known){.model = e ? &e->model : NULL,
                                .accepted_us = e ? e->accepted_us : 0,
                                .interval_us = e ? e->interval_us : 0,
                                .clock_us =
                                    it->distrusted ? TIME_NONE : it->clock_us,
                                .delay_us = delay.delay_us,
                                .spread_us = delay.spread_us,
                                .ours_unsure = it->ours_unsure};
}

struct clock_contact stage_contact(const struct stage_item *it)
{
    int64_t heard = heard_us(evidence_of(it), NULL);
    const struct uplink *u = &it->uplink;

    return (struct clock_contact){
        .tenant_id = it->frame.tenant_id,
        .meter_id = it->meter.meter_id,
        .integration_id = it->frame.integration_id,
        .source = it->frame.source,
        .topic = it->frame.topic,
        .dev_eui = it->is_uplink ? u->dev_eui : 0,
        .port = it->is_uplink && u->kind == UPLINK_DATA ? u->port : 0,
        .payload = it->is_uplink ? u->payload : (struct str){0},
        .codec = it->meter.codec,
        .heard_us = heard,
        .network_time = heard != it->frame.received_us,
        .clock_us = it->clock_us,
        .distrusted = it->distrusted};
}

/* Does the contact say no more about the meter's clock than the one before? A
 * meter that dials in may have to be told something, too. */
static bool clock_is_old_news(const struct stage_item *it)
{
    struct clock_contact c = stage_contact(it);
    struct clock_request q = request_read(&c);
    bool asks = q.asks || q.package || q.period;

    return it->is_uplink && !asks && !it->distrusted &&
           book_old_news(it->meter.clock, c.heard_us, c.clock_us);
}

static void decode(struct stage_item *it, struct arena *keep,
                   struct arena *scratch, struct decoded *d,
                   struct captured *captured, bool *stranger)
{
    struct time_evidence evidence = evidence_of(it);
    struct clock_known known;
    const struct codec *c = it->meter.codec;
    struct unlock u = {.codec = c,
                       .in = {.payload = payload_of(it),
                              .port = it->is_uplink ? it->uplink.port : 0},
                       .keyring = it->meter.keyring,
                       .meter_id = it->meter.meter_id,
                       .serial = it->meter.serial};
    const char *reason = "decode_failed";
    uint32_t ignored = 0;
    int err = it->meter.script
                  ? tenant_codec_decode(it->meter.script, &u.in,
                                        heard_us(evidence_of(it), &ignored),
                                        scratch, d, &reason)
                  : unlock(&u, scratch, d, &it->unlocked);

    if (err < 0) {
        refuse_undecoded(it, keep, d, err, reason);
        return;
    }
    if (keyring_refuses_unprotected(u.keyring) && unprotected(d)) {
        refuse(it, FATE_QUARANTINED, "unprotected",
               STR("in clear, although its header announces encryption"));
        return;
    }
    *stranger = d->serial.n && !str_eq(bare(d->serial), bare(it->meter.serial));
    known = known_of(it, d);
    evidence.known = &known;
    err = capture_build(d, d->medium == MEDIUM_OTHER ? c->medium : d->medium,
                        evidence, it->meter.zone,
                        *stranger ? QUALITY_IDENTITY_MISMATCH : 0, keep,
                        captured);
    if (err < 0)
        refuse(it, FATE_QUARANTINED, "too_large",
               STR("the decoded frame needs more memory than a frame may"));
    else if (it->unlocked.key_id)
        name_key(it->unlocked.key_id, keep, &captured->extras);
}

static void add_decoded(struct stage_item *it, const struct decoded *d,
                        const struct captured *captured, bool stranger,
                        struct store_batch *batch)
{
    for (uint32_t i = 0; i < captured->n; i++) {
        store_batch_capture(batch, &captured->captures[i]);
        it->readings += captured->captures[i].profile->n;
    }
    add_events(it, d, stranger, batch);
    if (d->arena)
        add_note(it, d, batch);
}

void stage_decode(struct stage_item *it, struct arena *keep,
                  struct arena *scratch, struct store_batch *batch)
{
    struct staged_frame row;
    struct decoded d = {.sequence = -1};
    struct captured captured = {.clock_us = TIME_NONE};
    bool stranger = false;

    arena_reset(scratch);
    if (!it->fate && !nothing_to_decode(it))
        decode(it, keep, scratch, &d, &captured, &stranger);
    frame_facts(it, &row);
    if (it->meter.script) {
        row.codec = arena_str(keep, str_of(row.codec)).p;
        tenant_codec_unref(it->meter.script);
        it->meter.script = NULL;
        it->meter.codec = NULL;
    }
    frame_key(it, scratch, &row);
    row.fate = it->fate ? it->fate : FATE_STORED;
    row.reason = it->reason;
    row.detail = it->detail;
    if (!it->is_uplink)
        row.counter = d.sequence;
    if (row.fate == FATE_STORED) {
        row.extras = captured.extras;
        if (clock_is_old_news(it))
            it->clock_us = TIME_NONE;
        else
            row.clock_us = captured.clock_us;
        row.may_be_refused = it->unlocked.key_id && d.security_counter >= 0;
    }
    store_batch_frame(batch, &row);
    if (row.fate == FATE_STORED)
        add_decoded(it, &d, &captured, stranger, batch);
    keyring_unref(it->meter.keyring);
    it->meter.keyring = NULL;
}
