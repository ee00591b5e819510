/*
 * conf.h - configuration from one table: name, type, unit, default, bounds,
 * help. The file, the environment, the command line, --help and the printed
 * reference all read that table, so they cannot disagree.
 *
 * Order, later wins: default, file ("name = value"; '#' at the start of a line
 * or behind a blank begins a comment), environment
 * (HEADEND_JOURNAL_SYNC for journal.sync), command line (--journal.sync=X or
 * --journal.sync X).
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>
#include <stdio.h>

enum conf_type {
    CONF_TEXT, /* char *; bounds: longest length */
    CONF_INT,  /* int64_t; min..max in `unit` */
    CONF_SIZE, /* int64_t bytes; accepts K, M, G (powers of 1024) */
    CONF_BOOL, /* bool; yes/no, true/false, on/off, 1/0 */
    CONF_ENUM, /* int; one of `choices` ("always|interval") by position */
};

struct conf_option {
    const char *name;
    enum conf_type type;
    size_t offset;        /* of the field in the settings struct */
    const char *unit;     /* "ms", "bytes", ... or NULL */
    const char *fallback; /* default, as it would be written */
    int64_t min, max;     /* both 0: no bounds */
    const char *choices;
    const char *help; /* one or two sentences */
};

struct conf_table {
    const struct conf_option *options; /* ends with a zero name */
    void *settings;                    /* struct the offsets point into */
};

enum { CONF_ERROR = 256 };

/* Sets the defaults. Texts are heap copies, replaced when set again. */
void conf_defaults(const struct conf_table *t);

/* 0, ERR_UNKNOWN (no such option), ERR_RANGE, ERR_FORMAT; `error` then says
 * what was wrong and what would be right ("journal.quota: 12 is too small; it
 * takes 64M to 1024G bytes"). */
int conf_set(const struct conf_table *t, struct str name, struct str value,
             char error[CONF_ERROR]);

/* Errors are prefixed with "path:line: ". ERR_UNKNOWN also when unreadable. */
int conf_file(const struct conf_table *t, const char *path,
              char error[CONF_ERROR]);
int conf_environment(const struct conf_table *t, char **environ_list,
                     char error[CONF_ERROR]);

/* Takes every "--name=value" and "--name value" that is in the table out of
 * argv (argc shrinks); the rest stays for the caller. */
int conf_arguments(const struct conf_table *t, int *argc, char **argv,
                   char error[CONF_ERROR]);

/* The commented reference with defaults, or with the current values. */
void conf_print(const struct conf_table *t, FILE *out, bool current);
void conf_free(const struct conf_table *t);
