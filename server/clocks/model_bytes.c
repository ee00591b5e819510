/*
 * model_bytes.c - version 1: u8 version, u8 flags, the two counts, the scalars,
 * then points and steps; little-endian, doubles as their bits.
 */
#include "server/clocks/model_bytes.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

enum { VERSION = 1, FITTED = 1, UNTRUSTED = 2, TRUSTED_BEFORE = 1 };

static void put_double(struct buf *out, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    buf_u64(out, bits);
}

static double get_double(struct bytes *in)
{
    uint64_t bits = bytes_u64(in);
    double v;

    memcpy(&v, &bits, sizeof v);
    return v == v && v > -1e6 && v < 1e6 ? v : 0;
}

static int64_t get(struct bytes *in)
{
    return (int64_t)bytes_u64(in);
}

static void put_point(struct buf *out, const struct clock_point *p)
{
    buf_u64(out, (uint64_t)p->heard_us);
    buf_u64(out, (uint64_t)p->offset_us);
    buf_u64(out, (uint64_t)p->spread_us);
}

static struct clock_point get_point(struct bytes *in)
{
    int64_t heard = get(in), offset = get(in), spread = get(in);

    return (struct clock_point){heard, offset, spread};
}

void model_write(const struct clock_model *m, struct buf *out)
{
    const int64_t scalars[] = {m->at_us,   m->offset_us, m->spread_us,
                               m->last_us, m->expect_us, m->sent_us};

    buf_u8(out, VERSION);
    buf_u8(out, (uint8_t)((m->fitted ? FITTED : 0) |
                          (m->untrusted ? UNTRUSTED : 0)));
    buf_u8(out, (uint8_t)m->n_points);
    buf_u8(out, (uint8_t)m->n_steps);
    buf_u8(out, (uint8_t)(m->odd_count < 255 ? m->odd_count : 255));
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        buf_u64(out, (uint64_t)scalars[i]);
    put_double(out, m->drift_ppm);
    put_point(out, &m->odd);
    for (uint32_t i = 0; i < m->n_points; i++)
        put_point(out, &m->points[i]);
    for (uint32_t i = 0; i < m->n_steps; i++) {
        const struct clock_step *s = &m->steps[i];
        buf_u64(out, (uint64_t)s->since_us);
        buf_u64(out, (uint64_t)s->at_us);
        buf_u64(out, (uint64_t)s->before_us);
        buf_u64(out, (uint64_t)s->after_us);
        put_double(out, s->drift_ppm);
        buf_u8(out, s->trusted ? TRUSTED_BEFORE : 0);
        buf_u8(out, (uint8_t)s->kind);
    }
}

static struct clock_step get_step(struct bytes *in)
{
    struct clock_step s = {0};

    s.since_us = get(in);
    s.at_us = get(in);
    s.before_us = get(in);
    s.after_us = get(in);
    s.drift_ppm = get_double(in);
    s.trusted = bytes_u8(in) & TRUSTED_BEFORE;
    uint8_t kind = bytes_u8(in);
    s.kind = kind <= JUMP_CORRECTED ? (enum clock_jump)kind : JUMP_SET;
    return s;
}

int model_read(struct str bytes, struct clock_model *ret)
{
    struct bytes in = bytes_of(bytes.p, bytes.n);
    struct clock_model m;

    clock_init(ret);
    if (bytes.n == 0)
        return 0;
    clock_init(&m);
    if (bytes_u8(&in) != VERSION)
        return ERR_FORMAT;
    uint8_t flags = bytes_u8(&in);
    m.n_points = bytes_u8(&in);
    m.n_steps = bytes_u8(&in);
    m.odd_count = bytes_u8(&in);
    if (m.n_points > CLOCK_POINTS || m.n_steps > CLOCK_STEPS)
        return ERR_FORMAT;
    m.fitted = flags & FITTED;
    m.untrusted = flags & UNTRUSTED;
    m.at_us = get(&in);
    m.offset_us = get(&in);
    m.spread_us = get(&in);
    m.last_us = get(&in);
    m.expect_us = get(&in);
    m.sent_us = get(&in);
    m.drift_ppm = get_double(&in);
    m.odd = get_point(&in);
    for (uint32_t i = 0; i < m.n_points; i++)
        m.points[i] = get_point(&in);
    for (uint32_t i = 0; i < m.n_steps; i++)
        m.steps[i] = get_step(&in);
    if (in.ran_out)
        return ERR_SHORT;
    *ret = m;
    return 0;
}
