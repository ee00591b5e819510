/*
 * dial.c - headend-dial stay|leave PORT COUNT FIRST CALLERS [CA.pem]: so many
 * gas meters, serials from FIRST on, dial 127.0.0.1:PORT, with TLS 1.3 if a CA
 * is given. Each says hello, sends one telegram, waits for both
 * acknowledgements, and stays connected, or leaves. CALLERS threads, each with
 * one meter at a time, so that many handshakes are under way at once. Then a
 * line "acknowledged=N failed=N seconds=S slowest_ms=M", and it waits for the
 * end of its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct meter {
    int fd;
    SSL *ssl; /* NULL: plain */
};

static SSL_CTX *tls; /* NULL: plain */
static struct sockaddr_in server;
static struct meter *meters;
static int count, first;
static bool stay;
static atomic_int next_meter, failed;
static atomic_long slowest_us;

static long now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static int talk_write(struct meter *m, const char *text)
{
    size_t n = strlen(text);

    if (m->ssl)
        return SSL_write(m->ssl, text, (int)n) == (int)n ? 0 : -1;
    return write(m->fd, text, n) == (ssize_t)n ? 0 : -1;
}

/* One line that must be an acknowledgement. */
static int talk_acked(struct meter *m)
{
    char line[512];
    size_t n = 0;
    ssize_t r;

    while (n < sizeof line - 1) {
        r = m->ssl ? SSL_read(m->ssl, line + n, (int)(sizeof line - 1 - n))
                   : read(m->fd, line + n, sizeof line - 1 - n);
        if (r <= 0)
            return -1;
        n += (size_t)r;
        line[n] = 0;
        if (strchr(line, '\n'))
            return strstr(line, "\"ack\"") ? 0 : -1;
    }
    return -1;
}

static int dial(struct meter *m)
{
    struct timeval patience = {.tv_sec = 60};

    m->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (m->fd < 0)
        return -1;
    setsockopt(m->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(m->fd, (struct sockaddr *)&server, sizeof server) < 0)
        return -1;
    if (!tls)
        return 0;
    m->ssl = SSL_new(tls);
    SSL_set_fd(m->ssl, m->fd);
    return SSL_connect(m->ssl) == 1 ? 0 : -1;
}

static int report(struct meter *m, int serial)
{
    char hello[128];

    snprintf(hello, sizeof hello,
             "{\"t\":\"hello\",\"v\":1,\"sn\":\"%d\","
             "\"clk\":\"2024-01-11T12:00:05+03:00\"}\n",
             serial);
    if (dial(m) < 0 || talk_write(m, hello) < 0 || talk_acked(m) < 0)
        return -1;
    if (talk_write(m, "{\"t\":\"data\",\"seq\":1,\"kind\":\"hour\",\"cols\":"
                      "[\"ts\",\"v_work\"],\"rows\":[[\"2024-01-11T12:00:00"
                      "+03:00\",\"4706.0000\"]]}\n") < 0)
        return -1;
    return talk_acked(m);
}

static void leave(struct meter *m)
{
    SSL_free(m->ssl);
    close(m->fd);
}

static void *call(void *arg)
{
    long began, most;
    int i;

    while ((i = atomic_fetch_add(&next_meter, 1)) < count) {
        began = now_us();
        if (report(&meters[i], first + i) < 0) {
            if (atomic_fetch_add(&failed, 1) == 0)
                fprintf(stderr, "meter %d: %s %s\n", first + i, strerror(errno),
                        ERR_error_string(ERR_peek_error(), NULL));
            continue;
        }
        if (!stay)
            leave(&meters[i]);
        most = atomic_load(&slowest_us);
        while (
            now_us() - began > most &&
            !atomic_compare_exchange_weak(&slowest_us, &most, now_us() - began))
            ;
    }
    return arg;
}

static void prepare_tls(const char *ca)
{
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_load_verify_file(tls, ca) != 1) {
        fprintf(stderr, "%s: no certificates\n", ca);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    pthread_t threads[256];
    int callers = argc > 5 ? atoi(argv[5]) : 0;
    long began;

    if (argc < 6 || callers < 1 || callers > 256) {
        fprintf(stderr, "usage: headend-dial stay|leave PORT COUNT FIRST "
                        "CALLERS [CA]\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stay = strcmp(argv[1], "stay") == 0;
    count = atoi(argv[3]);
    first = atoi(argv[4]);
    meters = calloc((size_t)count, sizeof *meters);
    if (argc > 6)
        prepare_tls(argv[6]);
    began = now_us();
    for (int i = 0; i < callers; i++)
        pthread_create(&threads[i], NULL, call, NULL);
    for (int i = 0; i < callers; i++)
        pthread_join(threads[i], NULL);
    printf("acknowledged=%d failed=%d seconds=%.2f slowest_ms=%ld\n",
           count - failed, failed, (double)(now_us() - began) / 1e6,
           slowest_us / 1000);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
