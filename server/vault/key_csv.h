/*
 * key_csv.h - a file of meter keys, row by row. Columns by name, in any order:
 *   Address       as on the meter, or -1: any
 *   Key           32 hex digits
 *   Manufacturer  three letters, or * (any)
 *   DeviceType, Version   0 to 255, or -1 (any)
 *   Purpose       encryption (if there is no such column) | authentication |
 *                 appkey | appskey
 *   Meter         serial of a registered meter that the key is for; then the
 *                 others are any
 *   Id            is passed over
 * Key is needed; a column that is not there means "any".
 */
#pragma once

#include "server/base/csv.h"
#include "server/vault/keyring.h"

enum { KEY_ERROR = CSV_ERROR, KEY_COLUMNS = 8 };

/* Lines without their end, changed in place. ERR_FORMAT with `error`. */
int key_csv_header(struct csv *c, char *line, char error[KEY_ERROR]);
/* ret->key_id and ->meter_id stay 0; *meter is the serial, in `line`, or NULL.
 */
int key_csv_row(struct csv *c, char *line, struct meter_key *ret,
                const char **meter, char error[KEY_ERROR]);

/* The same for single texts; NULL or "" means any. */
int key_take(struct meter_key *ret, const char *const texts[KEY_COLUMNS],
             char error[KEY_ERROR]);
enum key_column {
    COLUMN_ADDRESS,
    COLUMN_KEY,
    COLUMN_MANUFACTURER,
    COLUMN_TYPE,
    COLUMN_VERSION,
    COLUMN_PURPOSE,
    COLUMN_METER,
    COLUMN_ID
};
