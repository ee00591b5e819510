/* M-Bus records beyond what the vectors show: rows, identity, limits. */
#include "codecs/mbus.h"
#include "codecs/mbus_record.h"
#include "codecs/registry.h"
#include "schema/normalise.h"
#include "server/base/err.h"
#include "server/base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int decode(const char *hex, struct decoded *d)
{
    uint8_t *p = arena_alloc(arena, strlen(hex) + 1);
    int n = hex_decode(str_of(hex), p, strlen(hex));
    struct codec_input in = {.payload = {(char *)p, (size_t)n}};

    assert_true(n >= 0);
    return codec_decode(codec_find(STR("mbus-records")), &in, arena, d);
}

static void the_golden_telegram_gives_exact_registers(void **state)
{
    static const struct {
        const char *obis, *value;
    } rows[] = {
        {"6-0:1.0.0", "106895"},    {"6-0:2.0.0", "2013.060"},
        {"6-0:8.0.0", "4.047"},     {"6-0:9.0.0", "0.093"},
        {"6-0:10.0.0", "78.4"},     {"6-0:11.0.0", "40.8"},
        {"0-0:96.1.0", "69322582"}, {"0-0:97.97.0", "0"},
    };
    const struct codec *c = codec_find(STR("elvaco-cmi41"));
    uint8_t p[64];
    int n = hex_decode(str_of(c->vectors[0].hex), p, sizeof(p));
    struct codec_input in = {.payload = {(char *)p, (size_t)n}, .port = 2};
    struct decoded d;

    (void)state;
    assert_int_equal(codec_decode(c, &in, arena, &d), 0);
    assert_int_equal(d.n_measurements, sizeof(rows) / sizeof(*rows));
    assert_true(str_is(d.serial, "69322582"));
    assert_true(str_is(d.manufacturer, "DME"));
    assert_int_equal(d.medium, MEDIUM_HEAT);
    for (uint32_t i = 0; i < d.n_measurements; i++) {
        const struct measurement *m = &d.measurements[i];
        struct measured q = {.medium = d.medium,
                             .quantity = m->quantity,
                             .unit = m->unit,
                             .value = m->value,
                             .obis = m->obis};
        char obis[OBIS_TEXT], value[DECIMAL_TEXT];
        struct normal got;

        assert_string_equal(err_name(normalise(&q, &got)), "ok");
        assert_string_equal(obis_text(got.obis, obis), rows[i].obis);
        assert_string_equal(decimal_text(got.value, value), rows[i].value);
        assert_int_equal(got.quality, 0);
    }
}

static void a_dated_storage_gets_a_row_of_its_time(void **state)
{
    struct decoded d;

    (void)state;
    /* storage 1 dated behind its value, storage 2 not dated */
    assert_int_equal(decode("046D 1E0C0F31 0406 03000000 4406 01000000 "
                            "8401 06 02000000 426C 0131",
                            &d),
                     0);
    assert_int_equal(d.n_rows, 2);
    assert_int_equal(d.clock.form, METER_TIME_LOCAL);
    assert_true(d.rows[0].time.us == d.clock.us);
    assert_true(d.rows[1].time.us == 1704067200 * US_PER_S);
    assert_int_equal(d.n_measurements, 3);
    assert_int_equal(d.measurements[0].row, 0);
    assert_int_equal(d.measurements[1].row, 1);
    assert_int_equal(d.measurements[1].storage, 1);
    assert_int_equal(d.measurements[2].row, 0);
    assert_int_equal(d.measurements[2].storage, 2);
}

static void an_invalid_clock_says_so(void **state)
{
    static const char *const telegrams[] = {
        "046D 9E0C0F31",                  /* IV */
        "346D 1E0C0F31",                  /* value during error */
        "046D FFFFFFFF", "046D 3F0C0F31", /* minute 63 */
    };
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < sizeof(telegrams) / sizeof(*telegrams); i++) {
        assert_int_equal(decode(telegrams[i], &d), 0);
        assert_true(d.clock.invalid);
        assert_true(d.rows[0].time.invalid);
    }
    assert_int_equal(decode("046D 00000000", &d), 0); /* not set */
    assert_int_equal(d.clock.form, METER_TIME_NONE);
    assert_false(d.clock.invalid);
}

static void years_follow_the_century_bits(void **state)
{
    static const struct {
        const char *hex;
        int year;
    } rows[] = {
        {"046D 000C 0F31", 2024}, /* no century, 24 */
        {"046D 002C 0F31", 2024}, /* century 1 */
        {"046D 004C 0F31", 2124}, /* century 2 */
        {"046D 000C 2FA1", 1981}, /* no century, 81 */
        {"046D 000C 0FA1", 2080}, /* no century, 80 */
    };
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int year, month, day;
        assert_int_equal(decode(rows[i].hex, &d), 0);
        civil_from_days(d.clock.us / (86400 * US_PER_S) -
                            (d.clock.us < 0 ? 1 : 0),
                        &year, &month, &day);
        assert_int_equal(year, rows[i].year);
        assert_int_equal(day, 15);
    }
}

