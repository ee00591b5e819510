/*
 * csv.c - see csv.h.
 */
#include "server/base/csv.h"
#include "server/base/err.h"
#include <ctype.h>
#include <stdio.h>

int csv_split(char *line, char separator, char *fields[CSV_FIELDS])
{
    int n = 0;

    for (char *p = line; n < CSV_FIELDS;) {
        char *out = p;
        bool quote = *p == '"';
        fields[n++] = out;
        if (quote)
            for (p++; *p && !(*p == '"' && p[1] != '"'); p++)
                *out++ = *p == '"' ? *p++ : *p;
        else
            while (*p && *p != separator)
                *out++ = *p++;
        if (quote && *p++ != '"')
            return ERR_FORMAT;
        char end = *p;
        *out = 0;
        if (!end)
            return n;
        if (end != separator)
            return ERR_FORMAT;
        p++;
    }
    return ERR_FORMAT;
}

char csv_separator(const char *header)
{
    return strchr(header, ';') ? ';' : ',';
}

/* ---- columns ---- */

static bool passed_over(char c)
{
    return c == ' ' || c == '_' || c == '-';
}

/* How much of `field` the name up to '|' or its end is; -1: it is another. */
static int same_name(const char *field, const char *name)
{
    const char *f = field;

    for (;; f++, name++) {
        while (passed_over(*f))
            f++;
        while (passed_over(*name))
            name++;
        if (*name == '.' && *f == '.')
            return (int)(f + 1 - field);
        if (!*name || *name == '|')
            return *f ? -1 : (int)(f - field);
        if (tolower((unsigned char)*f) != tolower((unsigned char)*name))
            return -1;
    }
}

static int find_column(const char *field, const char *const *columns,
                       int n_columns, const char **named)
{
    for (int k = 0; k < n_columns; k++)
        for (const char *name = columns[k]; name;) {
            int n = same_name(field, name);
            if (n > 0) {
                bool prefix = field[n - 1] == '.';
                *named = prefix ? field + n : NULL;
                return prefix && !field[n] ? -1 : k;
            }
            name = strchr(name, '|');
            name = name ? name + 1 : NULL;
        }
    return -1;
}

static bool is_twice(const struct csv *c, int i)
{
    for (int k = 0; k < i; k++)
        if (c->column[k] == c->column[i] &&
            (!c->named[i] || strcmp(c->named[i], c->named[k]) == 0))
            return true;
    return false;
}

static void trim(char **field)
{
    struct str bare = str_trim(str_of(*field));

    *field = (char *)bare.p;
    (*field)[bare.n] = 0;
}

static int no_column(const char *field, const char *what,
                     const char *const *columns, int n_columns,
                     char error[CSV_ERROR])
{
    int n = snprintf(error, CSV_ERROR, "column \"%.40s\" is %s", field, what);

    for (int k = 0; columns && k < n_columns && n < CSV_ERROR; k++)
        n += snprintf(error + n, (size_t)(CSV_ERROR - n), "%s%.*s",
                      k ? ", " : "; known: ", (int)strcspn(columns[k], "|"),
                      columns[k]);
    return ERR_FORMAT;
}

