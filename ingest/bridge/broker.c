/*
 * broker.c - see broker.h.
 *
 * broker_begin -> connect -> on_connect -> subscribe_next -> on_granted or
 * on_refused, topic by topic, so that each answer is one code, whatever the
 * broker sends -> subscribe_finish.
 *
 * paho 1.3 holds its one lock during messageArrived; every call of its API
 * waits for it. So calls are made by paho's own threads inside callbacks (the
 * lock is recursive) or by the thread `calls`, and by nobody else.
 */
#include "ingest/bridge/broker.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <MQTTAsync.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEEPALIVE_S = 30,
    CONNECT_TIMEOUT_S = 10,
    QOS = 1,
    REFUSED_CODE = 0x80, /* MQTT 3.1.1 clause 3.9.3 */
};

enum call { CALL_NONE, CALL_BEGIN, CALL_LEAVE };

enum { OUTBOX_MAX = 256 };

struct message { /* to be published */
    struct message *next;
    char *topic;
    size_t n;
    char payload[];
};

struct broker {
    MQTTAsync client;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t called;
    enum call call;
    struct message *first, **last; /* the outbox */
    uint32_t waiting;
    char proxy[24]; /* of the next connect */
    struct broker_hooks hooks;
    bool tls;
    char *username, *password, *ca_file, *cert_file, *key_file;
    char *topics[LINK_TOPICS];
    uint32_t n_topics;
    uint32_t next;       /* topic being subscribed; one thread at a time */
    const char *refused; /* the first topic that was, or NULL */
    char tls_error[128]; /* OpenSSL's first complaint in this attempt */
};

/* MQTT 3.1.1 clause 3.2.2.3 */
static const char *const connack[] = {
    NULL,
    "the broker does not speak MQTT 3.1.1",
    "the broker refuses the client id",
    "the broker is not available",
    "bad user name or password",
    "not authorised",
};

static void report(struct broker *b, enum broker_event event, const char *text)
{
    b->hooks.happened(event, text);
}

/* ---- connecting ---- */

static const char *why(struct broker *b, const MQTTAsync_failureData *f)
{
    if (f && f->code > 0 && (size_t)f->code < sizeof connack / sizeof *connack)
        return connack[f->code];
    if (b->tls_error[0])
        return b->tls_error;
    if (f && f->message)
        return f->message;
    return "the broker cannot be reached";
}

static void on_connect_failure(void *context, MQTTAsync_failureData *f)
{
    struct broker *b = context;

    report(b, BROKER_LOST, why(b, f));
}

static void subscribe(struct broker *b);

static void on_connect(void *context, MQTTAsync_successData *response)
{
    (void)response;
    report(context, BROKER_CONNECTED, "");
    subscribe(context);
}

static void on_lost(void *context, char *cause)
{
    report(context, BROKER_LOST, cause ? cause : "the connection ended");
}

/* A line of OpenSSL's error queue (ERR_print_errors_cb): thread:error:code:
 * library:function:reason:file:line:data. The reason is for a person. */
static int on_tls_error(const char *line, size_t n, void *context)
{
    struct broker *b = context;
    const char *reason = line;

    (void)n;
    for (int colons = 0; colons < 5 && reason; colons++) {
        reason = strchr(reason, ':');
        reason += reason != NULL;
    }
    if (reason && !b->tls_error[0]) /* the first is the cause */
        snprintf(b->tls_error, sizeof b->tls_error, "TLS: %.*s",
                 (int)strcspn(reason, ":\n"), reason);
    return 1;
}

static void call_failed(struct broker *b, int code)
{
    const char *text = MQTTAsync_strerror(code);

    report(b, BROKER_LOST, text ? text : "paho refused the call");
}

