/*
 * csv.c - see csv.h.
 */
#include "server/base/csv.h"
#include "server/base/err.h"
#include <stdbool.h>
#include <string.h>

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
