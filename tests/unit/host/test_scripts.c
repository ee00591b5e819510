/* Modules made scripts, in place: lines and columns stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/host/scripts.h"

static void becomes(const char *module, const char *script)
{
    struct buf b = {0};

    scripts_from_module(str_of(module), &b);
    buf_u8(&b, 0);
    assert_string_equal((char *)b.p, script);
    buf_done(&b);
}

static void exports_are_taken_away_and_nothing_moves(void **state)
{
    (void)state;
    becomes("a\nexport function f() {}\n", "a\n       function f() {}\n");
    becomes("export const f = 1;", "       const f = 1;");
    becomes("export {\n f };\nx", "        \n    ;\nx");
    becomes("export default function f() {}", "               function f() {}");
    becomes("export default function () {}", "module.exports=function () {}");
    becomes("export default { f };", "module.exports={ f };");
    becomes("export", "export");
    becomes("export {", "       {");
}

static void only_lines_that_begin_with_export_make_a_module(void **state)
{
    (void)state;
    assert_true(scripts_is_module(STR("export {f}")));
    assert_true(scripts_is_module(STR("a\nexport const b = 1")));
    assert_false(scripts_is_module(STR("exports.a = 1")));
    assert_false(scripts_is_module(STR("a = 'export x'")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exports_are_taken_away_and_nothing_moves),
        cmocka_unit_test(only_lines_that_begin_with_export_make_a_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