static void connect_now(struct broker *b, const char *proxy)
{
    MQTTAsync_connectOptions o = MQTTAsync_connectOptions_initializer;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    int r;

    tls.trustStore = b->ca_file; /* NULL: the system's */
    tls.keyStore = b->cert_file;
    tls.privateKey = b->key_file;
    tls.enableServerCertAuth = 1;
    tls.verify = 1; /* the host name too */
    tls.ssl_error_cb = on_tls_error;
    tls.ssl_error_context = b;
    b->tls_error[0] = 0;

    o.MQTTVersion = MQTTVERSION_3_1_1;
    o.cleansession = 0;
    o.keepAliveInterval = KEEPALIVE_S;
    o.connectTimeout = CONNECT_TIMEOUT_S;
    o.username = b->username;
    o.password = b->password;
    o.ssl = b->tls ? &tls : NULL;
    o.httpProxy = o.httpsProxy = proxy;
    o.onSuccess = on_connect;
    o.onFailure = on_connect_failure;
    o.context = b;
    r = MQTTAsync_connect(b->client, &o);
    if (r != MQTTASYNC_SUCCESS)
        call_failed(b, r);
}

/* ---- subscribing ---- */

static void subscribe_next(struct broker *b);

static void on_granted(void *context, MQTTAsync_successData *response)
{
    struct broker *b = context;

    if (response && response->alt.qos == REFUSED_CODE && !b->refused)
        b->refused = b->topics[b->next];
    b->next++;
    subscribe_next(b);
}

static void on_refused(void *context, MQTTAsync_failureData *f)
{
    struct broker *b = context;

    (void)f; /* 0x80, or the connection ended, which on_lost reports */
    if (!b->refused)
        b->refused = b->topics[b->next];
    b->next++;
    subscribe_next(b);
}

static void subscribe_finish(struct broker *b)
{
    char text[200];

    if (b->refused) {
        snprintf(text, sizeof text, "the broker refuses to subscribe %s",
                 b->refused);
        report(b, BROKER_REFUSED, text);
    } else {
        report(b, BROKER_SUBSCRIBED, "");
    }
}

static void subscribe_next(struct broker *b)
{
    MQTTAsync_responseOptions o = MQTTAsync_responseOptions_initializer;
    int r;

    if (b->next == b->n_topics) {
        subscribe_finish(b);
        return;
    }
    o.onSuccess = on_granted;
    o.onFailure = on_refused;
    o.context = b;
    r = MQTTAsync_subscribe(b->client, b->topics[b->next], QOS, &o);
    if (r != MQTTASYNC_SUCCESS)
        report(b, BROKER_REFUSED, MQTTAsync_strerror(r));
}

static void subscribe(struct broker *b)
{
    b->next = 0;
    b->refused = NULL;
    subscribe_next(b);
}

/* ---- messages and the end ---- */

static int on_message(void *context, char *topic, int n, MQTTAsync_message *m)
{
    struct broker *b = context;
    struct str name = {topic, n > 0 ? (size_t)n : strlen(topic)};
    struct str payload = {m->payload, (size_t)m->payloadlen};

    b->hooks.arrived(name, payload);
    MQTTAsync_freeMessage(&m);
    MQTTAsync_free(topic);
    return 1; /* here paho writes the PUBACK; the gate holds it */
}

static void on_left(void *context, MQTTAsync_successData *response)
{
    (void)response;
    report(context, BROKER_LEFT, "");
}

static void on_leave_failure(void *context, MQTTAsync_failureData *f)
{
    (void)f;
    report(context, BROKER_LEFT, "");
}

static void leave_now(struct broker *b)
{
    MQTTAsync_disconnectOptions o = MQTTAsync_disconnectOptions_initializer;

    o.onSuccess = on_left;
    o.onFailure = on_leave_failure;
    o.context = b;
    if (MQTTAsync_disconnect(b->client, &o) != MQTTASYNC_SUCCESS)
        report(b, BROKER_LEFT, "");
}

/* ---- publishing ---- */

static void publish_now(struct broker *b, struct message *m)
{
    int r = MQTTAsync_send(b->client, m->topic, (int)m->n, m->payload, QOS, 0,
                           NULL);

    if (r != MQTTASYNC_SUCCESS)
        b->hooks.unsent(m->topic, MQTTAsync_strerror(r) ? MQTTAsync_strerror(r)
                                                        : "the broker is away");
    free(m->topic);
    free(m);
}

