/*
 * master.h - the master keys: one, or while a rotation is under way the new
 * one and those it replaces. They live in a file that only its owner may read,
 * or come in the environment; nowhere else, and never in the database.
 *
 *   # comments and blank lines are skipped
 *   64 hex digits                     the first seals, the others only open
 *
 * Blocking: files. Never on the loop thread.
 */
#pragma once

#include "server/vault/seal.h"

#define MASTER_VARIABLE "HEADEND_MASTER_KEY"

enum { MASTER_KEYS = 8, MASTER_NAME = 17, MASTER_ERROR = 256 };

struct master {
    uint8_t key[VAULT_KEY];
    char name[MASTER_NAME]; /* from its hash: tells keys apart, tells nothing */
};
/* In memory that is neither swapped nor dumped; ended by masters_free. */
struct masters {
    uint32_t n;
    struct master list[MASTER_KEYS];
};

struct masters *masters_new(void);
void masters_free(struct masters *m); /* NULL is fine */
/* A new random key in front of the others. ERR_FULL. */
int masters_add(struct masters *m);
/* ERR_FORMAT (`error` says where), ERR_FULL. */
int masters_parse(struct masters *m, struct str text, char error[MASTER_ERROR]);
/* Takes HEADEND_MASTER_KEY (keys separated by commas) out of the environment,
 * once, so that no child inherits it; else reads the file. ERR_UNKNOWN: neither
 * is there; ERR_FORMAT, ERR_CONFLICT (others may read the file) with `error`.
 */
int masters_load(struct masters *m, const char *path, char error[MASTER_ERROR]);
/* A whole file or none, also at power failure; mode 0600. Negative errno;
 * `fresh` refuses to replace one (-EEXIST). */
int masters_write(const struct masters *m, const char *path, bool fresh);
const struct master *masters_find(const struct masters *m, const char *name);
