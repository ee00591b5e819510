/* Any bytes as a script: the text is UTF-8, a module keeps its lines. */
#include "codecs/host/scripts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t lines(struct str s)
{
    size_t found = 0;

    for (size_t i = 0; i < s.n; i++)
        found += s.p[i] == '\n';
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf own = {0}, out = {0};
    struct str text = scripts_text((struct str){(const char *)data, n}, &own);

    if (!str_utf8(text))
        __builtin_trap();
    scripts_from_module(text, &out);
    if (lines(buf_view(&out)) != lines(text) ||
        (!scripts_is_module(text) && out.n != text.n))
        __builtin_trap();
    buf_done(&out);
    buf_done(&own);
    return 0;
}
