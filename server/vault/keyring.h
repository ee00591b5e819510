/*
 * keyring.h - what the frames of a tenant need to be opened: keys of meters,
 * record lists that compact frames leave out, and what the tenant refuses.
 * A keyring is immutable: the loop thread makes a new one when something
 * changed, and pool threads read the one that their frames were given.
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

enum { METER_KEY = 16, KEY_ADDRESS_MAX = 32, KEYS_TRIED = 100 };

enum key_purpose {
    KEY_ENCRYPTION,     /* M-Bus; global unicast encryption of DLMS */
    KEY_AUTHENTICATION, /* of DLMS */
    KEY_APPKEY,         /* of LoRaWAN: kept for whoever registers the device */
    KEY_APPSKEY,
    KEY_PURPOSES
};
const char *key_purpose_name(enum key_purpose p); /* "encryption" */
int key_purpose_find(struct str name);            /* or ERR_UNKNOWN */

/* Of one meter, or of all that have what is not "any". */
struct meter_key {
    int64_t key_id;
    int32_t meter_id;                  /* 0: any that the rest fits */
    int16_t device_type, version;      /* -1: any */
    char address[KEY_ADDRESS_MAX + 1]; /* "": any; without leading zeros */
    char manufacturer[4];              /* "": any */
    uint8_t purpose;                   /* enum key_purpose */
    uint8_t key[METER_KEY];
};

/* Who sent a frame, as far as it says. */
struct key_wanted {
    int32_t meter_id;
    int device_type, version; /* -1: not said */
    char address[KEY_ADDRESS_MAX + 1];
    char manufacturer[4]; /* "": not said */
};
/* As an address is compared: without leading zeros, blanks as '_', cut at
 * KEY_ADDRESS_MAX. */
void key_address(struct str serial, char ret[KEY_ADDRESS_MAX + 1]);

struct keyring; /* of one tenant; opaque */

/* The keys to try, the most specific first, of equal ones the newest: those of
 * the meter itself, and only where it has none those whose every field fits
 * (address before manufacturer before device type before version). At most
 * KEYS_TRIED. `k` may be NULL. Any thread. */
uint32_t keyring_match(const struct keyring *k, enum key_purpose purpose,
                       const struct key_wanted *w,
                       const struct meter_key *ret[KEYS_TRIED]);
/* Record lists, those learnt first before. */
const struct str *keyring_formats(const struct keyring *k, uint32_t *n);
bool keyring_knows_format(const struct keyring *k, struct str list);
/* Content in clear where encryption was announced is not taken. */
bool keyring_refuses_unprotected(const struct keyring *k);

/* ---- the loop thread's side ---- */

struct keyrings; /* of all tenants; opaque */

struct keyrings *keyrings_new(void);
void keyrings_free(struct keyrings *r); /* no keyring may be in use */
/* Changes, copied; seen by keyring_ref from keyrings_publish on. */
void keyrings_put(struct keyrings *r, int32_t tenant_id,
                  const struct meter_key *k);
void keyrings_drop(struct keyrings *r, int32_t tenant_id, int64_t key_id);
void keyrings_format(struct keyrings *r, int32_t tenant_id, struct str list);
void keyrings_refuse(struct keyrings *r, int32_t tenant_id, bool unprotected);
void keyrings_publish(struct keyrings *r);
void keyrings_discard(struct keyrings *r); /* of changes: not to be seen */
/* NULL: the tenant has nothing of the kind. Ended by keyring_unref, on any
 * thread. */
struct keyring *keyring_ref(struct keyrings *r, int32_t tenant_id);
void keyring_unref(struct keyring *k); /* NULL is fine */
