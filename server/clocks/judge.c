/*
 * judge.c - see judge.h: samples -> settled? -> request -> decision -> answer.
 *
 * The downlink of a class A meter leaves behind its next uplink, so an answer
 * is what the clock was off by at the moment that it was asked about. A device
 * drops an answer whose token is not its own, which makes a second one
 * harmless; Vega's has no token, so there the second waits until two more
 * requests show that the first is lost.
 */
#include "server/clocks/judge.h"
#include "codecs/ts003.h"
#include "schema/event.h"

#include <stdio.h>

#define DAY_US (86400 * US_PER_S)

static const int64_t again_us = 90 * US_PER_S; /* one request, heard twice */
static const int64_t lost_us = 3 * DAY_US;     /* sent, and never seen */

enum { VEGA_PATIENCE = 2 };

static struct clock_sample sample(const struct clock_heard *h,
                                  const struct codec *codec, bool distrusted)
{
    struct contact_delay d = contact_delay(codec, h->network_time, h->meter_us);

    return (struct clock_sample){.heard_us = h->heard_us,
                                 .meter_us = h->meter_us,
                                 .delay_us = d.delay_us,
                                 .spread_us = d.spread_us,
                                 .distrusted = distrusted};
}

static void event(struct clock_outcome *o, const char *code,
                  enum event_state state, const char *what)
{
    o->event.code = code;
    o->event.state = (int)state;
    snprintf(o->event.detail, sizeof o->event.detail, "%s; off by %.1f s", what,
             (double)o->error.offset_us / 1e6);
}

static void take_samples(struct clock_row *r, const struct clock_contact *c,
                         int64_t now_us, struct clock_outcome *o)
{
    int64_t before_us = r->model.last_us;
    enum clock_state before =
        clock_state(&r->model, before_us == TIME_NONE ? now_us : before_us,
                    r->policy.accepted_us);

    for (uint32_t i = 0; i < r->n; i++) {
        struct clock_sample s = sample(&r->samples[i], c->codec, false);
        enum clock_jump j = clock_take(&r->model, &s, r->zone);
        o->jump = j != JUMP_NONE ? j : o->jump;
    }
    if (c->clock_us != TIME_NONE && c->distrusted) {
        struct clock_heard h = {c->heard_us, c->clock_us, c->network_time};
        struct clock_sample s = sample(&h, c->codec, true);
        enum clock_jump j = clock_take(&r->model, &s, r->zone);
        o->jump = j != JUMP_NONE ? j : o->jump;
    }
    o->error = clock_now(&r->model, c->heard_us);
    o->state = clock_state(&r->model, now_us, r->policy.accepted_us);
    if (o->jump == JUMP_CORRECTED)
        event(o, "clock.corrected", EVENT_PULSE, "corrected");
    else if (o->state == CLOCK_UNTRUSTED && before != CLOCK_UNTRUSTED)
        event(o, "clock.invalid", EVENT_START, clock_jump_name(o->jump));
    else if (o->jump != JUMP_NONE)
        event(o, "clock.jump", EVENT_PULSE, clock_jump_name(o->jump));
    else if (o->state == CLOCK_DRIFTING && before == CLOCK_SYNCED)
        event(o, "clock.drift", EVENT_START, "drifts");
}

static void settle(struct clock_row *r, int64_t now_us, struct clock_outcome *o)
{
    if (!r->open_id || !r->open_sent)
        return;
    if (o->jump == JUMP_CORRECTED)
        o->settled = SETTLED_VERIFIED;
    else if (r->model.sent_us == TIME_NONE ||
             now_us - r->model.sent_us > lost_us)
        o->settled = SETTLED_FAILED;
    if (o->settled != SETTLED_NOT)
        r->open_sent = false;
}

/* Its clock as the request shows it; where it only dials in, the model. */
static struct clock_error shown(const struct clock_contact *c,
                                const struct clock_request *q,
                                struct clock_error error)
{
    if (!q->asks || q->way == WAY_HEO)
        return error;
    bool trusted = error.trusted && q->device_us >= 1420070400 * US_PER_S;
    int64_t spread = contact_delay(NULL, c->network_time, TIME_NONE).spread_us;
    int64_t off = q->device_us - c->heard_us / US_PER_S * US_PER_S;

    if (q->way == WAY_TS003)
        off = -US_PER_S * (int64_t)ts003_correction(
                              c->heard_us, (uint32_t)ts003_gps_s(q->device_us));
    return (struct clock_error){off, spread, true, trusted, false};
}

/* Was this request answered already, and is the answer still under way? */
static bool answered(struct clock_row *r, const struct clock_contact *c,
                     const struct clock_request *q)
{
    if (r->answered_us == TIME_NONE)
        return false;
    if (c->heard_us - r->answered_us < again_us)
        return true;
    return q->way == WAY_VEGA && r->open_sent && ++r->token < VEGA_PATIENCE;
}

/* Elvaco modules ask nothing; their daily clock message is the occasion. A
 * correction adds up, so none is sent while one is under way. */
static void occasion(const struct clock_row *r, const struct clock_contact *c,
                     struct clock_request *q)
{
    if (q->way != WAY_NONE || !r->elvaco || c->clock_us == TIME_NONE ||
        r->open_sent)
        return;
    q->way = WAY_ELVACO;
    q->device_us = c->clock_us;
}