int broker_publish(struct broker *b, struct str topic, struct str payload)
{
    struct message *m = mem_alloc(sizeof *m + payload.n);
    int r = ERR_FULL;

    m->topic = mem_strndup(topic.p, topic.n);
    m->n = payload.n;
    memcpy(m->payload, payload.p, payload.n);
    pthread_mutex_lock(&b->lock);
    if (b->waiting < OUTBOX_MAX) {
        b->waiting++;
        *b->last = m;
        b->last = &m->next;
        pthread_cond_signal(&b->called);
        r = 0;
    }
    pthread_mutex_unlock(&b->lock);
    if (r < 0) {
        free(m->topic);
        free(m);
    }
    return r;
}

/* Under the lock. */
static struct message *take_message(struct broker *b)
{
    struct message *m = b->first;

    if (!m)
        return NULL;
    b->waiting--;
    b->first = m->next;
    if (!b->first)
        b->last = &b->first;
    return m;
}

/* ---- the thread that calls ---- */

static void *calls(void *arg)
{
    struct broker *b = arg;

    for (;;) {
        struct message *m = NULL;
        enum call call;
        char proxy[sizeof b->proxy];

        pthread_mutex_lock(&b->lock);
        while (b->call == CALL_NONE && !b->first)
            pthread_cond_wait(&b->called, &b->lock);
        call = b->call;
        b->call = CALL_NONE;
        memcpy(proxy, b->proxy, sizeof proxy);
        if (call == CALL_NONE)
            m = take_message(b);
        pthread_mutex_unlock(&b->lock);
        if (m)
            publish_now(b, m);
        else if (call == CALL_LEAVE)
            leave_now(b);
        else if (MQTTAsync_isConnected(b->client))
            subscribe(b);
        else
            connect_now(b, proxy);
    }
    return NULL;
}

static void call_soon(struct broker *b, enum call call, const char *proxy)
{
    pthread_mutex_lock(&b->lock);
    b->call = call;
    snprintf(b->proxy, sizeof b->proxy, "%s", proxy);
    pthread_cond_signal(&b->called);
    pthread_mutex_unlock(&b->lock);
}

void broker_begin(struct broker *b, const char *proxy)
{
    call_soon(b, CALL_BEGIN, proxy);
}

void broker_leave(struct broker *b)
{
    call_soon(b, CALL_LEAVE, "");
}

/* ---- making one ---- */

static char *text_of(struct str s)
{
    return s.n ? mem_strndup(s.p, s.n) : NULL;
}

/* paho's own names for the schemes; NULL when it is none of them. */
static char *paho_url(struct str url, bool *tls)
{
    static const struct {
        const char *ours, *paho;
        bool tls;
    } schemes[] = {{"mqtt://", "tcp://", false}, {"mqtts://", "ssl://", true}};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i].ours);
        struct buf b = {0};

        if (url.n <= n || memcmp(url.p, schemes[i].ours, n) != 0)
            continue;
        *tls = schemes[i].tls;
        buf_z(&b, schemes[i].paho);
        buf_put(&b, url.p + n, url.n - n);
        buf_u8(&b, 0);
        return (char *)b.p;
    }
    return NULL;
}

int broker_new(const struct link_config *c, const struct broker_hooks *hooks,
               struct broker **ret)
{
    struct broker *b = mem_alloc(sizeof *b);
    char *url = paho_url(c->url, &b->tls);
    char *id = text_of(c->client_id);
    pthread_t thread;
    int r = ERR_FORMAT;

    if (!url || !id ||
        MQTTAsync_create(&b->client, url, id, MQTTCLIENT_PERSISTENCE_NONE,
                         NULL) != MQTTASYNC_SUCCESS)
        goto out;
    MQTTAsync_setCallbacks(b->client, b, on_lost, on_message, NULL);
    b->hooks = *hooks;
    b->last = &b->first;
    b->username = text_of(c->username);
    b->password = text_of(c->password);
    b->ca_file = text_of(c->ca_file);
    b->cert_file = text_of(c->cert_file);
    b->key_file = text_of(c->key_file);
    b->n_topics = c->n_topics;
    for (uint32_t i = 0; i < c->n_topics; i++)
        b->topics[i] = mem_strndup(c->topics[i].p, c->topics[i].n);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->called, NULL);
    r = -pthread_create(&thread, NULL, calls, b);
    if (r < 0)
        goto out;
    *ret = b;
    b = NULL;
out:
    free(url);
    free(id);
    free(b);
    return r;
}
