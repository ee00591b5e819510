/*
 * csv.h - a line of CSV taken apart (RFC 4180, but no line break inside a
 * field).
 */
#pragma once

enum { CSV_FIELDS = 32 };

/* In place: the fields end with NUL. Their count, or ERR_FORMAT (a quote that
 * does not end, or CSV_FIELDS is not enough). */
int csv_split(char *line, char separator, char *fields[CSV_FIELDS]);
/* ',' or ';', as the header line uses it. */
char csv_separator(const char *header);
