/*
 * test_directory.c - whose is it: lookups stay inside a tenant, and what was
 * put, replaced and dropped a million times is still found.
 */
#include "ingest/directory.h"
#include "schema/frame.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#if defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static struct directory *d;

static int setup(void **state)
{
    (void)state;
    d = directory_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    directory_free(d);
    return 0;
}

static void put(int32_t tenant, int32_t meter, uint64_t eui, const char *serial)
{
    struct meter_entry m = {
        .tenant_id = tenant,
        .meter_id = meter,
        .dev_eui = eui,
        .serial = str_of(serial),
        .codec = "elvaco-cmi41",
        .zone = "Europe/Berlin",
    };
    directory_put_meter(d, &m);
}

/* The meter found, or the error. */
static int by_serial(int32_t tenant, const char *serial)
{
    const struct meter_entry *m = NULL;
    int r = directory_by_serial(d, tenant, str_of(serial), &m);

    return r < 0 ? r : m->meter_id;
}

static int by_eui(int32_t tenant, uint64_t eui)
{
    const struct meter_entry *m = directory_by_eui(d, tenant, eui);

    return m ? m->meter_id : ERR_UNKNOWN;
}

static void a_tenant_finds_only_its_own(void **state)
{
    (void)state;
    put(1, 10, 0xa, "S1");
    put(2, 20, 0xb, "S2");
    assert_int_equal(by_eui(1, 0xa), 10);
    assert_int_equal(by_eui(2, 0xa), ERR_UNKNOWN);
    assert_int_equal(by_eui(TENANT_PLATFORM, 0xa), ERR_UNKNOWN);
    assert_int_equal(by_serial(1, "S1"), 10);
    assert_int_equal(by_serial(1, "S2"), ERR_UNKNOWN);
    assert_int_equal(by_serial(TENANT_PLATFORM, "S1"), 10);
    assert_int_equal(by_serial(TENANT_PLATFORM, "S2"), 20);
}

static void the_same_key_in_two_tenants_is_two_meters(void **state)
{
    (void)state;
    put(1, 10, 0xa, "S");
    put(2, 10, 0xa, "S");
    assert_int_equal(by_serial(1, "S"), 10);
    assert_int_equal(by_serial(2, "S"), 10);
    assert_int_equal(by_serial(TENANT_PLATFORM, "S"), ERR_CONFLICT);
    directory_drop_meter(d, 1, 10);
    assert_int_equal(by_serial(TENANT_PLATFORM, "S"), 10);
    assert_int_equal(by_serial(1, "S"), ERR_UNKNOWN);
    assert_int_equal(by_eui(2, 0xa), 10);
}

static void a_serial_twice_in_a_tenant_names_neither(void **state)
{
    (void)state;
    put(1, 10, 0, "S");
    put(1, 11, 0, "S");
    put(1, 12, 0, "S");
    assert_int_equal(by_serial(1, "S"), ERR_CONFLICT);
    directory_drop_meter(d, 1, 11); /* from the middle of the chain */
    directory_drop_meter(d, 1, 10);
    assert_int_equal(by_serial(1, "S"), 12);
}

static void putting_again_replaces(void **state)
{
    const struct meter_entry *m;

    (void)state;
    put(1, 10, 0xa, "old");
    put(1, 10, 0xb, "new");
    assert_int_equal(directory_meters(d), 1);
    assert_int_equal(by_eui(1, 0xa), ERR_UNKNOWN);
    assert_int_equal(by_serial(1, "old"), ERR_UNKNOWN);
    assert_int_equal(by_eui(1, 0xb), 10);
    m = directory_by_eui(d, 1, 0xb);
    directory_put_meter(d, m); /* its own entry */
    assert_int_equal(by_serial(1, "new"), 10);
}

static void what_has_no_key_is_not_found_by_it(void **state)
{
    (void)state;
    put(1, 10, 0, "");
    put(1, 11, 0, "");
    assert_int_equal(by_eui(1, 0), ERR_UNKNOWN);
    assert_int_equal(by_serial(1, ""), ERR_UNKNOWN);
    assert_int_equal(by_serial(TENANT_PLATFORM, ""), ERR_UNKNOWN);
    directory_drop_meter(d, 1, 10);
    directory_drop_meter(d, 1, 12);
    directory_drop_meter(d, 2, 11);
    assert_int_equal(directory_meters(d), 1);
}

static void texts_are_copied_and_interned(void **state)
{
    char serial[] = "S1", codec[] = "mbus", zone[] = "UTC";
    struct meter_entry m = {.tenant_id = 1,
                            .meter_id = 1,
                            .serial = {serial, 2},
                            .codec = codec,
                            .zone = zone};
    const struct meter_entry *a, *b;

    (void)state;
    directory_put_meter(d, &m);
    memset(serial, 'x', 2);
    memset(codec, 'x', 4);
    memset(zone, 'x', 3);
    m = (struct meter_entry){
        .tenant_id = 1, .meter_id = 2, .serial = STR("S2"), .codec = "mbus"};
    directory_put_meter(d, &m);
    assert_int_equal(directory_by_serial(d, 1, STR("S1"), &a), 0);
    assert_int_equal(directory_by_serial(d, 1, STR("S2"), &b), 0);
    assert_string_equal(a->codec, "mbus");
    assert_string_equal(a->zone, "UTC");
    assert_ptr_equal(a->codec, b->codec);
    assert_null(b->zone);
}

