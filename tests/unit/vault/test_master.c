/*
 * test_master.c - the master key's file: its form, its mode, whole or not.
 */
#include "server/base/err.h"
#include "server/vault/master.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ONE "00000000000000000000000000000000000000000000000000000000000000aa"
#define TWO "00000000000000000000000000000000000000000000000000000000000000bb"

static char path[64], error[MASTER_ERROR];

static int parse(const char *text)
{
    struct masters *m = masters_new();
    int r = masters_parse(m, str_of(text), error);

    masters_free(m);
    return r;
}

static void form_is_one_key_a_line(void **state)
{
    struct masters *m = masters_new();

    (void)state;
    assert_int_equal(
        masters_parse(m, STR("# old\n\n  " ONE "\r\n" TWO "\n" ONE), error), 0);
    assert_int_equal(m->n, 2); /* the same key twice is one */
    assert_int_equal(m->list[0].key[31], 0xaa);
    assert_ptr_equal(masters_find(m, m->list[1].name), &m->list[1]);
    assert_null(masters_find(m, "0123456789abcdef"));
    assert_string_not_equal(m->list[0].name, m->list[1].name);
    masters_free(m);
}

static void what_is_no_key_is_refused_with_its_line(void **state)
{
    char many[(MASTER_KEYS + 1) * 65 + 1] = "";

    (void)state;
    assert_int_equal(parse(ONE "\n" ONE "0"), ERR_FORMAT);
    assert_string_equal(error, "line 2: a key is 64 hex digits");
    assert_int_equal(parse("0" ONE), ERR_FORMAT);
    assert_int_equal(parse(""), ERR_FORMAT);
    assert_int_equal(parse("# nothing\n"), ERR_FORMAT);
    for (int i = 0; i <= MASTER_KEYS; i++)
        sprintf(many + strlen(many), "%063d%x\n", 0, i + 1);
    assert_int_equal(parse(many), ERR_FULL);
}

static void file_is_its_owners_alone_and_is_not_replaced(void **state)
{
    struct masters *m = masters_new(), *again = masters_new();
    struct stat st;

    (void)state;
    assert_int_equal(masters_load(again, path, error), ERR_UNKNOWN);
    masters_add(m);
    assert_int_equal(masters_write(m, path, true), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(masters_write(m, path, true), -EEXIST);
    masters_add(m);
    assert_int_equal(masters_write(m, path, false), 0);
    assert_int_equal(masters_load(again, path, error), 0);
    assert_int_equal(again->n, 2);
    assert_memory_equal(again->list, m->list, 2 * sizeof m->list[0]);
    chmod(path, 0640);
    assert_int_equal(masters_load(again, path, error), ERR_CONFLICT);
    assert_non_null(strstr(error, "chmod 600"));
    masters_free(m);
    masters_free(again);
}

static void variable_goes_before_the_file_and_leaves_the_environment(
    void **state)
{
    struct masters *m = masters_new();

    (void)state;
    setenv(MASTER_VARIABLE, ONE "," TWO, 1);
    assert_int_equal(masters_load(m, path, error), 0);
    assert_int_equal(m->n, 2);
    assert_null(getenv(MASTER_VARIABLE));
    setenv(MASTER_VARIABLE, "xyz", 1);
    assert_int_equal(masters_load(m, path, error), ERR_FORMAT);
    assert_non_null(strstr(error, MASTER_VARIABLE));
    masters_free(m);
}

/* VmFlags of the mapping: dd is "not dumped", lo is "locked". */
static void keys_are_not_in_a_core_file(void **state)
{
    struct masters *m = masters_new();
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long from, to;
    bool inside = false, dumped = true;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (unsigned long)m >= from && (unsigned long)m < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            dumped = strstr(line, " dd") == NULL;
    }
    fclose(f);
    assert_false(dumped);
    masters_free(m);
}

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_master.%d", getpid());
    return sodium_init() < 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_is_one_key_a_line),
        cmocka_unit_test(what_is_no_key_is_refused_with_its_line),
        cmocka_unit_test(file_is_its_owners_alone_and_is_not_replaced),
        cmocka_unit_test(
            variable_goes_before_the_file_and_leaves_the_environment),
        cmocka_unit_test(keys_are_not_in_a_core_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
