/*
 * hex.c - hexadecimal and base64 over libsodium, strict about what it leaves
 * open: NUL bytes, bytes above 127, incomplete padding.
 */
#include "server/base/hex.h"
#include "server/base/err.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>

int hex_decode(struct str in, uint8_t *out, size_t cap)
{
    const char *end;
    size_t n;

    if (in.n == 0)
        return 0;
    if (in.n > INT_MAX)
        return ERR_FULL;
    if (memchr(in.p, 0, in.n)) /* strchr inside libsodium would skip it */
        return ERR_FORMAT;
    errno = 0;
    if (sodium_hex2bin(out, cap, in.p, in.n, " \t\r\n:-", &n, &end) != 0)
        return errno == ERANGE ? ERR_FULL : ERR_FORMAT;
    if (end != in.p + in.n)
        return ERR_FORMAT;
    return (int)n;
}

char *hex_encode(const void *p, size_t n, char *out)
{
    return sodium_bin2hex(out, 2 * n + 1, p, n);
}

int hex_eui(struct str in, uint64_t *eui)
{
    uint8_t b[8];
    uint64_t v = 0;

    if (hex_decode(in, b, sizeof b) != sizeof b)
        return ERR_FORMAT;
    for (size_t i = 0; i < sizeof b; i++)
        v = v << 8 | b[i];
    *eui = v;
    return 0;
}

/* Takes the '=' away (RFC 4648 clause 4: it fills the last group of four), and
 * refuses bytes above 127, some of which libsodium 1.0.18 takes for digits. */
static int unpad(struct str *in)
{
    size_t n = in->n;

    for (size_t i = 0; i < n; i++)
        if (in->p[i] & 0x80)
            return ERR_FORMAT;
    while (n && in->n - n < 2 && in->p[n - 1] == '=')
        n--;
    if (n < in->n && in->n % 4 != 0)
        return ERR_FORMAT;
    in->n = n;
    return 0;
}

int base64_decode(struct arena *a, struct str in, struct str *out)
{
    size_t n = 0, cap;
    uint8_t *p;

    if (unpad(&in) < 0)
        return ERR_FORMAT;
    cap = in.n / 4 * 3 + in.n % 4;
    p = arena_alloc(a, cap + 1);
    if (!p)
        return ERR_FULL;
    if (in.n && sodium_base642bin(p, cap, in.p, in.n, NULL, &n, NULL,
                                  sodium_base64_VARIANT_ORIGINAL_NO_PADDING))
        return ERR_FORMAT;
    *out = (struct str){(char *)p, n};
    return 0;
}

struct str base64_encode(struct arena *a, struct str in)
{
    const int variant = sodium_base64_VARIANT_ORIGINAL;
    size_t cap;
    char *p;

    if (in.n > INT_MAX)
        return (struct str){0};
    cap = sodium_base64_encoded_len(in.n, variant);
    p = arena_alloc(a, cap);
    if (!p)
        return (struct str){0};
    sodium_bin2base64(p, cap, (const uint8_t *)in.p, in.n, variant);
    return (struct str){p, cap - 1};
}
