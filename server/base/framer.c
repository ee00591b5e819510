/*
 * framer.c - where one JSON object of a stream ends (json.h). Only strings
 * and brackets are followed; whether the object is valid, json_parse says.
 */
#include "server/base/err.h"
#include "server/base/json.h"

#include <limits.h>

enum { DEPTH_DEFAULT = 32 };

/* One byte of an object that has started; true when it ended there. */
static bool framer_step(struct json_framer *f, char c)
{
    if (f->in_string) {
        if (f->escaped)
            f->escaped = false;
        else if (c == '\\')
            f->escaped = true;
        else if (c == '"')
            f->in_string = false;
        return false;
    }
    if (c == '"')
        f->in_string = true;
    else if (c == '{' || c == '[')
        f->depth++;
    else if (c == '}' || c == ']')
        return --f->depth == 0;
    return false;
}

int json_framer_scan(struct json_framer *f, const char *buf, size_t n)
{
    uint32_t most = f->max_depth ? f->max_depth : DEPTH_DEFAULT;

    if (n > INT_MAX)
        return ERR_FULL;
    for (; f->scanned < n; f->scanned++) {
        char c = buf[f->scanned];

        if (!f->started) {
            if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
                continue;
            if (c != '{')
                return ERR_FORMAT;
            f->started = true;
        }
        if (framer_step(f, c))
            return (int)++f->scanned;
        if (f->depth > most)
            return ERR_FULL;
    }
    return 0;
}

void json_framer_next(struct json_framer *f)
{
    *f = (struct json_framer){.max_depth = f->max_depth};
}
