/*
 * mbus_format.c - see mbus_format.h.
 */
#include "codecs/mbus_format.h"
#include "codecs/mbus_record.h"
#include "server/base/err.h"

enum { POLYNOMIAL = 0x3D65, LIST_MAX = 1024 };

/* Lists that meters use without ever sending the full frame. */
static const struct str own[] = {
    /* Kamstrup Multical 21: info codes, volume, volume at set date ... */
    {"\x02\xFF\x20\x04\x13\x44\x13", 7},
    /* ... and least flow temperature, least external temperature */
    {"\x02\xFF\x20\x04\x13\x44\x13\x61\x5B\x61\x67", 11},
};

uint16_t mbus_crc_add(uint16_t crc, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++) {
        crc ^= (uint16_t)(b[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? POLYNOMIAL : 0));
    }
    return crc;
}

uint16_t mbus_crc(const void *p, size_t n)
{
    return (uint16_t)~mbus_crc_add(0, p, n);
}

static size_t head_size(const struct mbus_record *r)
{
    return (size_t)(r->vib + r->vib_size - r->dib);
}

struct str mbus_format_of(struct arena *a, struct str payload, size_t from)
{
    struct bytes in = bytes_of(payload.p, payload.n);
    char *list = arena_alloc(a, LIST_MAX);
    struct mbus_record record;
    const char *error;
    size_t n = 0;
    int r;

    bytes_take(&in, from);
    while (list && (r = mbus_record_next(&in, &in, &record, &error)) != 0) {
        size_t head = r > 0 ? head_size(&record) : 0;
        if (r < 0 || n + head > LIST_MAX)
            return (struct str){0};
        memcpy(list + n, record.dib, head);
        n += head;
    }
    return (struct str){list, list ? n : 0};
}

struct str mbus_format_find(const struct codec_input *in, uint16_t signature)
{
    for (uint32_t i = 0; i < in->n_formats; i++) {
        if (mbus_crc(in->formats[i].p, in->formats[i].n) == signature)
            return in->formats[i];
    }
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        if (mbus_crc(own[i].p, own[i].n) == signature)
            return own[i];
    }
    return (struct str){0};
}

int mbus_format_crc(struct str list, struct str payload, size_t from,
                    uint16_t *ret)
{
    struct bytes heads = bytes_of(list.p, list.n);
    struct bytes data = bytes_of(payload.p, payload.n);
    struct mbus_record record;
    const char *error;
    uint16_t crc = 0;
    int r;

    bytes_take(&data, from);
    while ((r = mbus_record_next(&heads, &data, &record, &error)) > 0) {
        bool variable = record.coding == MBUS_VARIABLE;
        crc = mbus_crc_add(crc, record.dib, head_size(&record));
        crc = mbus_crc_add(crc, &record.lvar, variable);
        crc = mbus_crc_add(crc, record.data, record.size);
    }
    if (r == 0 && bytes_left(&data) > 0)
        r = ERR_FORMAT;
    if (r == 0)
        *ret = (uint16_t)~crc;
    return r;
}
