/*
 * client.c - see client.h.
 */
#include "server/tls/client.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/hex.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

enum { DER_MAX = 16 * 1024, SHA256_SIZE = 32 };

static void take_subject(X509 *x, char to[TLS_SUBJECT])
{
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (!b)
        abort(); /* out of memory */
    X509_NAME_print_ex(b, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
    n = BIO_get_mem_data(b, &text);
    if (n > 0 && n < TLS_SUBJECT && str_utf8((struct str){text, (size_t)n}))
        snprintf(to, TLS_SUBJECT, "%.*s", (int)n, text);
    BIO_free(b);
}

int tls_client_der(struct str der, struct tls_client *ret)
{
    const unsigned char *p = (const unsigned char *)der.p;
    X509 *x = der.n <= DER_MAX ? d2i_X509(NULL, &p, (long)der.n) : NULL;
    unsigned char hash[SHA256_SIZE];
    struct tm end;

    ERR_clear_error();
    if (!x || p != (const unsigned char *)der.p + der.n) {
        X509_free(x);
        return ERR_FORMAT;
    }
    *ret = (struct tls_client){.until_us = INT64_MAX};
    crypto_hash_sha256(hash, (const unsigned char *)der.p, der.n);
    hex_encode(hash, sizeof hash, ret->sha256);
    take_subject(x, ret->subject);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &end) == 1)
        ret->until_us = (int64_t)timegm(&end) * US_PER_S;
    X509_free(x);
    return 0;
}

static int told_hash(struct str s, struct tls_client *ret)
{
    uint8_t hash[SHA256_SIZE];

    if (hex_decode(s, hash, sizeof hash) != SHA256_SIZE)
        return ERR_FORMAT;
    *ret = (struct tls_client){.until_us = INT64_MAX};
    hex_encode(hash, sizeof hash, ret->sha256);
    return 0;
}

/* %2B and the like undone; a '+' stays one, it is of base64. */
static void undo_percent(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t byte;
        if (s.p[i] == '%' && i + 2 < s.n &&
            hex_decode((struct str){s.p + i + 1, 2}, &byte, 1) == 1) {
            buf_u8(out, byte);
            i += 2;
        } else {
            buf_u8(out, (uint8_t)s.p[i]);
        }
    }
}

/* Between the lines of PEM, or the colons, where there are such. */
static struct str inner(struct str s)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    const char *p = memmem(s.p, s.n, begin, sizeof begin - 1), *end;

    if (p) {
        p += sizeof begin - 1;
        end = memmem(p, s.n - (size_t)(p - s.p), "-----END", 8);
        return (struct str){p, end ? (size_t)(end - p) : 0};
    }
    s = str_trim(s);
    if (s.n > 2 && s.p[0] == ':' && s.p[s.n - 1] == ':')
        return (struct str){s.p + 1, s.n - 2};
    return s;
}

int tls_client_told(struct str header, struct tls_client *ret)
{
    unsigned char der[DER_MAX];
    struct buf text = {0};
    struct str base64;
    size_t n = 0;
    int r = told_hash(str_trim(header), ret);

    if (r == 0 || header.n == 0 || header.n > 2 * DER_MAX)
        return r;
    undo_percent(header, &text);
    base64 = inner(buf_view(&text));
    if (base64.n > 0 &&
        sodium_base642bin(der, sizeof der, base64.p, base64.n, " \r\n\t", &n,
                          NULL, sodium_base64_VARIANT_ORIGINAL) == 0)
        r = tls_client_der((struct str){(char *)der, n}, ret);
    buf_done(&text);
    return r;
}
