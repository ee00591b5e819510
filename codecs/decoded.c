/*
 * decoded.c - what a codec fills in, and its one-line text for people and for
 * test vectors. All memory comes from the frame's arena; the limits of codec.h
 * hold whatever the frame says.
 *
 * The text: items joined by "; ". First medium, serial, manufacturer and
 * clock, then the measurements in order, each behind the time of its row where
 * that changes ("@2024-01-11T09:00:00Z", "@now" for row 0), then the events.
 * A measurement is its name, its modifiers in brackets, value and unit. Local
 * times have no Z.
 */
#include "codecs/codec.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include <stdio.h>

int decoded_init(struct decoded *d, struct arena *arena)
{
    uint32_t row;

    *d = (struct decoded){.arena = arena,
                          .sequence = -1,
                          .security_counter = -1,
                          .version = -1,
                          .device_type = -1};
    return decoded_add_row(d, (struct meter_time){.dst = -1}, &row);
}

/* Room for one more in a list of n elements; the old copy stays in the arena
 * until the frame ends. */
static int grow(struct arena *a, void **list, uint32_t n, uint32_t *cap,
                uint32_t limit, size_t size)
{
    if (n < *cap)
        return 0;
    if (n >= limit)
        return ERR_FULL;
    uint32_t more = *cap ? *cap * 2 : 8;
    void *p = arena_alloc(a, more * size);
    if (!p)
        return ERR_FULL;
    if (n)
        memcpy(p, *list, n * size);
    *list = p;
    *cap = more;
    return 0;
}

int decoded_add(struct decoded *d, const struct measurement *m)
{
    void *list = d->measurements;
    int r = grow(d->arena, &list, d->n_measurements, &d->cap_measurements,
                 DECODED_MEASUREMENTS, sizeof(*m));

    if (r < 0 || d->n_measurements >= DECODED_MEASUREMENTS)
        return decoded_fail(d, ERR_FULL, "too many measurements in one frame",
                            m->offset);
    d->measurements = list;
    d->measurements[d->n_measurements++] = *m;
    return 0;
}

int decoded_add_event(struct decoded *d, const struct decoded_event *e)
{
    void *list = d->events;
    int r = grow(d->arena, &list, d->n_events, &d->cap_events, DECODED_EVENTS,
                 sizeof(*e));

    if (r < 0 || d->n_events >= DECODED_EVENTS)
        return decoded_fail(d, ERR_FULL, "too many events in one frame", 0);
    d->events = list;
    d->events[d->n_events++] = *e;
    return 0;
}

int decoded_add_row(struct decoded *d, struct meter_time time, uint32_t *row)
{
    void *list = d->rows;
    int r = grow(d->arena, &list, d->n_rows, &d->cap_rows, DECODED_ROWS,
                 sizeof(*d->rows));

    if (r < 0 || d->n_rows >= DECODED_ROWS)
        return decoded_fail(d, ERR_FULL, "too many rows in one frame", 0);
    d->rows = list;
    *row = d->n_rows++;
    d->rows[*row].time = time;
    return 0;
}

int decoded_fail(struct decoded *d, int err, const char *text, size_t offset)
{
    d->error = text;
    d->error_offset = (uint32_t)offset;
    return err;
}

/* A text that grows in the arena by whole copies would cost the square of its
 * length, so the items are first collected, then joined. */
struct line {
    struct arena *arena;
    struct str *items;
    uint32_t n, cap;
};

static void line_add(struct line *l, struct str item)
{
    void *list = l->items;

    if (item.n == 0 ||
        grow(l->arena, &list, l->n, &l->cap, UINT32_MAX / 2, sizeof(item)) < 0)
        return;
    l->items = list;
    l->items[l->n++] = item;
}

static struct str line_join(const struct line *l)
{
    size_t size = 1;

    for (uint32_t i = 0; i < l->n; i++)
        size += l->items[i].n + 2;
    char *p = arena_alloc(l->arena, size), *at = p;
    if (!p)
        return STR("(text too long)");
    for (uint32_t i = 0; i < l->n; i++) {
        if (i) {
            memcpy(at, "; ", 2);
            at += 2;
        }
        memcpy(at, l->items[i].p, l->items[i].n);
        at += l->items[i].n;
    }
    for (char *c = p; c < at; c++) {
        if ((uint8_t)*c < ' ' || *c == 0x7F)
            *c = ' '; /* texts of meters: this stays one line */
    }
    return (struct str){p, (size_t)(at - p)};
}

static struct str item_time(struct arena *a, const char *before,
                            struct meter_time t)
{
    char text[TIME_TEXT] = "unknown";