static void note_ts003(struct clock_row *r, const struct clock_request *q)
{
    if (q->package)
        r->package = q->package;
    if (q->period)
        r->period = q->period < 0 ? -1 : r->period_want;
}

/* What else we want to know of it, or of it to do: behind the answer. */
static void ask_ts003(struct clock_row *r, const struct clock_request *q,
                      struct clock_outcome *o)
{
    if (q->way != WAY_TS003 || r->policy.owner != OWNER_SERVER)
        return;
    if (r->package == 0) {
        answer_version(&o->answer);
        r->package = -1;
    }
    if (q->asks && r->period_want >= 0 && r->period != -1 &&
        r->period != r->period_want)
        answer_period(&o->answer, r->period_want);
}

/* By radio whole seconds are told. */
static void send(struct clock_row *r, const struct clock_contact *c,
                 const struct clock_request *q, struct clock_outcome *o)
{
    int64_t by_s = o->decision.by_us / US_PER_S;

    o->keep = o->sent = true;
    o->reuse = r->open_id && o->settled == SETTLED_NOT;
    r->waiting_us = TIME_NONE;
    if (q->way == WAY_HEO) {
        o->shift_us = o->error.offset_us + o->decision.by_us;
    } else {
        o->decision.by_us = by_s * US_PER_S;
        answer_time(&o->answer, q, by_s);
        r->answered_us = c->heard_us;
        r->token = q->way == WAY_TS003 ? q->token : 0;
    }
    clock_expect(&r->model, c->heard_us, o->decision.by_us);
    o->way = q->way;
}

/* A TS003 device that did not ask is made to; once a day. */
static void make_it_ask(struct clock_row *r, const struct clock_contact *c,
                        struct clock_outcome *o)
{
    bool may = r->resync_us == TIME_NONE || c->heard_us - r->resync_us > DAY_US;

    o->decision.verdict = CORRECTION_WAIT;
    o->decision.reason = "until_it_asks";
    if (!may)
        return;
    answer_resync(&o->answer);
    r->resync_us = c->heard_us;
    o->way = WAY_TS003;
}

static void act(struct clock_row *r, const struct clock_contact *c,
                const struct clock_request *q, struct clock_outcome *o)
{
    bool can = q->asks || (q->way == WAY_HEO && q->device_us != TIME_NONE) ||
               q->way == WAY_ELVACO;

    if (o->decision.verdict == CORRECTION_WAIT && r->waiting_us == TIME_NONE)
        r->waiting_us = c->heard_us;
    else if (o->decision.verdict == CORRECTION_NONE)
        r->waiting_us = TIME_NONE;
    else if (o->decision.verdict == CORRECTION_APPROVAL)
        o->keep = !r->open_id || o->settled != SETTLED_NOT;
    else if (o->decision.verdict == CORRECTION_NOW && can)
        send(r, c, q, o);
    else if (o->decision.verdict == CORRECTION_NOW && r->package != 0)
        make_it_ask(r, c, o);
    else if (o->decision.verdict == CORRECTION_NOW && r->elvaco &&
             r->open_sent) {
        o->decision.verdict = CORRECTION_WAIT;
        o->decision.reason = "one_is_under_way";
    } else if (o->decision.verdict == CORRECTION_NOW) {
        o->decision.verdict = CORRECTION_REFUSED;
        o->decision.reason = "no_way_to_set_it";
    }
}

static void follow_slot(struct clock_row *r, const struct clock_contact *c,
                        struct clock_outcome *o)
{
    o->slot = slot_follow(&r->slot, &o->error, c->heard_us);
    o->slot_way = r->slot_way;
    if (o->slot == SLOT_KEPT)
        r->slot.kept_us = c->heard_us;
}

void clock_judge(struct clock_row *row, const struct clock_contact *c,
                 int64_t now_us, bool ours_unsure, struct clock_outcome *ret)
{
    struct clock_request q = request_read(c);
    int64_t before_us = row->model.last_us;

    *ret = (struct clock_outcome){.decision.not_before_us = TIME_NONE};
    take_samples(row, c, now_us, ret);
    settle(row, now_us, ret);
    follow_slot(row, c, ret);
    occasion(row, c, &q);
    note_ts003(row, &q);
    if (q.asks && answered(row, c, &q))
        return;
    ret->error = shown(c, &q, ret->error);
    struct correction_case k = {
        .error = ret->error,
        .drift_ppm = row->model.fitted ? row->model.drift_ppm : 0,
        .now_us = c->heard_us,
        .next_us =
            correction_next_us(c->heard_us, before_us, c->source == SOURCE_HEO),
        .waiting_us =
            row->waiting_us == TIME_NONE ? 0 : c->heard_us - row->waiting_us,
        .today = row->today - (row->open_sent && row->today ? 1 : 0),
        .asked = q.asks && q.must_answer,
        .approved = row->open_approved,
        .ours_unsure = ours_unsure};
    ret->decision = correction_decide(&row->policy, &k, row->zone);
    act(row, c, &q, ret);
    ask_ts003(row, &q, ret);
}

bool clock_calm(const struct clock_row *row, const struct clock_outcome *o)
{
    return o->state == CLOCK_SYNCED && o->decision.reason &&
           o->decision.verdict == CORRECTION_NONE &&
           (!row->open_id || o->settled != SETTLED_NOT) &&
           row->model.odd_count == 0 && row->model.sent_us == TIME_NONE;
}
