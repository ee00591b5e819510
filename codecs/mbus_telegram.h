/*
 * mbus_telegram.h - what stands above the link layer, wired or wireless alike
 * (EN 13757-3, -7): CI field, authentication (AFL), header, security mode,
 * content. The link layers are mbus_frame.c and wmbus.c.
 *
 * A key is used where the telegram announces encryption or carries a MAC. If it
 * does not fit, that is ERR_DAMAGED. Content that is visibly clear although
 * encryption was announced is decoded, each value with QUALITY_UNPROTECTED.
 */
#pragma once

#include "codecs/codec.h"

/* As transmitted. */
struct mbus_address {
    uint8_t manufacturer[2], id[4], version, type;
};

/* Authentication and fragmentation layer. */
struct mbus_afl {
    bool has_mac, has_counter, has_length;
    uint8_t control;    /* MCL */
    uint8_t counter[4]; /* MCR */
    uint8_t length[2];  /* ML */
    uint8_t mac[16];
    size_t mac_size;
    size_t end; /* where what it authenticates begins */
};

struct mbus_telegram {
    const struct codec_input *in;
    struct decoded *d;
    uint8_t *p; /* whole frame without link checksums; in the arena, writable:
                   it is decrypted in place */
    size_t n;   /* end of the application data */
    bool wireless;
    bool unprotected;
    struct mbus_address sender; /* of the link layer; wireless only */
    struct mbus_afl afl;
};

struct mbus_header {
    struct mbus_address meter;
    uint8_t access, status;
    uint16_t config;
    size_t ci;      /* offset of the CI field */
    size_t content; /* of what follows the header */
    bool reserved;  /* the security mode is one that no standard explains */
};

/* Decodes from the CI field at `at` to the end. */
int mbus_telegram(struct mbus_telegram *t, size_t at);

/* Checks the MAC and decrypts, or finds that there is nothing to do.
 * (mbus_security.c) */
int mbus_afl(struct mbus_telegram *t, size_t *at);
int mbus_open(struct mbus_telegram *t, struct mbus_header *h);

/* Who sent it, as the decoded frame's identity. */
int mbus_identify(struct decoded *d, const struct mbus_address *a);
/* The status byte as events that begin. */
int mbus_status(struct decoded *d, uint8_t status);
/* Fixed data structure, CI 73 on the wire (mbus_fixed.c). */
int mbus_fixed(struct mbus_telegram *t, size_t at);
/* A manufacturer's own content, where it is publicly known (wmbus_maker.c).
 * ERR_UNSUPPORTED: it is not; nothing was added. */
int wmbus_maker(struct mbus_telegram *t, size_t ci);
