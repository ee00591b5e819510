/*
 * reports.h - makes the reports of tenants: finds the ticks of their schedules
 * (report_due), takes runs (report_take) and makes them page by page
 * (report_step), all in PostgreSQL and over one connection of its own. Any
 * number of servers share the work. Loop thread only.
 */
#pragma once

#include "server/store/pg.h"

struct reports; /* opaque */

struct reports_options {
    uv_loop_t *loop;
    const char *database_url, *database_role;
    int connect_s;
    int64_t content_most; /* bytes of one run */
    int64_t kept_most;    /* of all that are kept of a tenant */
};

struct reports_stats {
    int64_t ticks;        /* of schedules, that gave a run */
    int64_t done, failed; /* runs */
    int64_t rows, bytes;  /* of those done */
    int64_t stumbles;     /* steps that failed and are tried again */
    bool running;         /* now */
};

struct reports *reports_new(const struct reports_options *o);
void reports_start(struct reports *r); /* once the schema is known to fit */
/* A step that is under way is cancelled; its run goes on elsewhere, or here
 * after the next start. `done` runs once, later. */
void reports_stop(struct reports *r, void (*done)(void *), void *arg);
void reports_stats(const struct reports *r, struct reports_stats *ret);
void reports_free(struct reports *r);
