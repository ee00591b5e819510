/*
 * fuzz_base_json.c - our JSON reader against jansson: both accept or both
 * refuse, and what they accept means the same. Where they may differ: our
 * limits (ERR_FULL), numbers that no double or long long can hold, and NUL,
 * which is no JSON anywhere (jansson skips it behind a number).
 */
/* Both sides name their types alike; ours step aside here. */
#define JSON_NULL   OUR_NULL
#define JSON_FALSE  OUR_FALSE
#define JSON_TRUE   OUR_TRUE
#define JSON_NUMBER OUR_NUMBER
#define JSON_STRING OUR_STRING
#define JSON_ARRAY  OUR_ARRAY
#define JSON_OBJECT OUR_OBJECT
#include "server/base/err.h"
#include "server/base/json.h"
#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_NUMBER
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT

#include <jansson.h>
#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

static bool same(const struct json *ours, const json_t *theirs);

static bool same_members(const struct json *ours, const json_t *theirs)
{
    json_each (m, ours)
        if (!same(m, json_object_getn(theirs, m->name.p, m->name.n)))
            return false;
    return ours->count == json_object_size(theirs);
}

static bool same_elements(const struct json *ours, const json_t *theirs)
{
    size_t i = 0;

    json_each (e, ours)
        if (!same(e, json_array_get(theirs, i++)))
            return false;
    return ours->count == json_array_size(theirs) && ours->count == i;
}

static bool same_number(const struct json *ours, const json_t *theirs)
{
    char text[8192];
    int64_t v;

    DEMAND(ours->text.n < sizeof text);
    memcpy(text, ours->text.p, ours->text.n);
    text[ours->text.n] = 0;
    if (json_is_integer(theirs))
        return strtoll(text, NULL, 10) == json_integer_value(theirs) &&
               (!json_int(ours, &v) || v == json_integer_value(theirs));
    return json_is_real(theirs) &&
           strtod(text, NULL) == json_real_value(theirs);
}

/* Recursion is bounded: ours was parsed with a depth of 32. */
static bool same(const struct json *ours, const json_t *theirs)
{
    switch (ours->type) {
    case OUR_NULL:
        return json_is_null(theirs);
    case OUR_FALSE:
        return json_is_false(theirs);
    case OUR_TRUE:
        return json_is_true(theirs);
    case OUR_NUMBER:
        return same_number(ours, theirs);
    case OUR_STRING:
        return json_is_string(theirs) &&
               str_eq(ours->text, (struct str){json_string_value(theirs),
                                               json_string_length(theirs)}) &&
               str_utf8(ours->text);
    case OUR_ARRAY:
        return json_is_array(theirs) && same_elements(ours, theirs);
    case OUR_OBJECT:
        return json_is_object(theirs) && same_members(ours, theirs);
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct json_error our_error = {.offset = 0};
    struct str text = {(const char *)data, size};
    struct json *ours = NULL;
    json_error_t their_error;
    json_t *theirs;
    int r;

    if (size == 0 || size > 8000)
        return 0;
    arena = arena ? arena : arena_new(4 << 20);
    arena_reset(arena);
    r = json_parse(arena, text, (struct json_limits){0}, &ours, &our_error);
    if (memchr(data, 0, size)) {
        DEMAND(r < 0);
        return 0;
    }
    theirs = json_loadb(text.p, text.n,
                        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &their_error);
    if (r == 0) {
        DEMAND(theirs ? same(ours, theirs)
                      : json_error_code(&their_error) ==
                            json_error_numeric_overflow);
    } else {
        DEMAND(!theirs || r == ERR_FULL);
        DEMAND(!ours && our_error.offset <= size && our_error.text);
    }
    json_decref(theirs);
    return 0;
}
