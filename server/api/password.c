/*
 * password.c - see password.h.
 */
#include "server/api/password.h"
#include "server/base/err.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

/* What is tried first; a password must be more than one of these with digits
 * or signs around it. */
static const char *const common[] = {
    "password", "passwort",      "passw0rd",   "p@ssw0rd",   "p@ssword",
    "qwerty",   "qwertz",        "qwertyuiop", "azerty",     "asdfghjkl",
    "zxcvbnm",  "letmein",       "welcome",    "willkommen", "iloveyou",
    "admin",    "administrator", "root",       "user",       "guest",
    "test",     "testing",       "default",    "changeme",   "secret",
    "geheim",   "master",        "monkey",     "dragon",     "football",
    "baseball", "superman",      "batman",     "princess",   "sunshine",
    "shadow",   "michael",       "jordan",     "trustno",    "starwars",
    "computer", "internet",      "samsung",    "google",     "headend",
    "meter",    "metering",      "utility",    "energy",     "energie",
    "electric", "water",         "heat",       "summer",     "winter",
    "spring",   "autumn",        "sommer",     "herbst",     "january",
    "february", "monday",        "hello",      "hallo",      "login",
    "abc",      "abcdef",        "abcdefgh",   "qazwsx",     "whatever",
    "freedom",  "company",       "firma",      "service",    "system",
    "network",  "server"};

static bool is_word(const char *word, size_t n)
{
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strlen(common[i]) == n && strncasecmp(common[i], word, n) == 0)
            return true;
    return false;
}

/* What is left when digits and signs around it are taken off, once or as the
 * same thing again and again ("testtest123"). */
static bool is_common(struct str s)
{
    while (s.n && !isalpha((unsigned char)s.p[0]))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n && !isalpha((unsigned char)s.p[s.n - 1]))
        s.n--;
    for (size_t part = 1; part <= s.n; part++) {
        bool same = s.n % part == 0;
        for (size_t i = part; same && i < s.n; i++)
            same = tolower((unsigned char)s.p[i]) ==
                   tolower((unsigned char)s.p[i - part]);
        if (same && is_word(s.p, part))
            return true;
    }
    return s.n == 0; /* digits and signs alone */
}

static int different(struct str s)
{
    bool seen[256] = {false};
    int n = 0;

    for (size_t i = 0; i < s.n; i++) {
        n += !seen[(unsigned char)s.p[i]];
        seen[(unsigned char)s.p[i]] = true;
    }
    return n;
}

/* abcdefghij, 9876543210: each one next to the one before. */
static bool is_run(struct str s)
{
    int step = s.n > 1 ? s.p[1] - s.p[0] : 0;

    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] - s.p[i - 1] != step)
            return false;
    return step >= -1 && step <= 1;
}

const char *password_weak(struct str password, struct str name)
{
    const char *at = name.n ? memchr(name.p, '@', name.n) : NULL;
    size_t local = at ? (size_t)(at - name.p) : name.n;

    if (password.n < PASSWORD_LEAST)
        return "A password has at least 10 characters.";
    if (password.n > PASSWORD_MOST)
        return "A password has at most 128 bytes.";
    if (different(password) < 5 || is_run(password) || is_common(password))
        return "This password is one of the first that are tried; take "
               "several words, or a generated one.";
    if (local >= 4 && password.n < local + 6 &&
        memmem(password.p, password.n, name.p, local))
        return "The password must be more than the account's own name.";
    return NULL;
}

void password_generate(char ret[PASSWORD_GENERATED])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    int n = 0;

    for (int i = 0; i < PASSWORD_GENERATED - 1; i++)
        if (i % 6 == 5)
            ret[n++] = '-';
        else
            ret[n++] = letters[randombytes_uniform(32)];
    ret[n] = 0;
}

int password_hash(struct str password, char ret[PASSWORD_HASH])
{
    return crypto_pwhash_str(ret, password.p, password.n,
                             crypto_pwhash_OPSLIMIT_INTERACTIVE,
                             crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0
               ? 0
               : ERR_FULL;
}

bool password_verify(const char *hash, struct str password)
{
    /* Of nothing that anybody knows; with the same cost. */
    static const char nobody[] =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    return crypto_pwhash_str_verify(hash ? hash : nobody, password.p,
                                    password.n) == 0 &&
           hash;
}
