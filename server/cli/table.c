/*
 * table.c - see table.h.
 */
#include "server/cli/table.h"
#include <stdio.h>

enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23 };

static int width(const PGresult *r, int column)
{
    int w = (int)strlen(PQfname(r, column));
    for (int i = 0; i < PQntuples(r); i++) {
        int n = PQgetlength(r, i, column);
        w = n > w ? n : w;
    }
    return w;
}

void table_print(const PGresult *r)
{
    int n = PQnfields(r);
    for (int i = -1; i < PQntuples(r); i++)
        for (int k = 0; k < n; k++)
            printf("%-*s%s", k + 1 < n ? width(r, k) : 0,
                   i < 0 ? PQfname(r, k) : PQgetvalue(r, i, k),
                   k + 1 < n ? "  " : "\n");
}

static void cell(struct buf *o, const PGresult *r, int row, int column)
{
    const char *v = PQgetvalue(r, row, column);
    switch (PQftype(r, column)) {
    case OID_BOOL:
        buf_z(o, *v == 't' ? "true" : "false");
        break;
    case OID_INT2:
    case OID_INT4:
        buf_z(o, v);
        break;
    default: /* int8 too: beyond what JSON readers hold exactly */
        buf_json_str(o, str_of(v));
    }
}

void table_json_row(struct buf *o, const PGresult *r, int row)
{
    buf_z(o, "{");
    for (int k = 0; k < PQnfields(r); k++) {
        buf_z(o, k ? "," : "");
        buf_json_str(o, str_of(PQfname(r, k)));
        buf_z(o, ":");
        if (PQgetisnull(r, row, k))
            buf_z(o, "null");
        else
            cell(o, r, row, k);
    }
    buf_z(o, "}");
}

void table_json_rows(struct buf *o, const char *name, const PGresult *r)
{
    buf_printf(o, "\"%s\":[", name);
    for (int i = 0; i < PQntuples(r); i++) {
        buf_z(o, i ? "," : "");
        table_json_row(o, r, i);
    }
    buf_z(o, "]");
}

void table_json(const PGresult *r, const char *name)
{
    struct buf o = {0};
    buf_z(&o, "{");
    table_json_rows(&o, name, r);
    buf_z(&o, "}\n");
    fwrite(o.p, 1, o.n, stdout);
    buf_done(&o);
}
