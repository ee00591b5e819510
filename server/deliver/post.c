/*
 * post.c - see post.h.
 */
#include "server/deliver/post.h"
#include "server/base/nets.h"
#include <curl/curl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { ANSWER_MOST = 64 << 10, CONNECT_MOST_S = 5 };

/* Not of the public internet (IANA special-purpose registries), and those that
 * carry an IPv4 address inside an IPv6 one. */
static const char inside[] =
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16"
    " 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16"
    " 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    " ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32"
    " 2002::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8";
static struct nets private_nets;

void post_begin(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    nets_parse(STR(inside), &private_nets);
}

void post_end(void)
{
    curl_global_cleanup();
}

bool post_is_inside(const struct sockaddr *a)
{
    return nets_has(&private_nets, a);
}

struct transfer {
    struct post *p;
    bool refused; /* its address was */
    size_t answered;
};

static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *a)
{
    struct transfer *t = arg;

    (void)purpose;
    if (!t->p->allow_private && post_is_inside(&a->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* The answer's status counts; what it says is not kept. */
static size_t on_answer(char *bytes, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    (void)bytes;
    t->answered += size * n;
    return t->answered > ANSWER_MOST ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down,
                       curl_off_t up_all, curl_off_t up)
{
    const struct transfer *t = arg;

    (void)down_all, (void)down, (void)up_all, (void)up;
    return atomic_load(t->p->stop);
}

static struct curl_slist *headers(const struct post *p)
{
    struct curl_slist *all = NULL;
    char line[128], sign[SIGNATURE_TEXT];
    time_t now = time(NULL);

    signature((struct str){(const char *)p->secret, sizeof p->secret}, p->id,
              now, p->body, sign);
    all = curl_slist_append(all, "Content-Type: application/json");
    all = curl_slist_append(all, "Expect:");
    snprintf(line, sizeof line, "webhook-id: %s", p->id);
    all = curl_slist_append(all, line);
    snprintf(line, sizeof line, "webhook-timestamp: %lld", (long long)now);
    all = curl_slist_append(all, line);
    snprintf(line, sizeof line, "webhook-signature: %s", sign);
    return curl_slist_append(all, line);
}

static void prepare(CURL *h, struct transfer *t)
{
    const struct post *p = t->p;

    curl_easy_setopt(h, CURLOPT_URL, p->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)p->timeout_s);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_MOST_S);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "headend/" HEADEND_VERSION);
    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->body.n);
    curl_easy_setopt(h, CURLOPT_POSTFIELDS, p->body.p);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    if (*p->ca_file)
        curl_easy_setopt(h, CURLOPT_CAINFO, p->ca_file);
}

/* Why it was not taken, for the tenant. */
static void say(struct post *p, const struct transfer *t, CURLcode code,
                const char *detail)
{
    if (t->refused)
        snprintf(p->error, sizeof p->error,
                 "the address is a private, loopback or link-local one "
                 "(webhook.allow_private)");
    else if (p->status >= 300 && p->status < 400)
        snprintf(p->error, sizeof p->error,
                 "HTTP %d: redirects are not followed", p->status);
    else if (p->status)
        snprintf(p->error, sizeof p->error, "HTTP %d", p->status);
    else
        snprintf(p->error, sizeof p->error, "%s",
                 *detail ? detail : curl_easy_strerror(code));
}

void post_send(struct post *p)
{
    struct transfer t = {.p = p};
    char detail[CURL_ERROR_SIZE] = "";
    uint64_t began = uv_hrtime();
    long status = 0;

    if (began > p->start_by || atomic_load(p->stop))
        return;
    CURL *h = curl_easy_init();
    if (!h)
        return;
    struct curl_slist *list = headers(p);
    prepare(h, &t);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, detail);
    CURLcode code = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    p->tried = code != CURLE_ABORTED_BY_CALLBACK;
    p->took_ms = (int64_t)((uv_hrtime() - began) / 1000000);
    /* An answer that does not end is one all the same, once its status came. */
    p->status = code == CURLE_OK || t.answered > ANSWER_MOST ? (int)status : 0;
    if (p->status < 200 || p->status > 299)
        say(p, &t, code, detail);
    curl_slist_free_all(list);
    curl_easy_cleanup(h);
}
