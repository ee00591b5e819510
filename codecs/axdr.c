/*
 * axdr.c - A-XDR to nodes: recursion is bounded by AXDR_DEPTH_MAX, memory by
 * AXDR_NODES_MAX, lengths by the bytes that are there.
 */
#include "codecs/axdr.h"
#include "codecs/cosem.h"
#include "schema/reading.h"
#include "server/base/err.h"

struct parser {
    struct decoded *d;
    struct bytes *in;
    size_t base;
    struct axdr *nodes;
    uint32_t n, cap;
};

/* Bytes of the types of fixed size. */
static const uint8_t sizes[256] = {
    [AXDR_BOOL] = 1, [AXDR_I32] = 4,  [AXDR_U32] = 4,       [AXDR_BCD] = 1,
    [AXDR_I8] = 1,   [AXDR_I16] = 2,  [AXDR_U8] = 1,        [AXDR_U16] = 2,
    [AXDR_I64] = 8,  [AXDR_U64] = 8,  [AXDR_ENUM] = 1,      [AXDR_F32] = 4,
    [AXDR_F64] = 8,  [AXDR_DATE] = 5, [AXDR_DATETIME] = 12, [AXDR_TIME] = 4,
};

static bool has_length(uint8_t type)
{
    return type == AXDR_ARRAY || type == AXDR_STRUCT || type == AXDR_BITS ||
           type == AXDR_OCTETS || type == AXDR_TEXT || type == AXDR_UTF8;
}

uint32_t axdr_length(struct bytes *in, bool *bad)
{
    uint32_t n = bytes_u8(in);

    if (n < 0x80)
        return n;
    uint32_t size = n & 0x7F;
    if (size == 0 || size > 4) {
        *bad = true;
        return 0;
    }
    for (n = 0; size; size--)
        n = n << 8 | bytes_u8(in);
    return n;
}

static int fail(struct parser *p, int err, const char *text)
{
    return decoded_fail(p->d, err, text, p->base + bytes_offset(p->in));
}

/* Passes over the description of a compact array's elements: a type; for an
 * array also u16 elements and their description; for a structure a length and
 * that many descriptions. */
static int skip_description(struct parser *p, struct bytes *in, int depth)
{
    uint8_t type = bytes_u8(in);
    uint32_t n = type == AXDR_ARRAY;
    bool bad = depth > AXDR_DEPTH_MAX;
    int r = 0;

    if (type == AXDR_ARRAY)
        bytes_take(in, 2);
    if (type == AXDR_STRUCT)
        n = axdr_length(in, &bad);
    if (bad ||
        (n == 0 && !has_length(type) && !sizes[type] && type != AXDR_NULL))
        return fail(p, ERR_FORMAT, "A-XDR: description of a compact array");
    for (uint32_t i = 0; i < n && r == 0 && !in->ran_out; i++)
        r = skip_description(p, in, depth + 1);
    return r;
}

/* A value without tags, as the description at *what tells; *what moves behind
 * it. Its depth is that of the description, which has been passed over. */
static int parse_described(struct parser *p, struct bytes *what)
{
    struct axdr v = {.type = bytes_u8(what)};
    bool bad = false;
    int r = 0;

    if (p->n == p->cap)
        return fail(p, ERR_FULL, "A-XDR: too many values");
    if (v.type == AXDR_ARRAY) {
        v.n = bytes_u8(what) * 256u;
        v.n += bytes_u8(what);
    } else if (v.type == AXDR_STRUCT) {
        v.n = axdr_length(what, &bad);
    } else {
        v.n = has_length(v.type) ? axdr_length(p->in, &bad) : sizes[v.type];
    }
    if (v.type == AXDR_BITS)
        v.n = v.n / 8 + (v.n % 8 != 0);
    v.offset = (uint32_t)bytes_offset(p->in);
    uint32_t self = p->n++;
    struct bytes element = *what;
    if (v.type == AXDR_ARRAY && v.n == 0)
        r = skip_description(p, what, 0);
    for (uint32_t i = 0; (v.type == AXDR_ARRAY || v.type == AXDR_STRUCT) &&
                         i < v.n && r == 0 && !p->in->ran_out;
         i++) {
        if (v.type == AXDR_ARRAY)
            *what = element;
        r = parse_described(p, what);
    }
    if (v.type != AXDR_ARRAY && v.type != AXDR_STRUCT)
        v.p = bytes_take(p->in, v.n);
    v.next = p->n;
    p->nodes[self] = v;
    return bad ? fail(p, ERR_FORMAT, "A-XDR: length") : r;
}

/* Compact array (Blue Book, 4.1.5): a description, the length of the contents
 * in bytes, the contents. */
