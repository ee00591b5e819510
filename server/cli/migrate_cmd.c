/*
 * migrate_cmd.c - headend migrate.
 */
#include "server/cli/db.h"
#include "server/store/migrate.h"
#include <stdio.h>

const struct cli_arg migrate_args[] = {{0}};

int cmd_migrate(struct cli *c)
{
    PGconn *pq = db_open(c, DB_ADMIN);
    if (!pq)
        return 1;
    int n = migrate_run(pq, stdout);
    if (n == 0)
        printf("nothing to do: the database is at migration %d\n",
               migration_latest());
    PQfinish(pq);
    return n < 0 ? 1 : 0;
}