int csv_header(struct csv *c, char *header, const char *const *columns,
               int n_columns, char error[CSV_ERROR])
{
    if (strncmp(header, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        header += 3;
    c->separator = csv_separator(header);
    c->n = str_utf8(str_of(header)) ? csv_split(header, c->separator, c->fields)
                                    : ERR_FORMAT;
    if (c->n < 0) {
        snprintf(error, CSV_ERROR,
                 "the header is not UTF-8, a quote in it does not end, or it "
                 "has more than %d columns",
                 CSV_FIELDS);
        return ERR_FORMAT;
    }
    for (int i = 0; i < c->n; i++) {
        trim(&c->fields[i]);
        c->column[i] =
            find_column(c->fields[i], columns, n_columns, &c->named[i]);
        if (c->column[i] < 0)
            return no_column(c->fields[i], "not known", columns, n_columns,
                             error);
        if (is_twice(c, i))
            return no_column(c->fields[i], "there twice", NULL, 0, error);
    }
    return 0;
}

int csv_take(struct csv *c, char *record, char error[CSV_ERROR])
{
    int n = ERR_FORMAT;

    if (!str_utf8(str_of(record)))
        snprintf(error, CSV_ERROR, "it is not UTF-8 text");
    else if ((n = csv_split(record, c->separator, c->fields)) < 0)
        snprintf(error, CSV_ERROR, "a quote does not end, or too many fields");
    else if (n != c->n)
        snprintf(error, CSV_ERROR, "%d fields, the header has %d", n, c->n);
    for (int i = 0; i < n; i++)
        trim(&c->fields[i]);
    return n == c->n ? 0 : ERR_FORMAT;
}

/* ---- a whole file ---- */

/* The next record of *text, which moves on; its end becomes NUL. A line break
 * inside of quotes is part of a field. */
static char *next_record(char **text, char separator, int *lines)
{
    char *record = *text, *p = record;
    bool quoted = false, begins = true;

    if (!*record)
        return NULL;
    for (*lines = 1; *p && (quoted || *p != '\n'); p++) {
        if (quoted && *p == '"' && p[1] == '"')
            p++;
        else if (*p == '"')
            quoted = quoted ? false : begins;
        *lines += *p == '\n';
        begins = !quoted && *p == separator;
    }
    *text = *p ? p + 1 : p;
    *p = 0;
    if (p > record && p[-1] == '\r')
        p[-1] = 0;
    return record;
}

static void put_field(struct buf *b, const char *name, const char *text)
{
    buf_u8(b, ',');
    buf_json_str(b, (struct str){name, strcspn(name, "|.")});
    buf_u8(b, ':');
    buf_json_str(b, str_of(text));
}

/* The fields of the columns "name." as one object. */
static void put_named(const struct csv *c, const char *const *columns, int k,
                      struct buf *b)
{
    bool open = false;

    for (int i = 0; i < c->n; i++) {
        if (c->column[i] != k || !c->named[i] || !*c->fields[i])
            continue;
        if (!open)
            buf_printf(b, ",\"%.*s\":{", (int)strcspn(columns[k], "|."),
                       columns[k]);
        else
            buf_u8(b, ',');
        open = true;
        buf_json_str(b, str_of(c->named[i]));
        buf_u8(b, ':');
        buf_json_str(b, str_of(c->fields[i]));
    }
    if (open)
        buf_u8(b, '}');
}

static void put_row(struct csv_file *f, char *record, struct buf *b)
{
    struct csv *c = &f->csv;
    char error[CSV_ERROR];

    buf_printf(b, "{\"line\":%d", f->line);
    if (csv_take(c, record, error) < 0) {
        put_field(b, "error", error);
    } else {
        for (int i = 0; i < c->n; i++)
            if (!c->named[i] && *c->fields[i])
                put_field(b, f->columns[c->column[i]], c->fields[i]);
        for (int k = 0; k < f->n_columns; k++)
            if (strchr(f->columns[k], '.'))
                put_named(c, f->columns, k, b);
    }
    buf_u8(b, '}');
}

int csv_begin(struct csv_file *f, char *text, const char *const *columns,
              int n_columns, char error[CSV_ERROR])
{
    *f = (struct csv_file){
        .columns = columns, .n_columns = n_columns, .line = 1, .rest = text};
    char *header = next_record(&f->rest, 0, &f->lines);

    if (header && *header)
        return csv_header(&f->csv, header, columns, n_columns, error);
    snprintf(error, CSV_ERROR, "there is no header line");
    return ERR_FORMAT;
}

bool csv_row(struct csv_file *f, struct buf *out)
{
    char *record;

    do {
        f->line += f->lines;
        record = next_record(&f->rest, f->csv.separator, &f->lines);
    } while (record && !*record);
    if (record)
        put_row(f, record, out);
    return record != NULL;
}

int csv_json(char *text, const char *const *columns, int n_columns, int most,
             struct buf *out, char error[CSV_ERROR])
{
    struct csv_file f;
    int rows = 0;

    if (csv_begin(&f, text, columns, n_columns, error) < 0)
        return ERR_FORMAT;
    for (buf_u8(out, '['); csv_row(&f, out); buf_u8(out, ','))
        if (rows++ == most) {
            snprintf(error, CSV_ERROR, "more than %d rows", most);
            return ERR_FULL;
        }
    if (rows)
        out->n--; /* the last comma */
    buf_u8(out, ']');
    return rows;
}
