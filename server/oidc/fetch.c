/*
 * fetch.c - see fetch.h.
 */
#include "server/oidc/fetch.h"

#include <curl/curl.h>
#include <stdio.h>

enum { MOST_S = 10, BODY_MOST = 1 << 20 };

static size_t take(char *p, size_t one, size_t n, void *arg)
{
    struct buf *body = arg;

    if (body->n + n > BODY_MOST)
        return 0;
    buf_put(body, p, one * n);
    return one * n;
}

static bool loopback(const char *url)
{
    return strncmp(url, "http://127.0.0.1:", 17) == 0 ||
           strncmp(url, "http://[::1]:", 13) == 0;
}

bool fetch(const char *url, const char *form, const char *user,
           const char *secret, struct buf *body, char error[FETCH_ERROR])
{
    CURL *c = curl_easy_init();
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;

    if (!c)
        return false;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR,
                     loopback(url) ? "http" : "https");
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)MOST_S);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    if (form)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, form);
    if (user) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(c, CURLOPT_USERNAME, user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, secret);
    }
    CURLcode r = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (r != CURLE_OK)
        snprintf(error, FETCH_ERROR, "%s", *why ? why : curl_easy_strerror(r));
    else if (status != 200)
        snprintf(error, FETCH_ERROR, "it answered %ld", status);
    return r == CURLE_OK && status == 200;
}