static int parse_compact(struct parser *p, int depth)
{
    struct axdr v = {.type = AXDR_ARRAY,
                     .offset = (uint32_t)bytes_offset(p->in)};
    const struct bytes description = *p->in;
    uint32_t self = p->n++;
    bool bad = false;
    int r = skip_description(p, p->in, depth + 1);

    if (r < 0)
        return r;
    uint32_t n = axdr_length(p->in, &bad);
    if (bad || n > bytes_left(p->in))
        p->in->ran_out = true;
    const uint8_t *end = p->in->p + (p->in->ran_out ? 0 : n);
    while (!p->in->ran_out && p->in->p < end) {
        const uint8_t *before = p->in->p;
        struct bytes what = description;
        if ((r = parse_described(p, &what)) < 0)
            return r;
        if (p->in->p == before)
            break;
        v.n++;
    }
    if (p->in->ran_out)
        return fail(p, ERR_SHORT, "A-XDR: compact array cut off");
    if (p->in->p != end)
        return fail(p, ERR_FORMAT,
                    "A-XDR: length of a compact array and its description");
    v.next = p->n;
    p->nodes[self] = v;
    return 0;
}

static int parse_node(struct parser *p, int depth)
{
    struct axdr v = {.type = bytes_u8(p->in)};
    bool bad = false;

    if (depth > AXDR_DEPTH_MAX)
        return fail(p, ERR_FORMAT, "A-XDR: nested too deep");
    if (p->n == p->cap)
        return fail(p, p->in->ran_out ? ERR_SHORT : ERR_FULL,
                    "A-XDR: too many values");
    if (v.type == AXDR_COMPACT)
        return parse_compact(p, depth);
    if (has_length(v.type))
        v.n = axdr_length(p->in, &bad);
    else if (sizes[v.type])
        v.n = sizes[v.type];
    else if (v.type != AXDR_NULL)
        return fail(p, ERR_FORMAT, "IEC 62056-6-2: unknown type of data");
    if (bad)
        return fail(p, ERR_FORMAT, "A-XDR: length");
    if (v.type == AXDR_BITS)
        v.n = v.n / 8 + (v.n % 8 != 0);
    v.offset = (uint32_t)bytes_offset(p->in);
    uint32_t self = p->n++;
    if (v.type != AXDR_ARRAY && v.type != AXDR_STRUCT) {
        v.p = bytes_take(p->in, v.n);
    } else {
        if (v.n > bytes_left(p->in))
            p->in->ran_out = true;
        for (uint32_t i = 0; i < v.n && !p->in->ran_out; i++) {
            int r = parse_node(p, depth + 1);
            if (r < 0)
                return r;
        }
    }
    if (p->in->ran_out)
        return fail(p, ERR_SHORT, "A-XDR: value cut off");
    v.next = p->n;
    p->nodes[self] = v;
    return 0;
}

int axdr_parse(struct decoded *d, struct bytes *in, size_t base,
               struct axdr **nodes)
{
    struct parser p = {.d = d, .in = in, .base = base};
    size_t left = bytes_left(in);

    /* a value takes a byte, but for those of a compact array's structures */
    p.cap = left < AXDR_NODES_MAX / 4 ? (uint32_t)left * 4 + 1 : AXDR_NODES_MAX;
    p.nodes = arena_alloc(d->arena, p.cap * sizeof(*p.nodes));
    if (!p.nodes)
        return fail(&p, ERR_FULL, "A-XDR: too many values");
    int r = parse_node(&p, 0);
    if (r == 0)
        *nodes = p.nodes;
    return r;
}

bool axdr_is_number(const struct axdr *v)
{
    return sizes[v->type] && v->type < AXDR_DATETIME;
}

static bool is_signed(uint8_t type)
{
    return type == AXDR_I8 || type == AXDR_I16 || type == AXDR_I32 ||
           type == AXDR_I64;
}

int axdr_number(const struct axdr *v, struct decimal *ret)
{
    bool minus = is_signed(v->type) && v->p[0] & 0x80;
    uint64_t raw = minus ? UINT64_MAX : 0;
    struct decimal d;

    for (uint32_t i = 0; i < v->n; i++)
        raw = raw << 8 | v->p[i];
    d = (struct decimal){(int64_t)raw, 0};
    if (v->type == AXDR_BCD)
        d.mantissa = (v->p[0] >> 4) * 10 + (v->p[0] & 15);
    if (v->type == AXDR_F32) {
        uint32_t bits = (uint32_t)raw;
        float f;

        memcpy(&f, &bits, sizeof(f));
        d = cosem_double((double)f, 9);
    } else if (v->type == AXDR_F64) {
        double f;

        memcpy(&f, &raw, sizeof(f));
        d = cosem_double(f, 17);
    }
    if (d.mantissa == VALUE_NONE || (v->type == AXDR_U64 && raw > INT64_MAX))
        return ERR_RANGE;
    *ret = d;
    return 0;
}
