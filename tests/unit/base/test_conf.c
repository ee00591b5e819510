/*
 * test_conf.c - one table, five readers, and errors that say what is right.
 */
#include "server/base/conf.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    char *path;
    int64_t port, quota;
    bool tls;
    int sync;
};

#define FIELD(x) offsetof(struct settings, x)

static const struct conf_option options[] = {
    {"journal.path", CONF_TEXT, FIELD(path), NULL, "/var/lib/x", 1, 32, NULL,
     "Where frames are kept."},
    {"http.port", CONF_INT, FIELD(port), NULL, "8080", 1, 65535, NULL,
     "The port that the API and the portal are served on, for people and for "
     "programs."},
    {"journal.quota", CONF_SIZE, FIELD(quota), "bytes", "10G", 64 << 20,
     1LL << 40, NULL, "How much disk it may take."},
    {"http.tls", CONF_BOOL, FIELD(tls), NULL, "no", 0, 0, NULL, "Encrypt."},
    {"journal.sync", CONF_ENUM, FIELD(sync), NULL, "always", 0, 0,
     "always|interval", "When to sync."},
    {0},
};

static struct settings settings;
static const struct conf_table table = {options, &settings};
static char error[CONF_ERROR];

static int setup(void **state)
{
    (void)state;
    conf_defaults(&table);
    error[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(&table);
    return 0;
}

static void defaults_come_from_the_table(void **state)
{
    (void)state;
    assert_string_equal(settings.path, "/var/lib/x");
    assert_int_equal(settings.port, 8080);
    assert_int_equal(settings.quota, 10LL << 30);
    assert_false(settings.tls);
    assert_int_equal(settings.sync, 0);
}

static void set(const char *name, const char *value, int err, const char *text)
{
    int r = conf_set(&table, str_of(name), str_of(value), error);

    assert_string_equal(err_name(r), err_name(err));
    if (err)
        assert_string_equal(error, text);
}

static void values_of_every_type_are_read(void **state)
{
    (void)state;
    set("journal.path", "/x y", 0, NULL);
    set("http.port", "80", 0, NULL);
    set("journal.quota", "512m", 0, NULL);
    set("http.tls", "ON", 0, NULL);
    set("journal.sync", "interval", 0, NULL);
    assert_string_equal(settings.path, "/x y");
    assert_int_equal(settings.port, 80);
    assert_int_equal(settings.quota, 512 << 20);
    assert_true(settings.tls);
    assert_int_equal(settings.sync, 1);
    set("journal.quota", "67108864", 0, NULL);
    assert_int_equal(settings.quota, 64 << 20);
    set("http.tls", "0", 0, NULL);
    assert_false(settings.tls);
}

static void errors_say_what_would_be_right(void **state)
{
    (void)state;
    set("journal.quota", "12", ERR_RANGE,
        "journal.quota: 12 is too small; it takes 64M to 1024G bytes");
    set("journal.quota", "99999999999G", ERR_RANGE,
        "journal.quota: 99999999999G is too large; it takes 64M to 1024G "
        "bytes");
    set("http.port", "70000", ERR_RANGE,
        "http.port: 70000 is too large; it takes 1 to 65535");
    set("http.port", "-1", ERR_RANGE,
        "http.port: -1 is too small; it takes 1 to 65535");
    set("http.port", "99999999999999999999999", ERR_RANGE,
        "http.port: 99999999999999999999999 is too large; it takes 1 to 65535");
    set("http.port", "80.5", ERR_FORMAT,
        "http.port: '80.5' is not a whole number, such as 8080");
    set("http.port", "", ERR_FORMAT,
        "http.port: '' is not a whole number, such as 8080");
    set("journal.quota", "12T", ERR_FORMAT,
        "journal.quota: '12T' is not a whole number with or without K, M or "
        "G, such as 10G");
    set("http.tls", "maybe", ERR_FORMAT,
        "http.tls: 'maybe' is neither yes nor no");
    set("journal.sync", "never", ERR_RANGE,
        "journal.sync: 'never' is none of always|interval");
    set("journal.syn", "always", ERR_UNKNOWN,
        "journal.syn: there is no such option");
    set("journal.path", "", ERR_RANGE,
        "journal.path: 0 characters given, it takes 1 to 32");
    set("journal.path", "a\nb", ERR_FORMAT,
        "journal.path: the value holds a control character");
    set("journal.path", "\xff", ERR_FORMAT,
        "journal.path: the value is not valid UTF-8");
    assert_string_equal(settings.path, "/var/lib/x"); /* untouched */
    assert_int_equal(settings.port, 8080);
}

static int read_file(const char *content)
{
    char path[] = "/tmp/test_conf.XXXXXX";
    int fd = mkstemp(path), r;
    ssize_t n = write(fd, content, strlen(content));

    close(fd);
    r = n < 0 ? -1 : conf_file(&table, path, error);
    unlink(path);
    return r;
}

static void a_file_is_names_values_and_comments(void **state)
{
    (void)state;
    assert_int_equal(read_file("# a comment\n\n  http.port = 90 # why\r\n"
                               "journal.path=/a#b\nhttp.tls\t=\tyes"),
                     0);
    assert_int_equal(settings.port, 90);
    assert_string_equal(settings.path, "/a#b");
    assert_true(settings.tls);
}

static void a_file_error_names_path_and_line(void **state)
{
    (void)state;
    assert_string_equal(err_name(read_file("# x\nhttp.port = 0\n")),
                        "ERR_RANGE");
    assert_non_null(
        strstr(error, ":2: http.port: 0 is too small; it takes 1 to 65535"));
    assert_memory_equal(error, "/tmp/test_conf.", 15);
    assert_string_equal(err_name(read_file("http.port 80\n")), "ERR_FORMAT");
    assert_non_null(strstr(error, ":1: 'http.port 80' is not"));
    assert_string_equal(err_name(read_file("http.prot = 80\n")), "ERR_UNKNOWN");
    assert_string_equal(err_name(conf_file(&table, "/nowhere/x", error)),
                        "ERR_UNKNOWN");
    assert_string_equal(
        error, "/nowhere/x: cannot be read: No such file or directory");
    assert_string_equal(err_name(conf_file(&table, "/tmp", error)),
                        "ERR_UNKNOWN");
}

static void the_environment_is_read_by_the_tables_names(void **state)
{
    char *good[] = {"HOME=/x", "HEADEND_HTTP_PORT=91",
                    "HEADEND_SERVICE_HOST=10.0.0.1", "HEADEND_HTTP_PORTS=7",
                    NULL};
    char *bad[] = {"HEADEND_JOURNAL_SYNC=never", NULL};

    (void)state;
    assert_int_equal(conf_environment(&table, good, error), 0);
    assert_int_equal(settings.port, 91);
    assert_string_equal(err_name(conf_environment(&table, bad, error)),
                        "ERR_RANGE");
    assert_string_equal(error, "environment HEADEND_JOURNAL_SYNC: "
                               "journal.sync: 'never' is none of "
                               "always|interval");
}

static void arguments_of_the_table_are_taken_out(void **state)
{
    char *argv[] = {"headend",
                    "serve",
                    "--http.port=92",
                    "--other",
                    "--journal.sync",
                    "interval",
                    "x",
                    "--",
                    "--http.port=1",
                    NULL};
    int argc = 9;

    (void)state;
    assert_int_equal(conf_arguments(&table, &argc, argv, error), 0);
    assert_int_equal(argc, 6);
    assert_string_equal(argv[1], "serve");
    assert_string_equal(argv[2], "--other");
    assert_string_equal(argv[3], "x");
    assert_string_equal(argv[5], "--http.port=1");
    assert_null(argv[6]);
    assert_int_equal(settings.port, 92);
    assert_int_equal(settings.sync, 1);
}

static void argument_errors_show_the_argument(void **state)
{
    char *missing[] = {"headend", "--http.port", NULL};
    char *wrong[] = {"headend", "--http.port", "x", NULL};
    int argc = 2;

    (void)state;
    assert_string_equal(err_name(conf_arguments(&table, &argc, missing, error)),
                        "ERR_FORMAT");
    assert_string_equal(error, "--http.port: a value must follow");
    argc = 3;
    assert_string_equal(err_name(conf_arguments(&table, &argc, wrong, error)),
                        "ERR_FORMAT");
    assert_string_equal(error,
                        "--http.port: 'x' is not a whole number, such as 8080");
}

static void print(bool current, char *out, size_t cap)
{
    FILE *f = fmemopen(out, cap, "w");

    conf_print(&table, f, current);
    fclose(f);
}

static void the_reference_shows_defaults_or_current_values(void **state)
{
    char text[4096] = {0};

    (void)state;
    print(false, text, sizeof text);
    assert_non_null(strstr(text, "# Where frames are kept.\n"
                                 "# text, 1 to 32 characters; default "
                                 "/var/lib/x\n#journal.path = /var/lib/x\n\n"));
    assert_non_null(strstr(text, "for\n# programs.\n# 1 to 65535; default"));
    assert_non_null(strstr(text, "# one of always|interval; default always\n"));
    set("journal.sync", "interval", 0, NULL);
    set("journal.quota", "1536M", 0, NULL);
    set("http.tls", "yes", 0, NULL);
    print(true, text, sizeof text);
    assert_non_null(strstr(text, "\njournal.sync = interval\n"));
    assert_non_null(strstr(text, "\njournal.quota = 1536M\n"));
    assert_non_null(strstr(text, "\nhttp.tls = yes\n"));
}

static void what_is_printed_can_be_read_again(void **state)
{
    char text[4096] = {0};

    (void)state;
    set("http.port", "93", 0, NULL);
    print(true, text, sizeof text);
    set("http.port", "94", 0, NULL);
    assert_int_equal(read_file(text), 0);
    assert_int_equal(settings.port, 93);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(defaults_come_from_the_table),
        CLAIM(values_of_every_type_are_read),
        CLAIM(errors_say_what_would_be_right),
        CLAIM(a_file_is_names_values_and_comments),
        CLAIM(a_file_error_names_path_and_line),
        CLAIM(the_environment_is_read_by_the_tables_names),
        CLAIM(arguments_of_the_table_are_taken_out),
        CLAIM(argument_errors_show_the_argument),
        CLAIM(the_reference_shows_defaults_or_current_values),
        CLAIM(what_is_printed_can_be_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
