/*
 * password.h - passwords of people: what is good enough, Argon2id hashes
 * (libsodium, RFC 9106), generated ones. Hashing takes 64 MiB and a tenth of a
 * second: never on the loop thread.
 */
#pragma once

#include "server/base/str.h"
#include <stdbool.h>

enum {
    PASSWORD_LEAST = 10, /* bytes */
    PASSWORD_MOST = 128,
    PASSWORD_HASH = 128,     /* with the NUL */
    PASSWORD_GENERATED = 24, /* with the NUL; 100 random bits */
};

/* NULL when it may be used, else why not, for people. `name`: of its owner,
 * which it must not be. Length and commonness, not classes of characters
 * (NIST SP 800-63B 5.1.1.2). */
const char *password_weak(struct str password, struct str name);
void password_generate(char ret[PASSWORD_GENERATED]);
/* ERR_FULL: no memory for it. */
int password_hash(struct str password, char ret[PASSWORD_HASH]);
/* `hash` NULL: an account that is not there costs the same time. */
bool password_verify(const char *hash, struct str password);
