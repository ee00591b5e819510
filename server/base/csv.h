/*
 * csv.h - CSV (RFC 4180) from outside, taken apart in place: records, their
 * fields, columns by the names in the first record.
 */
#pragma once

#include "server/base/buf.h"

enum { CSV_FIELDS = 32, CSV_ERROR = 200 };

/* The fields of one record, which ends with NUL; they end with NUL too. Their
 * count, or ERR_FORMAT (a quote that does not end, or CSV_FIELDS is not
 * enough). */
int csv_split(char *record, char separator, char *fields[CSV_FIELDS]);
/* ',' or ';', as the header line uses it. */
char csv_separator(const char *header);

/* Which column each field is. Names are compared without regard to case,
 * blanks, '_' and '-'; "a|b" is named by either. A name with '.' at its end
 * stands for all that begin so: `named` then says what follows the dot. */
struct csv {
    char separator;
    int n;                         /* fields of the header */
    int column[CSV_FIELDS];        /* of each field */
    const char *named[CSV_FIELDS]; /* in the header, or NULL */
    char *fields[CSV_FIELDS];      /* of the last record, trimmed */
};

/* ERR_FORMAT with `error`: a column that nobody knows, or one twice. */
int csv_header(struct csv *c, char *header, const char *const *columns,
               int n_columns, char error[CSV_ERROR]);
/* c->fields. ERR_FORMAT with `error`: not as many as the header has, a quote
 * that does not end, not UTF-8. */
int csv_take(struct csv *c, char *record, char error[CSV_ERROR]);

/* A whole file, record by record, as JSON objects with the columns' first
 * names: {"line":2,"serial":"17500142","parameters":{"dn":"15"}}. Empty fields
 * are left out; a record that cannot be taken apart is {"line":3,"error":
 * "..."}, an empty line is none. */
struct csv_file {
    struct csv csv;
    const char *const *columns;
    int n_columns, line, lines;
    char *rest;
};

/* `text` ends with NUL; it is the file's until its end. ERR_FORMAT as
 * csv_header. */
int csv_begin(struct csv_file *f, char *text, const char *const *columns,
              int n_columns, char error[CSV_ERROR]);
/* Appends one object; false when there are no more. */
bool csv_row(struct csv_file *f, struct buf *out);

/* All of them as an array. Their count; ERR_FORMAT, or ERR_FULL (more than
 * `most`), with `error`. */
int csv_json(char *text, const char *const *columns, int n_columns, int most,
             struct buf *out, char error[CSV_ERROR]);
