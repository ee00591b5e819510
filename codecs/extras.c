/*
 * extras.c - unknown JSON members as texts. The parser has bounded the depth
 * of the document before, and with it this recursion.
 */
#include "codecs/extras.h"
#include "schema/reading.h"
#include "server/base/err.h"

enum { NAME_MAX_BYTES = 64 };

struct str extras_text(const struct json *v)
{
    if (!v)
        return (struct str){0};
    if (v->type == JSON_STRING || v->type == JSON_NUMBER)
        return v->text;
    if (v->type == JSON_TRUE)
        return STR("true");
    return v->type == JSON_FALSE ? STR("false") : (struct str){0};
}

static int add_text(struct decoded *d, uint32_t row, struct str name,
                    struct str value)
{
    struct measurement m = {.row = row,
                            .quantity = Q_TEXT,
                            .obis = OBIS_NONE,
                            .value = {VALUE_NONE, 0}};

    m.text =
        arena_printf(d->arena, "%.*s=%.*s", STR_ARGS(name), STR_ARGS(value));
    if (!m.text.p)
        return decoded_fail(d, ERR_FULL, "too many unknown members", 0);
    return decoded_add(d, &m);
}

int extras_add(struct decoded *d, uint32_t row, struct str name,
               const struct json *v)
{
    uint32_t index = 0;

    if (v->type == JSON_NULL)
        return add_text(d, row, name, STR("null"));
    if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
        return add_text(d, row, name, extras_text(v));
    json_each (item, v) {
        struct str path;

        if (item->name.n > NAME_MAX_BYTES)
            return decoded_fail(d, ERR_FORMAT, "member name over 64 bytes", 0);
        if (v->type == JSON_ARRAY)
            path = arena_printf(d->arena, "%.*s.%u", STR_ARGS(name), index++);
        else
            path = arena_printf(d->arena, "%.*s.%.*s", STR_ARGS(name),
                                STR_ARGS(item->name));
        int r = path.p
                    ? extras_add(d, row, path, item)
                    : decoded_fail(d, ERR_FULL, "too many unknown members", 0);
        if (r < 0)
            return r;
    }
    return 0;
}
