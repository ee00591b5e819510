/* fuzz_timesvc_cron.c - schedules: what is accepted finds only times that come
 * later and match again; an error lies inside of the text. */
#include "timesvc/cron.h"
#include "timesvc/zone.h"

#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct cron c;
    struct cron_error e = {0};
    int64_t t = 1774656000 * US_PER_S; /* the day before clocks go forward */

    if (cron_parse(text, size, &c, &e) < 0) {
        DEMAND(e.text && e.at <= size);
        return 0;
    }
    DEMAND(c.n >= 1 && c.n <= CRON_PARTS);
    if (c.n > 2)
        return 0; /* slow where nothing ever matches */
    for (int i = 0; i < 3; i++) {
        int64_t next = cron_next(&c, zone_find(STR("Europe/Berlin")), t);
        if (next == TIME_NONE)
            break;
        DEMAND(next > t);
        DEMAND(next % (60 * US_PER_S) == 0);
        t = next;
    }
    return 0;
}
