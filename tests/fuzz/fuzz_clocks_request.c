/* fuzz_clocks_request.c - time requests by radio, and a model's bytes. The
 * first byte tells the port. */
#include "server/clocks/judge.h"
#include "server/clocks/model_bytes.h"

#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct codec vega = {.name = "vega-si11"};
    static struct clock_row row;
    int64_t now = 1768478400 * US_PER_S;
    struct clock_outcome o;

    if (size < 2)
        return 0;
    struct clock_contact c = {.source = SOURCE_CHIRPSTACK,
                              .port = data[0] & 1 ? 202 : 4,
                              .payload = {(const char *)data + 1, size - 1},
                              .codec = &vega,
                              .heard_us = now,
                              .clock_us = TIME_NONE};
    row = (struct clock_row){.policy = clock_policy_default,
                             .period_want = 9,
                             .period = -2,
                             .token = -1,
                             .answered_us = TIME_NONE,
                             .resync_us = TIME_NONE,
                             .waiting_us = TIME_NONE};
    int r =
        model_read((struct str){(const char *)data + 1, size - 1}, &row.model);
    DEMAND(r == 0 || row.model.n_points == 0);
    clock_init(&row.model);
    clock_judge(&row, &c, now, data[0] & 2, &o);
    DEMAND(o.answer.n >= 0 && o.answer.n <= ANSWER_MAX);
    DEMAND(!o.sent || (o.keep && o.decision.reason));
    return 0;
}
