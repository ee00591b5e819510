/* Receipts of downlinks; the first byte picks source and topic. What is taken
 * for ours must give its own id back. */
#include "ingest/receipt.h"
#include "server/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct {
    enum frame_source source;
    const char *topic;
} cases[] = {
    {SOURCE_CHIRPSTACK, "application/1/device/0102030405060708/event/txack"},
    {SOURCE_CHIRPSTACK, "application/1/device/0102030405060708/event/ack"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/down/sent"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/down/ack"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/down/nack"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/down/failed"},
    {SOURCE_TTS, "v3/a@t/devices/meter-1/up"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t i = n ? data[0] % (sizeof cases / sizeof *cases) : 0;
    struct str document = {(const char *)data + (n > 0), n - (n > 0)};
    struct downlink_ref again;
    struct receipt r = {0};
    char id[DOWNLINK_ID];

    if (receipt_read(cases[i].source, 1, str_of(cases[i].topic), document, &r) <
        0)
        return 0;
    downlink_id(1, &r.ref, id);
    if (!r.event || r.ref.id <= 0 || downlink_ref(1, str_of(id), &again) < 0 ||
        again.id != r.ref.id)
        __builtin_trap();
    return 0;
}
