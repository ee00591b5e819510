/*
 * test_log.c - log lines as they leave the process, read back from a pipe.
 */
#include "server/base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved, pipe_ends[2];
static char line[65536];

static void capture_start(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    saved = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[1]);
}

/* All that was logged; the return value skips the time. */
static const char *capture_end(void)
{
    size_t n = 0;
    ssize_t r;

    dup2(saved, STDERR_FILENO);
    close(saved);
    while ((r = read(pipe_ends[0], line + n, sizeof line - 1 - n)) > 0)
        n += (size_t)r;
    close(pipe_ends[0]);
    line[n] = 0;
    return n > 25 ? line + 25 : line;
}

#define LOGGED(...) (capture_start(), log_info(__VA_ARGS__), capture_end())

static void a_line_has_time_level_event_and_keys(void **state)
{
    const char *text = LOGGED("journal opened", "path=%s segments=%d", "/x", 3);

    (void)state;
    assert_string_equal(text, "info  journal opened path=/x segments=3\n");
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[19], '.');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(LOGGED("started", "%s", ""), "info  started \n");
}

static void every_conversion_prints_as_printf_would(void **state)
{
    const char *volatile none = NULL;

    (void)state;
    assert_string_equal(
        LOGGED("x", "a=%u b=%lld c=%zu d=%04x e=%.2f f=%c g=%016llx h=%d%%",
               4000000000u, -5000000000LL, (size_t)7, 0x2au, 1.5, 'q',
               0x0102030405060708ULL, 50),
        "info  x a=4000000000 b=-5000000000 c=7 d=002a e=1.50 f=q "
        "g=0102030405060708 h=50%\n");
    assert_string_equal(LOGGED("x", "a=%.*s b=%s c=%5d", 2, "abc", none, 42),
                        "info  x a=ab b=- c=\"   42\"\n");
}

static void outside_text_cannot_forge_keys_or_lines(void **state)
{
    (void)state;
    assert_string_equal(LOGGED("x", "a=%s b=%s", "1 tenant=2", "q\"\\"),
                        "info  x a=\"1 tenant=2\" b=\"q\\\"\\\\\"\n");
    assert_string_equal(LOGGED("x", "a=%s", "one\ntwo\x1b[31m"),
                        "info  x a=\"one\\x0atwo\\x1b[31m\"\n");
    assert_string_equal(LOGGED("x", "a=%s", "\xff\xc3\xa9\xc2\x9b"),
                        "info  x a=\\xff\xc3\xa9\\xc2\\x9b\n");
    assert_string_equal(LOGGED("x", "a=%s", ""), "info  x a=\"\"\n");
    assert_string_equal(LOGGED("x", "a=%s/%s", "p", "q r"),
                        "info  x a=\"p/q r\"\n");
}

static void a_huge_value_is_cut_and_the_line_still_ends(void **state)
{
    char huge[10000];
    size_t n;

    (void)state;
    memset(huge, '"', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    LOGGED("x", "a=%s b=%s c=%s", huge, huge, huge);
    n = strlen(line);
    assert_true(n <= 2048);
    assert_int_equal(line[n - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

static void levels_below_the_least_are_silent(void **state)
{
    (void)state;
    capture_start();
    log_debug("hidden", "n=%d", 1);
    log_set_level(LOG_DEBUG);
    log_debug("seen", "n=%d", 2);
    log_set_level(LOG_INFO);
    assert_string_equal(capture_end(), "debug seen n=2\n");
}

static void a_name_stands_before_the_event(void **state)
{
    const char *text;

    (void)state;
    log_set_name("bridge 3.0");
    text = LOGGED("connected", "n=%d", 1);
    log_set_name(NULL);
    assert_string_equal(text, "info  bridge 3.0: connected n=1\n");
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 100; i++)
        log_info("thread", "n=%d", (int)(intptr_t)arg);
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
    pthread_t t[4];
    int lines = 0;

    (void)state;
    capture_start();
    for (intptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, log_many, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    capture_end();
    for (char *p = line; *p; p = strchr(p, '\n') + 1, lines++)
        assert_int_equal(strcspn(p, "\n"), strlen(line) / 400 - 1);
    assert_int_equal(lines, 400);
}

static void a_limited_site_speaks_once_a_second(void **state)
{
    struct log_limit l = {0};
    int first, spoken = 0, held = 0;

    (void)state;
    first = log_allowed(&l);
    for (int i = 0; i < 1000; i++)
        if (log_allowed(&l))
            spoken++;
        else
            held++;
    assert_int_equal(first, 1);
    assert_true(spoken <= 1); /* the second may turn meanwhile */
    assert_int_equal(spoken + held, 1000);
    l.second--; /* as if that second were over */
    assert_true(log_allowed(&l) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_keys),
        cmocka_unit_test(every_conversion_prints_as_printf_would),
        cmocka_unit_test(outside_text_cannot_forge_keys_or_lines),
        cmocka_unit_test(a_huge_value_is_cut_and_the_line_still_ends),
        cmocka_unit_test(levels_below_the_least_are_silent),
        cmocka_unit_test(a_name_stands_before_the_event),
        cmocka_unit_test(lines_of_several_threads_stay_whole),
        cmocka_unit_test(a_limited_site_speaks_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