static void long_serials_that_share_a_beginning_differ(void **state)
{
    char a[1000], b[1000];

    (void)state;
    memset(a, 'a', sizeof(a));
    memset(b, 'a', sizeof(b));
    a[999] = b[999] = '\0';
    b[998] = 'b';
    put(1, 1, 0, a);
    put(1, 2, 0, b);
    assert_int_equal(by_serial(1, a), 1);
    assert_int_equal(by_serial(1, b), 2);
}

/* Beside a plain array of what should be there. */
static void random_puts_and_drops_keep_all_indexes_right(void **state)
{
    enum { METERS = 3000, STEPS = 60000 };
    static struct {
        uint64_t eui;
        char serial[16];
        bool there;
    } model[METERS];
    uint32_t there = 0, x = 1;

    (void)state;
    for (int step = 0; step < STEPS; step++) {
        x = x * 1664525 + 1013904223;
        int32_t i = (int32_t)((x >> 8) % METERS), tenant = i % 7 + 1;
        there -= model[i].there;
        model[i].there = (x >> 3) % 3 != 0;
        there += model[i].there;
        if (model[i].there) {
            model[i].eui = ((uint64_t)x << 16) + (uint64_t)i;
            snprintf(model[i].serial, sizeof(model[i].serial), "%x-%d", x, i);
            put(tenant, i, model[i].eui, model[i].serial);
        } else {
            directory_drop_meter(d, tenant, i);
        }
    }
    assert_int_equal(directory_meters(d), there);
    for (int32_t i = 0; i < METERS; i++) {
        int want = model[i].there ? i : ERR_UNKNOWN;
        if (!model[i].eui)
            continue;
        assert_int_equal(by_eui(i % 7 + 1, model[i].eui), want);
        assert_int_equal(by_serial(i % 7 + 1, model[i].serial), want);
        assert_int_equal(by_serial(TENANT_PLATFORM, model[i].serial), want);
    }
}

/* At each size: an index that grows has its keys in two tables for a while. */
static void every_meter_is_found_while_the_indexes_grow(void **state)
{
    enum { METERS = 400, GONE = 7 };
    char serial[16];

    (void)state;
    for (int32_t i = 1; i <= METERS; i++) {
        snprintf(serial, sizeof(serial), "%d", i);
        put(1, i, (uint64_t)i, serial);
        if (i % GONE == 0)
            directory_drop_meter(d, 1, i - GONE / 2);
        for (int32_t j = 1; j <= i; j++) {
            bool gone = (j + GONE / 2) % GONE == 0 && j + GONE / 2 <= i;
            snprintf(serial, sizeof(serial), "%d", j);
            assert_int_equal(by_eui(1, (uint64_t)j), gone ? ERR_UNKNOWN : j);
            assert_int_equal(by_serial(1, serial), gone ? ERR_UNKNOWN : j);
        }
    }
}

static void one_serial_for_everybody_does_not_slow_it_down(void **state)
{
    (void)state;
    for (int32_t i = 0; i < 100000; i++) /* quadratic would take minutes */
        put(1 + i % 1000, i, 0, "00000000");
    assert_int_equal(by_serial(1, "00000000"), ERR_CONFLICT);
    assert_int_equal(by_serial(TENANT_PLATFORM, "00000000"), ERR_CONFLICT);
}

static long resident_kib(void)
{
    long pages = 0, skip;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%ld %ld", &skip, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * 4;
}

static void a_million_meters_take_less_than_200_mb(void **state)
{
    char serial[16];
    long before = resident_kib();

    (void)state;
    for (int32_t i = 0; i < 1000000; i++) {
        snprintf(serial, sizeof(serial), "%08d", i);
        put(1 + i % 50, i, 0x70b3d50000000000 + (uint64_t)i, serial);
    }
    assert_int_equal(by_eui(1 + 999999 % 50, 0x70b3d50000000000 + 999999),
                     999999);
    assert_int_equal(by_serial(TENANT_PLATFORM, "00123456"), 123456);
    /* A sanitizer has its own idea of memory. */
    assert_true(resident_kib() - before < 200000 || SANITIZED);
}

static void integrations_are_replaced_whole(void **state)
{
    struct integration *list = mem_alloc(2 * sizeof(*list));
    uint32_t n = 7;

    (void)state;
    assert_false(directory_loaded(d));
    assert_null(directory_integrations(d, &n));
    assert_int_equal(n, 0);
    list[0].name = mem_strdup("north");
    list[1].name = mem_strdup("south");
    list[1].password = mem_strdup("secret");
    directory_put_integrations(d, list, 2);
    assert_true(directory_loaded(d));
    assert_string_equal(directory_integrations(d, &n)[1].name, "south");
    assert_int_equal(n, 2);
    directory_put_integrations(d, NULL, 0);
    directory_integrations(d, &n);
    assert_int_equal(n, 0);
    assert_true(directory_loaded(d));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tenant_finds_only_its_own),
        TEST(the_same_key_in_two_tenants_is_two_meters),
        TEST(a_serial_twice_in_a_tenant_names_neither),
        TEST(putting_again_replaces),
        TEST(what_has_no_key_is_not_found_by_it),
        TEST(texts_are_copied_and_interned),
        TEST(long_serials_that_share_a_beginning_differ),
        TEST(random_puts_and_drops_keep_all_indexes_right),
        TEST(every_meter_is_found_while_the_indexes_grow),
        TEST(one_serial_for_everybody_does_not_slow_it_down),
        TEST(a_million_meters_take_less_than_200_mb),
        TEST(integrations_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
