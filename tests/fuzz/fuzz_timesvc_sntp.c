/* fuzz_timesvc_sntp.c - NTP packets: what is accepted answers our request. */
#include "timesvc/sntp.h"

#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str packet = {(const char *)data, size};
    int64_t now = 1768478400 * US_PER_S;
    struct sntp_sample s;
    uint8_t answer[SNTP_SIZE], request[SNTP_SIZE];

    sntp_request(request, now);
    if (sntp_reply(packet, now, now + 1000, &s) == 0) {
        DEMAND(memcmp(data + 24, request + 40, 8) == 0);
        DEMAND(s.error_us >= 0 && s.at_us == now + 1000);
    }
    if (sntp_answer(packet, now, now + 10, 1000, 2, answer) == 0) {
        DEMAND(memcmp(answer + 24, data + 40, 8) == 0);
        DEMAND((answer[0] & 7) == 4);
    }
    return 0;
}
