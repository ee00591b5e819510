/*
 * note.c - notes of a batch as the JSON that refuse_replayed() and
 * store_notes() read (migrations/0015_telegrams.sql).
 */
#include "server/base/hex.h"
#include "server/store/batch_rows.h"

static void put_format(struct buf *o, const struct staged_note *n)
{
    buf_printf(o, ",\"signature\":%u,\"format\":\"", n->signature);
    hex_encode(n->format.p, n->format.n,
               (char *)buf_room(o, 2 * n->format.n + 1));
    o->n += 2 * n->format.n;
    buf_u8(o, '"');
}

static void put_status(struct buf *o, const struct staged_note *n)
{
    buf_z(o, ",\"status\":[");
    for (uint32_t i = 0; i < n->n_conditions; i++) {
        const struct staged_condition *c = &n->conditions[i];
        buf_printf(o, "%s{\"severity\":%d,\"code\":", i ? "," : "",
                   c->severity);
        json_text(o, c->code);
        buf_z(o, ",\"detail\":");
        json_text(o, c->detail);
        buf_u8(o, '}');
    }
    buf_u8(o, ']');
}

void store_batch_note(struct store_batch *b, const struct staged_note *n)
{
    struct buf *o = &b->notes;

    if (!n->key_id && n->format.n == 0 && !n->status)
        return;
    buf_printf(o, "%s{\"frame_id\":%lld", o->n ? "," : "[",
               (long long)b->last.frame->id);
    if (n->key_id)
        buf_printf(o, ",\"key_id\":%lld", (long long)n->key_id);
    if (n->key_id && n->counter >= 0)
        buf_printf(o, ",\"counter\":%lld", (long long)n->counter);
    if (n->format.n)
        put_format(o, n);
    if (n->status)
        put_status(o, n);
    buf_u8(o, '}');
}
