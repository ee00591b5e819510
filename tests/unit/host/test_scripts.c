/* Files made texts, modules made scripts: lines stay. */
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

static void exports_are_taken_away_and_lines_stay(void **state)
{
    (void)state;
    becomes("a\nexport function f() {}\n", "a\nfunction f() {}\n");
    becomes("export const f = 1;", "const f = 1;");
    becomes("export {\n f };\nx", "\n;\nx");
    becomes("a();export{f as g,h,i as\nj};",
            "a();Object.assign(module.exports,{g:f\n,j:i});");
    becomes("export default function f() {}", "function f() {}");
    becomes("export default function () {}", "module.exports=function () {}");
    becomes("export default { f };", "module.exports={ f };");
    becomes("export", "export");
    becomes("export {", "");
}

static void only_a_statement_of_export_makes_a_module(void **state)
{
    (void)state;
    assert_true(scripts_is_module(STR("export {f}")));
    assert_true(scripts_is_module(STR("a\nexport const b = 1")));
    assert_true(scripts_is_module(STR("f()}; export{f}")));
    assert_false(scripts_is_module(STR("exports.a = 1")));
    assert_false(scripts_is_module(STR("a = 'export x'")));
}

static void a_file_becomes_utf8(void **state)
{
    struct buf own = {0};

    (void)state;
    assert_true(
        str_is(scripts_text(STR("\xef\xbb\xbfm\xc2\xb3"), &own), "m\xc2\xb3"));
    assert_true(str_is(scripts_text(STR("m\xb3 m\xc2\xb3"), &own),
                       "m\xc2\xb3 m\xc2\xb3"));
    buf_done(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exports_are_taken_away_and_lines_stay),
        cmocka_unit_test(only_a_statement_of_export_makes_a_module),
        cmocka_unit_test(a_file_becomes_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
