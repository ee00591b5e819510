/*
 * reading.c - the identity of a profile. Units enter by name and kinds by
 * stored number, so that a new row in a table changes no existing id.
 */
#include "schema/reading.h"
#include "server/base/buf.h"

int64_t profile_id(const struct capture_object *objects, uint32_t n)
{
    struct buf b = {0};
    uint64_t id = 0;

    buf_z(&b, "profile 1"); /* what is hashed, and in which form */
    buf_u32(&b, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct capture_object *o = &objects[i];
        const char *unit = unit_name(o->unit);
        uint8_t obis[6] = {o->obis.a, o->obis.b, o->obis.c,
                           o->obis.d, o->obis.e, o->obis.f};

        buf_put(&b, obis, sizeof(obis));
        buf_u8(&b, (uint8_t)strlen(unit));
        buf_z(&b, unit);
        buf_u8(&b, (uint8_t)o->kind);
        buf_u8(&b, (uint8_t)(o->exp10 + 128));
    }
    struct hash128 h = hash128(b.p, b.n);
    buf_done(&b);

    for (int i = 0; i < 8; i++)
        id |= (uint64_t)h.b[i] << (8 * i);
    id &= INT64_MAX;
    return id ? (int64_t)id : 1; /* 0 means "no profile" elsewhere */
}
