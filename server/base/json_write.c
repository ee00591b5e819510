/*
 * json_write.c - a parsed value as text again, numbers as they were written.
 */
#include "server/base/json.h"

/* The reader bounds the depth, and with it this recursion. */
static void put_members(struct buf *o, const struct json *v)
{
    const char *comma = "";

    json_each (item, v) {
        buf_z(o, comma);
        if (v->type == JSON_OBJECT) {
            buf_json_str(o, item->name);
            buf_z(o, ":");
        }
        json_write(o, item);
        comma = ",";
    }
}

void json_write(struct buf *o, const struct json *v)
{
    static const char *const words[] = {"null", "false", "true"};

    if (v->type == JSON_NUMBER)
        buf_str(o, v->text);
    else if (v->type == JSON_STRING)
        buf_json_str(o, v->text);
    else if (v->type <= JSON_TRUE)
        buf_z(o, words[v->type]);
    else {
        buf_z(o, v->type == JSON_ARRAY ? "[" : "{");
        put_members(o, v);
        buf_z(o, v->type == JSON_ARRAY ? "]" : "}");
    }
}
