/*
 * json.h - a bounded JSON reader (RFC 8259) for documents from outside.
 *
 * Why our own: a meter's number must reach us as it was written ("4706.0000",
 * exact), every Debian library gives a double; depth, nodes and memory must be
 * bounded before they are used. jansson is the reference in the fuzz test.
 */
#pragma once

#include "server/base/arena.h"
#include "server/base/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json {
    enum json_type type;
    struct str text;    /* number: as written; string: unescaped UTF-8 */
    struct str name;    /* member name inside an object, unescaped */
    struct json *child; /* first element or member */
    struct json *next;  /* next sibling */
    uint32_t count;     /* elements or members */
};

struct json_limits {
    uint32_t depth; /* nesting of arrays and objects; 0 means 32 */
    uint32_t nodes; /* values in all; 0 means 100 000 */
};

struct json_error {
    size_t offset;    /* byte where it went wrong */
    const char *text; /* static: "nested deeper than 32", "invalid UTF-8" ... */
};

/* One value with nothing but blanks after it. Strings point into `text` where
 * they hold no escape, else into the arena; so `text` must outlive *ret.
 * NUL in a string, invalid UTF-8, lone surrogates, duplicate names: refused.
 * ERR_SHORT (ends early), ERR_FORMAT, ERR_FULL (a limit). */
int json_parse(struct arena *a, struct str text, struct json_limits limits,
               struct json **ret, struct json_error *error);

/* NULL in, NULL out, so that paths can be chained. First match of a name;
 * JSON null counts as absent. */
const struct json *json_get(const struct json *object, const char *name);
const struct json *json_at(const struct json *array, uint32_t index);
struct str json_str(const struct json *v);         /* {NULL,0} if no string */
bool json_int(const struct json *v, int64_t *ret); /* integral numbers only */
bool json_bool(const struct json *v, bool fallback);

/* The same value as text, without blanks. */
void json_write(struct buf *b, const struct json *v);

#define json_each(item, of)                                                    \
    for (const struct json *item = (of) ? (of)->child : NULL; item;            \
         item = item->next)

/*
 * The framing of a stream of JSON objects, newline-delimited or concatenated:
 * feeds on bytes as they come and finds where each top-level object ends.
 */
struct json_framer {
    size_t scanned; /* bytes of the current buffer already looked at */
    uint32_t depth, max_depth; /* 0 means 32 */
    bool in_string, escaped, started;
};

/* Looks at buf[0..n); buf starts at the current object. Returns the length of
 * the complete object (with what stood before it), 0 when more is needed,
 * ERR_FORMAT when the bytes cannot begin an object (before '{' only blanks
 * may stand), ERR_FULL when it nests deeper than max_depth. After a positive
 * result call json_framer_next and pass the bytes behind the object. */
int json_framer_scan(struct json_framer *f, const char *buf, size_t n);
void json_framer_next(struct json_framer *f);
