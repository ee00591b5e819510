/*
 * endpoint.h - one table row is one operation of the API: its path, the right
 * it needs, its parameters, what it runs. Routing, validation, rights, the
 * OpenAPI document and the tests' matrix all read it, so that none of them can
 * disagree. One file per resource holds its rows.
 *
 * What it runs is SQL, or a function of its own (`serve`):
 *   sql   reads. $1 tenant, then the path and query fields in their order, as
 *         text, NULL when absent. One row, its first column the JSON object;
 *         none is 404. With `list`: rows of (JSON, key bigint, key text) in
 *         the list's order, and behind the fields the cursor's two keys (NULL
 *         at the start) and the most rows.
 *   call  writes: an expression over $1 (tenant, int), $2 (body, jsonb), $3
 *         and $4 (path fields, text), mostly a function of migrations/. Its
 *         value is the JSON answer. May be sent again with Idempotency-Key.
 * SQL refuses with refuse(status, field, sentence).
 */
#pragma once

#include "server/api/rights.h"

enum field_in { IN_PATH, IN_QUERY, IN_BODY };

enum field_type {
    FIELD_TEXT, /* min..max: bytes */
    FIELD_INT,  /* min..max: the value */
    FIELD_BOOL,
    FIELD_TIME,    /* RFC 3339 with a zone */
    FIELD_DECIMAL, /* a decimal string, exact */
    FIELD_WORDS,   /* an array of strings; min..max: how many */
    FIELD_OBJECT,  /* any JSON object */
    FIELD_LIST,    /* any JSON array; min..max: how many */
};

struct field {
    const char *name; /* NULL ends the list */
    enum field_in in;
    enum field_type type;
    bool required; /* of the body; a path field always is */
    bool nullable; /* of the body: null takes the value away */
    int64_t min, max;
    const char *one_of; /* "a|b|c", or NULL */
    const char *help;
};

enum endpoint_flag {
    ENDPOINT_PUBLIC = 1 << 0,    /* nobody needs to sign in */
    ENDPOINT_ANYBODY = 1 << 1,   /* signed in; no right, no tenant needed */
    ENDPOINT_CRITICAL = 1 << 2,  /* the password again, or a second person */
    ENDPOINT_STREAM = 1 << 3,    /* server-sent events, without end */
    ENDPOINT_CONFIRMED = 1 << 4, /* the same, for what is one's own */
    ENDPOINT_ONCE = 1 << 5,      /* `serve` ends in call_do */
    ENDPOINT_CSV = 1 << 6,  /* the body may be text/csv; `serve` reads it */
    ENDPOINT_FILE = 1 << 7, /* CSV or a JSON object a line */
};

enum { ENDPOINT_PATH_FIELDS = 2 };

struct call;

struct endpoint {
    const char *method, *pattern; /* pattern NULL ends the list */
    uint32_t right;               /* one bit of rights.h */
    unsigned flags;
    const char *name;  /* operationId: "accounts_list" */
    const char *title; /* one sentence for people */
    const struct field *fields;
    const char *sql, *call, *list; /* list: the member, "accounts" */
    const char *csv; /* of a list: the members that its CSV has, "a,b.c" */
    void (*serve)(struct call *c);
    const char *shown;  /* member of the answer that is shown once */
    int status;         /* of success; 0: 200. 204 has no body */
    const char *answer; /* schema of the answer (components.json), or NULL; of
                           an item, for lists */
};

/* The rows, one array per resource; ends with NULL. */
extern const struct endpoint *const endpoint_lists[];
