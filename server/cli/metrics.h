/*
 * metrics.h - the text of GET /metrics (Prometheus text format 0.0.4).
 */
#pragma once

#include "ingest/ingest.h"
#include "server/base/buf.h"
#include "server/clocks/keeper.h"
#include "server/clocks/own.h"
#include "server/deliver/deliver.h"
#include "server/downlink/queue.h"
#include "server/pipeline/pipeline.h"
#include "server/pipeline/progress.h"
#include "server/report/reports.h"
#include "server/store/pg.h"

struct metrics_source {
    const struct journal *journal;
    const struct ingest *ingest; /* NULL before it began */
    const struct pipeline *pipeline;
    const struct ledger *books;
    const struct pg_pool *pool;
    const struct directory *directory;
    const struct progress *progress; /* NULL while stopping */
    const struct keeper *keeper;
    struct clock_book *clocks;
    const struct own_watch *own;
    const struct deliver *deliver;
    const struct reports *reports;
    const struct command_queue *commands;
    int64_t loop_late_us; /* worst since the last asking, as loop_turn_us */
    int64_t loop_turn_us; /* processor time of one turn */
};

void metrics_print(const struct metrics_source *m, struct buf *out);
