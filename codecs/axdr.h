/*
 * axdr.h - COSEM data in A-XDR (IEC 62056-6-2 clause 4.1.5, IEC 61334-6) as a
 * flat list of nodes in the order of the bytes.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/bytes.h"

enum axdr_type {
    AXDR_NULL = 0x00,
    AXDR_ARRAY = 0x01,
    AXDR_STRUCT = 0x02,
    AXDR_BOOL = 0x03,
    AXDR_BITS = 0x04,
    AXDR_I32 = 0x05,
    AXDR_U32 = 0x06,
    AXDR_OCTETS = 0x09,
    AXDR_TEXT = 0x0A,
    AXDR_UTF8 = 0x0C,
    AXDR_BCD = 0x0D,
    AXDR_I8 = 0x0F,
    AXDR_I16 = 0x10,
    AXDR_U8 = 0x11,
    AXDR_U16 = 0x12,
    AXDR_COMPACT = 0x13, /* never in a node: it becomes an array */
    AXDR_I64 = 0x14,
    AXDR_U64 = 0x15,
    AXDR_ENUM = 0x16,
    AXDR_F32 = 0x17,
    AXDR_F64 = 0x18,
    AXDR_DATETIME = 0x19,
    AXDR_DATE = 0x1A,
    AXDR_TIME = 0x1B,
};

enum { AXDR_DEPTH_MAX = 16, AXDR_NODES_MAX = 16384 };

struct axdr {
    uint8_t type;
    uint32_t n;       /* bytes at p; elements of an array or structure */
    uint32_t next;    /* index behind this node and all that is in it */
    uint32_t offset;  /* of p in the cursor's bytes */
    const uint8_t *p; /* NULL for arrays and structures */
};

/* BER length: 0..7F, 81 xx, 82 xxxx ... ; the cursor's ran_out, or *bad, when
 * it is none. */
uint32_t axdr_length(struct bytes *in, bool *bad);

/* One value with all that is in it; nodes in d's arena, nodes[0] is the value.
 * ERR_SHORT, ERR_FORMAT, ERR_FULL with d->error set; `base` is added to offsets
 * there. */
int axdr_parse(struct decoded *d, struct bytes *in, size_t base,
               struct axdr **nodes);

bool axdr_is_number(const struct axdr *v);
/* 0; ERR_RANGE: beyond int64, or no finite number. */
int axdr_number(const struct axdr *v, struct decimal *ret);
