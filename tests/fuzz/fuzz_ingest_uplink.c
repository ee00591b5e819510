/* Network servers' documents; the first byte picks source and topic. */
#include "ingest/uplink.h"
#include "server/base/err.h"
#include "server/base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct {
    enum frame_source source;
    const char *topic;
} cases[] = {
    {SOURCE_CHIRPSTACK, "application/1/device/0102030405060708/event/up"},
    {SOURCE_CHIRPSTACK, "application/1/device/0102030405060708/event/join"},
    {SOURCE_CHIRPSTACK, "up"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/up"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/join"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a = arena_new(256 * 1024);
    struct frame f = {0};
    struct uplink up;
    struct uplink_error error;
    struct hash128 key;
    int r;

    if (n) {
        size_t i = data[0] % (sizeof cases / sizeof *cases);

        f.source = cases[i].source;
        f.topic = str_of(cases[i].topic);
        f.payload = (struct str){(const char *)data + 1, n - 1};
    }
    r = uplink_parse(&f, a, &up, &error);
    if (r == 0) {
        uplink_key(&up, &key);
        if (up.dev_eui == 0 || up.port < 0 || up.port > 255)
            __builtin_trap();
    } else if (!error.reason[0] || (r != ERR_FORMAT && r != ERR_UNSUPPORTED)) {
        __builtin_trap();
    }
    arena_free(a);
    return 0;
}
