/*
 * fuzz_base_text.c - the small readers: decimal, time stamp, hex, base64, and
 * the JSON string writer. What is read can be written and read again with the
 * same meaning.
 */
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/decimal.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/json.h"

#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

static void check_decimal(struct str in)
{
    struct decimal d, again, fine;
    char text[DECIMAL_TEXT];

    if (decimal_parse(in, &d) < 0)
        return;
    DEMAND(d.mantissa != INT64_MIN);
    DEMAND(d.exp10 <= DECIMAL_EXP && d.exp10 >= -DECIMAL_EXP);
    DEMAND(decimal_parse(str_of(decimal_text(d, text)), &again) == 0);
    DEMAND(decimal_cmp(d, again) == 0);
    DEMAND(decimal_cmp(d, decimal_reduce(d)) == 0);
    DEMAND(again.exp10 >= d.exp10 || d.exp10 > 0 || d.mantissa == 0);
    if (decimal_rescale(d, -6, &fine) == 0)
        DEMAND(fine.exp10 == -6 && decimal_cmp(fine, d) == 0);
    if (decimal_scale(d, 1000, -3, &fine) == 0)
        DEMAND(decimal_cmp(fine, d) == 0);
}

static void check_stamp(struct str in)
{
    char text[TIME_TEXT];
    struct stamp st, again;
    int64_t any = 0;

    memcpy(&any, in.p, in.n < sizeof any ? in.n : sizeof any);
    DEMAND(strlen(time_text(any, text)) < TIME_TEXT);
    DEMAND(strlen(time_text_at(any, (int)any, text)) < TIME_TEXT);
    if (stamp_parse(in, &st) < 0)
        return;
    time_text(st.us, text);
    if (strncmp(text, "1900", 4) < 0 || strncmp(text, "2201", 4) >= 0)
        return; /* an offset led out of the years that are read */
    DEMAND(stamp_parse(str_of(text), &again) == 0);
    DEMAND(again.us == st.us && again.has_zone && again.offset_s == 0);
    DEMAND(stamp_parse(str_of(time_text_at(st.us, st.offset_s, text)),
                       &again) == 0);
    DEMAND(again.us == st.us && again.offset_s == st.offset_s);
}

static void check_hex(struct str in)
{
    uint8_t out[64], again[64];
    char text[2 * sizeof out + 1];
    uint64_t eui;
    int n = hex_decode(in, out, sizeof out);

    DEMAND((hex_eui(in, &eui) == 0) == (n == 8));
    if (n <= 0)
        return;
    hex_encode(out, (size_t)n, text);
    DEMAND(hex_decode(str_of(text), again, sizeof again) == n);
    DEMAND(memcmp(out, again, (size_t)n) == 0);
}

static void check_base64(struct arena *a, struct str in)
{
    struct str out, text;

    text = base64_encode(a, in);
    DEMAND(base64_decode(a, text, &out) == 0 && str_eq(out, in));
    if (base64_decode(a, in, &out) < 0)
        return;
    text = base64_encode(a, out);
    DEMAND(text.n >= in.n && memcmp(text.p, in.p, in.n) == 0);
}

static void check_json_string(struct arena *a, struct str in)
{
    struct buf b = {0};
    struct json *v;
    int r;

    buf_json_str(&b, in);
    DEMAND(str_utf8(buf_view(&b)));
    r = json_parse(a, buf_view(&b), (struct json_limits){0}, &v, NULL);
    DEMAND((r == 0) == (in.n == 0 || !memchr(in.p, 0, in.n)));
    if (r == 0 && str_utf8(in))
        DEMAND(str_eq(v->text, in));
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct str in = {(const char *)data, size};

    if (size == 0)
        return 0;
    arena = arena ? arena : arena_new(4 << 20);
    arena_reset(arena);
    check_decimal(in);
    check_stamp(in);
    check_hex(in);
    check_base64(arena, in);
    check_json_string(arena, in);
    return 0;
}
