/*
 * unlock.c - see unlock.h.
 */
#include "server/pipeline/unlock.h"
#include <stdio.h>

struct attempt {
    const struct meter_key *key, *auth; /* auth may be NULL */
};

static int decode_with(const struct unlock *u, struct attempt a,
                       struct arena *scratch, struct decoded *d)
{
    struct codec_input in = u->in;

    in.key = a.key ? a.key->key : NULL;
    in.auth_key = a.auth ? a.auth->key : NULL;
    in.formats = keyring_formats(u->keyring, &in.n_formats);
    arena_reset(scratch);
    return codec_decode(u->codec, &in, scratch, d);
}

static struct key_wanted who(const struct unlock *u, const struct decoded *d)
{
    struct key_wanted w = {.meter_id = u->meter_id,
                           .device_type = d->device_type,
                           .version = d->version};

    key_address(d->serial.n ? d->serial : u->serial, w.address);
    if (d->manufacturer.n == 3)
        memcpy(w.manufacturer, d->manufacturer.p, 3);
    return w;
}

/* Pairs of encryption and authentication keys, as many as may be tried. */
static uint32_t attempts(const struct unlock *u, const struct key_wanted *w,
                         struct attempt ret[KEYS_TRIED])
{
    const struct meter_key *keys[KEYS_TRIED], *auth[KEYS_TRIED];
    uint32_t n_keys = keyring_match(u->keyring, KEY_ENCRYPTION, w, keys);
    uint32_t n_auth = keyring_match(u->keyring, KEY_AUTHENTICATION, w, auth);
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_keys; i++) {
        if (n_auth == 0 && n < KEYS_TRIED)
            ret[n++] = (struct attempt){keys[i], NULL};
        for (uint32_t j = 0; j < n_auth && n < KEYS_TRIED; j++)
            ret[n++] = (struct attempt){keys[i], auth[j]};
    }
    return n;
}

/* A frame in clear that carries an authentication code is taken as it is where
 * no key speaks against it; one that is encrypted needs its key. What a key
 * opens and the codec then cannot read is told as that. */
int unlock(const struct unlock *u, struct arena *scratch, struct decoded *d,
           struct unlocked *ret)
{
    struct attempt list[KEYS_TRIED], opened = {0};
    int err = decode_with(u, (struct attempt){0}, scratch, d);
    bool clear = err == 0;

    *ret = (struct unlocked){.whose = who(u, d)};
    if (d->wants != WANTS_KEY)
        return err;
    uint32_t n = attempts(u, &ret->whose, list);
    for (uint32_t i = 0; i < n; i++) {
        err = decode_with(u, list[i], scratch, d);
        if (err == 0 && (d->wants != WANTS_KEY || !clear)) {
            ret->key_id = list[i].key->key_id;
            return 0;
        }
        ret->tried |= err < 0 && d->wants == WANTS_KEY;
        if (err < 0 && d->wants != WANTS_KEY && !opened.key)
            opened = list[i];
    }
    if (opened.key) {
        ret->key_id = opened.key->key_id;
        return decode_with(u, opened, scratch, d);
    }
    return clear && !ret->tried && n > 0
               ? decode_with(u, (struct attempt){0}, scratch, d)
               : err;
}
