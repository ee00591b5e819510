/*
 * passport_rows.h - rows of passports on their way into the database: their
 * keys are taken out and sealed, the rest goes as JSON to passports_take() of
 * migrations/. For the API and the command line alike.
 */
#pragma once

#include "server/base/json.h"
#include "server/vault/keyring.h"
#include "server/vault/vault.h"

enum { PASSPORT_COLUMNS = 13, PASSPORT_ROWS_MOST = 5000 };
/* Of a file (csv.h); the members of a row have the first names. */
extern const char *const passport_columns[PASSPORT_COLUMNS];

struct passport_key {
    int row;
    uint8_t purpose;
    bool known; /* its passport has this very key */
    int64_t fresh, old;
    uint8_t key[METER_KEY];
};

struct passport_rows {
    struct buf json;
    struct passport_key *keys; /* by row */
    int n_keys, cap, n_rows;
};

void passport_rows_done(struct passport_rows *p); /* wipes the keys */
/* One row; what is wrong with it goes along, to be told as its result. With
 * `passport_id` it is a change of that one, and `revision` a member. */
void passport_rows_add(struct passport_rows *p, const struct json *row,
                       int64_t passport_id);
/* All of them as one JSON array, NUL-terminated; then no more are added. */
const char *passport_rows_json(struct passport_rows *p);

/* A row of passports_look(): a new id for a key, and the sealed one (bytes)
 * that is there, under `old` (0: none). */
struct passport_looked {
    int row;
    struct str purpose;
    int64_t fresh, old;
    int32_t key_no;
    struct str sealed;
};
void passport_rows_looked(struct passport_rows *p, const struct vault *v,
                          int32_t tenant_id, const struct passport_looked *l);
/* The keys that are new as JSON for passports_take(), NUL-terminated. As
 * vault_seal. */
int passport_rows_seal(struct passport_rows *p, struct vault *v,
                       int32_t tenant_id, struct buf *ret);
