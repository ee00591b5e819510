/*
 * plan.c - see plan.h.
 */
#include "server/report/plan.h"
#include "server/base/err.h"
#include "timesvc/cron.h"
#include "timesvc/zone.h"

static int64_t earlier(int64_t a, int64_t b)
{
    return a == TIME_NONE || (b != TIME_NONE && b < a) ? b : a;
}

int plan_tick(const struct plan_due *d, struct plan_tick *ret)
{
    const struct zone *z = zone_find(d->zone);
    struct cron c;
    int err = cron_parse(d->schedule, cron_seed(d->tenant_id, d->report_id), &c,
                         NULL);

    if (err < 0 || !z)
        return err < 0 ? err : ERR_UNKNOWN;
    *ret = (struct plan_tick){.run = d->due_us >= d->oldest_us};
    if (d->due_us == TIME_NONE) {
        ret->run = false;
        ret->next_us = cron_next(&c, z, d->planned_us);
        return 0;
    }
    if (!ret->run) {
        ret->next_us = cron_next(&c, z, d->oldest_us - 1);
        return 0;
    }
    ret->next_us = cron_next(&c, z, d->due_us);
    if (ret->next_us != TIME_NONE && ret->next_us <= d->now_us)
        ret->next_us = earlier(cron_next(&c, z, d->hop_us - 1),
                               cron_next(&c, z, d->now_us));
    return 0;
}
