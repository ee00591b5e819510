/*
 * unlock.h - a codec called with what the tenant's keyring has for the frame:
 * first without a key, so that the frame says who sent it and whether it needs
 * one, then with those that fit, the most specific first. A key that does not
 * fit is an error, never a guess. Pure.
 */
#pragma once

#include "codecs/registry.h"
#include "server/vault/keyring.h"

struct unlock {
    const struct codec *codec;
    struct codec_input in;         /* payload and port */
    const struct keyring *keyring; /* NULL: the tenant has nothing */
    int32_t meter_id;
    struct str serial; /* as registered, where the frame names no meter */
};
struct unlocked {
    int64_t key_id;          /* that opened it; 0: none was needed */
    bool tried;              /* there was a key, and none fitted */
    struct key_wanted whose; /* for which key it asks */
};

/* As codec_decode; `scratch` is reset between tries. */
int unlock(const struct unlock *u, struct arena *scratch, struct decoded *d,
           struct unlocked *ret);
