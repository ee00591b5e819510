/* hand.c - see hand.h. */
#include "server/clocks/hand.h"
#include "codecs/karat.h"

enum slot_way slot_way_named(struct str codec)
{
    static const struct {
        const char *codec;
        enum slot_way way;
    } ways[] = {{"heo-json", SLOT_WAY_HEO}, {"karat-928lw", SLOT_WAY_KARAT}};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (str_is(codec, ways[i].codec))
            return ways[i].way;
    return SLOT_WAY_NONE;
}

void answer_slot(struct clock_answer *a, enum slot_way way, int32_t at_s,
                 uint32_t window_min)
{
    a->n = 0;
    if (way != SLOT_WAY_KARAT)
        return;
    a->port = KARAT_PORT_SLOT;
    a->n = KARAT_SLOT;
    karat_slot((uint32_t)at_s, window_min * 60, a->bytes);
}
