/* The records that a bridge, perhaps subverted, may send. */
#include "ingest/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str in = {(const char *)data, n};
    struct link_config config;
    struct str a, b;
    enum link_state state;
    enum link_type type;
    struct bytes body;
    uint64_t id;
    uint32_t size;
    int r;

    for (; (r = link_record(in, &type, &body)) > 0; in.p += r, in.n -= r) {
        struct bytes copy = body;

        link_get_config(&copy, &config);
        copy = body;
        link_get_ack(&copy, &id);
        copy = body;
        link_get_state(&copy, &state, &a);
        if (link_get_frame(&body, &id, &size, &a, &b) == 0 && b.n > size)
            __builtin_trap();
    }
    return 0;
}
