/*
 * totp.h - one-time codes of an authenticator (RFC 6238 over RFC 4226: HMAC
 * SHA-1, six digits, steps of 30 s) and recovery codes. Pure.
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

enum {
    TOTP_SEED = 20, /* bytes; RFC 4226 4 R6 asks for 16 at least */
    TOTP_CODE = 7,  /* six digits and the NUL */
    TOTP_STEP_S = 30,
    TOTP_TEXT = 33,     /* a seed in base32 (RFC 4648), with the NUL */
    RECOVERY_TEXT = 20, /* 80 bits: "ABCD-EFGH-JKLM-NPQR", with the NUL */
    RECOVERY_CODES = 10
};

void totp_code(const uint8_t seed[TOTP_SEED], int64_t step,
               char ret[TOTP_CODE]);
/* The step that `code` is of: that of `now_us`, the one before or after it; 0
 * when it is none of theirs. */
int64_t totp_step(const uint8_t seed[TOTP_SEED], struct str code,
                  int64_t now_us);
void totp_seed_text(const uint8_t seed[TOTP_SEED], char ret[TOTP_TEXT]);

void recovery_make(char ret[RECOVERY_TEXT]);
/* Lower hex of BLAKE2b-256 of the code's letters and digits, in either case
 * and with any dashes and blanks between. */
void recovery_hash(struct str code, char ret[65]);