    if (t.form != METER_TIME_NONE)
        time_text(t.us, text);
    if (t.form == METER_TIME_LOCAL)
        text[strlen(text) - 1] = 0;
    return arena_printf(a, "%s%s%s%s", before, text, t.dst == 1 ? " dst" : "",
                        t.invalid ? " invalid" : "");
}

/* "[storage 1, max, L1]" or nothing. */
struct str decoded_modifiers(struct arena *a, const struct measurement *m)
{
    static const char *const functions[] = {"", "max", "min", "error"};
    static const char *const phases[16] = {
        "",      "L1", "L2", "L3", "N",  "L1-L2", "L2-L3",
        "L3-L1", "Q1", "Q2", "Q3", "Q4", "net",   "absolute"};
    static const struct {
        uint32_t flag;
        const char *word;
    } flags[] = {{MEASURED_EXPORT, "export"},
                 {MEASURED_UNCORRECTED, "uncorrected"},
                 {MEASURED_BASE, "base"},
                 {MEASURED_RATE, "extra"}};
    const struct {
        const char *word;
        uint32_t n;
    } numbers[] = {{"storage", m->storage},
                   {"tariff", m->tariff},
                   {"subunit", m->subunit}};
    char text[160] = "";
    size_t n = 0;

#define ADD(...) n += (size_t)snprintf(text + n, sizeof(text) - n, __VA_ARGS__)
    for (int i = 0; i < 3; i++) {
        if (numbers[i].n)
            ADD(", %s %u", numbers[i].word, numbers[i].n);
    }
    if (m->function)
        ADD(", %s", functions[m->function & 3]);
    if (m->phase <= PHASE_ABSOLUTE && m->phase)
        ADD(", %s", phases[m->phase]);
    for (int i = 0; i < 4; i++) {
        if (m->flags & flags[i].flag)
            ADD(", %s", flags[i].word);
    }
#undef ADD
    return n ? arena_printf(a, " [%s]", text + 2) : STR("");
}

static struct str item_measurement(struct arena *a, const struct measurement *m)
{
    char value[DECIMAL_TEXT] = "none", obis[OBIS_TEXT + 1] = "";
    const char *unit = m->unit == UNIT_NONE ? "" : unit_name(m->unit);
    struct str modifiers = decoded_modifiers(a, m);

    if (!obis_is_none(m->obis)) {
        obis[0] = ' ';
        obis_text(m->obis, obis + 1);
    }
    if (m->quantity == Q_TEXT || m->quantity == Q_DATE ||
        (m->quantity == Q_MANUFACTURER && m->value.mantissa == VALUE_NONE))
        return arena_printf(a, "%s%.*s %.*s", quantity_name(m->quantity),
                            STR_ARGS(modifiers), STR_ARGS(m->text));
    if (m->value.mantissa != VALUE_NONE)
        decimal_text(m->value, value);
    return arena_printf(
        a, "%s%s%.*s %s%s%s%s%.*s%s%s", quantity_name(m->quantity), obis,
        STR_ARGS(modifiers), value, *unit ? " " : "", unit,
        m->text.n ? " " : "", STR_ARGS(m->text),
        m->quality & QUALITY_METER_ERROR ? " (meter error)" : "",
        m->quality & QUALITY_UNPROTECTED ? " (unprotected)" : "");
}

static struct str item_event(struct arena *a, const struct decoded_event *e)
{
    struct str at =
        e->time.form == METER_TIME_NONE ? STR("") : item_time(a, " @", e->time);

    return arena_printf(a, "event %.*s %s%.*s%s%.*s", STR_ARGS(e->code),
                        event_state_name(e->state), STR_ARGS(at),
                        e->detail.n ? " " : "", STR_ARGS(e->detail));
}

struct str decoded_text(const struct decoded *d)
{
    struct arena *a = d->arena;
    struct line l = {.arena = a};
    uint32_t row = 0;

    line_add(&l, str_of(medium_name(d->medium)));
    if (d->serial.n)
        line_add(&l, arena_printf(a, "serial %.*s", STR_ARGS(d->serial)));
    if (d->manufacturer.n)
        line_add(&l, arena_printf(a, "manufacturer %.*s",
                                  STR_ARGS(d->manufacturer)));
    if (d->clock.form != METER_TIME_NONE || d->clock.invalid)
        line_add(&l, item_time(a, "clock ", d->clock));
    for (uint32_t i = 0; i < d->n_measurements; i++) {
        const struct measurement *m = &d->measurements[i];

        if (m->row != row && m->row < d->n_rows)
            line_add(&l, m->row ? item_time(a, "@", d->rows[m->row].time)
                                : STR("@now"));
        row = m->row;
        line_add(&l, item_measurement(a, m));
    }
    for (uint32_t i = 0; i < d->n_events; i++)
        line_add(&l, item_event(a, &d->events[i]));
    return line_join(&l);
}