static void a_value_marked_invalid_has_no_number(void **state)
{
    static const char *const telegrams[] = {
        "0106 80",       "0206 0080",         "0306 000080",
        "0406 00000080", "0606 000000000080", "0706 0000000000000080",
        "0A06 A000",     "0C06 EEEEEEEE",     "0506 0000807F",
        "0506 FFFF7F7F", /* 3.4e38: no exact power of ten */
        "0006",          "048615 01000000",
    };
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < sizeof(telegrams) / sizeof(*telegrams); i++) {
        assert_string_equal(err_name(decode(telegrams[i], &d)), "ok");
        assert_int_equal(d.n_measurements, 1);
        assert_true(d.measurements[0].value.mantissa == INT64_MIN);
        assert_true(d.measurements[0].quality & QUALITY_INVALID);
    }
}

static void floats_keep_their_shortest_decimal(void **state)
{
    static const struct {
        const char *hex, *text;
    } rows[] = {
        {"053E CDCCB841", "23.1"}, {"053E 00000000", "0"},
        {"053E 0000803E", "0.25"}, {"053E 000080BF", "-1"},
        {"053E 00007A44", "1000"}, {"053E FFFF7F4B", "16777215"},
        {"053E 0AD7233C", "0.01"},
    };
    char text[DECIMAL_TEXT];
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(decode(rows[i].hex, &d), 0);
        assert_string_equal(decimal_text(d.measurements[0].value, text),
                            rows[i].text);
    }
}

/* The round trip over random floats, with strtof as the judge. */
static void every_float_reads_back_as_itself(void **state)
{
    uint32_t seed = 11;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint8_t p[4];
        uint32_t bits = seed >> 9 | (100u + (seed >> 3) % 56) << 23;
        memcpy(p, &bits, 4);
        struct mbus_record r = {.coding = MBUS_FLOAT, .data = p, .size = 4};
        struct mbus_value v = mbus_record_value(&r, false);
        char text[DECIMAL_TEXT];
        float f;

        memcpy(&f, &bits, 4);
        assert_int_equal(v.form, MBUS_NUMBER);
        assert_true(strtof(decimal_text(v.number, text), NULL) == f);
    }
}

static void a_second_serial_number_is_kept_apart(void **state)
{
    struct decoded d;

    (void)state;
    assert_int_equal(decode("0C78 78563412 0C78 21436587 8C4078 11111111", &d),
                     0);
    assert_true(str_is(d.serial, "12345678"));
    assert_int_equal(d.measurements[0].quantity, Q_SERIAL);
    assert_int_equal(d.measurements[1].quantity, Q_IDENTIFICATION);
    assert_int_equal(d.measurements[2].quantity, Q_SERIAL);
    assert_int_equal(d.measurements[2].subunit, 1);
}

static void an_error_duration_is_no_operating_time(void **state)
{
    struct decoded d;

    (void)state;
    assert_int_equal(decode("0222 0A00 3222 0300", &d), 0);
    assert_int_equal(d.measurements[0].flags, 0);
    assert_int_equal(d.measurements[1].flags, MEASURED_RATE);
}

static void too_many_records_are_refused_not_stored(void **state)
{
    size_t n = 3 * (DECODED_MEASUREMENTS + 10);
    uint8_t *p = arena_alloc(arena, n);
    struct codec_input in = {.payload = {(char *)p, n}};
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < n; i += 3)
        p[i] = 0x01, p[i + 1] = 0x13, p[i + 2] = 1;
    assert_string_equal(
        err_name(codec_decode(codec_find(STR("mbus-records")), &in, arena, &d)),
        "ERR_FULL");
    assert_non_null(d.error);
}

static void every_prefix_decodes_or_fails_with_a_reason(void **state)
{
    static const char hex[] =
        "8C90807F13 02FC03485225742215 0DFD0C03334D43 07798225326905A51140 046D"
        "1E0C0F31 426C0131 4406E8030000 0AFDC9FC013602 0FDEADBEEF";
    uint8_t all[128];
    int n = hex_decode(str_of(hex), all, sizeof(all));

    (void)state;
    assert_true(n > 0);
    for (int i = 1; i <= n; i++) {
        uint8_t *p = malloc((size_t)i); /* exact, so that overruns are seen */
        struct codec_input in = {.payload = {(char *)p, (size_t)i}};
        struct decoded d;
        int r;

        memcpy(p, all, (size_t)i);
        r = codec_decode(codec_find(STR("mbus-records")), &in, arena, &d);
        assert_true(r == 0 || r == ERR_SHORT || r == ERR_FORMAT);
        assert_true(r == 0 || (d.error && d.error_offset <= (uint32_t)i));
        if (r == 0)
            assert_true(decoded_text(&d).n > 0);
        free(p);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_golden_telegram_gives_exact_registers),
        T(a_dated_storage_gets_a_row_of_its_time),
        T(an_invalid_clock_says_so),
        T(years_follow_the_century_bits),
        T(a_value_marked_invalid_has_no_number),
        T(floats_keep_their_shortest_decimal),
        T(every_float_reads_back_as_itself),
        T(a_second_serial_number_is_kept_apart),
        T(an_error_duration_is_no_operating_time),
        T(too_many_records_are_refused_not_stored),
        T(every_prefix_decodes_or_fails_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
