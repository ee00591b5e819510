/*
 * fuzz_ingest_journal.c - a segment file with hostile bytes in it. Opening and
 * reading end, never fail, and give every record that was left alone.
 *
 * Input: patches of a valid segment, each u16 where (in units of 8 bytes), u8
 * shift, u8 length n, n bytes.
 */
#include "ingest/journal.h"
#include "ingest/segment.h"
#include "server/base/bytes.h"
#include "server/base/mem.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 1024 * 1024, RECORDS = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], file[96];
static uint8_t *image, *patched;
static int64_t starts[RECORDS + 1];

static void must(int ok)
{
    if (!ok)
        abort();
}

static struct str record_of(int i)
{
    static char bytes[4096];
    size_t n = (size_t)(1 + i * 13 % 4000);

    memset(bytes, 'a' + i % 26, n);
    return (struct str){bytes, n};
}

static void dir_remove(void)
{
    DIR *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(dir);
}

/* The same image every time: an input that crashes goes on crashing. */
static void image_make(void)
{
    struct segment s;
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(dir, sizeof(dir), "%s/fuzz-journal-XXXXXX", tmp);
    must(mkdtemp(dir) != NULL && atexit(dir_remove) == 0);
    snprintf(file, sizeof(file), "%s/0000000000000000.seg", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    must(segment_create(fd, SIZE, 0, 0x0123456789abcdef, false, &s) == 0);
    image = mem_alloc(SIZE);
    patched = mem_alloc(SIZE);
    must(segment_read(&s, 0, image, SIZE) == 0);
    segment_close(&s);
    close(fd);

    s = (struct segment){.size = SIZE, .salt = 0x0123456789abcdef};
    int64_t at = SEGMENT_HEAD;
    for (int i = 0; i < RECORDS; i++) {
        struct str bytes = record_of(i);
        starts[i] = at;
        record_put(image + at, bytes);
        segment_seal(&s, at, image + at, record_space(bytes.n));
        at += (int64_t)record_space(bytes.n);
    }
    starts[RECORDS] = at;
    snprintf((char *)patched, SIZE, "%s/format", dir);
    FILE *f = fopen((char *)patched, "w");
    must(f && fprintf(f, "headend journal 1 %d\n", SIZE) > 0 && !fclose(f));
}

static void image_patch(struct bytes in)
{
    memcpy(patched, image, SIZE);
    while (!in.ran_out && bytes_left(&in) > 0) {
        size_t at = (size_t)bytes_u16(&in) * 8 + bytes_u8(&in) % 8;
        size_t n = bytes_u8(&in);
        if (n > bytes_left(&in))
            n = bytes_left(&in);
        const uint8_t *p = bytes_take(&in, n);
        at %= SIZE - 256;
        if (p)
            memcpy(patched + at, p, n);
    }
    FILE *f = fopen(file, "w");
    must(f && fwrite(patched, SIZE, 1, f) == 1 && fclose(f) == 0);
}

static bool untouched(int64_t from, int64_t to)
{
    return memcmp(image + from, patched + from, (size_t)(to - from)) == 0;
}

/* Every record that still is what it was must come, in its place. The headers
 * are out of reach of the patches at one end, so the salt is known. */
static void check_all(const struct journal *j)
{
    struct journal_chunk chunk = {0};
    int64_t until = journal_end(j);
    int next = 0;

    while (chunk.next < until) {
        int64_t before = chunk.next;
        must(journal_read(j, before, until, 70000, 64, &chunk) == 0);
        must(chunk.next > before && (chunk.n > 0 || chunk.next == until));
        for (uint32_t i = 0; i < chunk.n; i++) {
            const struct journal_record *r = &chunk.records[i];
            if (r->damaged)
                continue;
            for (; next < RECORDS && starts[next] < r->position; next++)
                must(!untouched(starts[next], starts[next + 1]));
            must(next < RECORDS && starts[next] == r->position &&
                 str_eq(r->bytes, record_of(next)));
            next++;
        }
    }
    for (; next < RECORDS; next++)
        must(!untouched(starts[next], starts[next + 1]));
    journal_chunk_done(&chunk);
}

static void on_closed(void *arg)
{
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_options o = {
        .dir = dir,
        .segment_size = SIZE,
        .quota = 4 * SIZE,
        .clock = &clock_system,
    };
    struct journal_recovery found;
    struct journal *j;
    uv_loop_t loop;

    if (!image)
        image_make();
    image_patch(bytes_of(data, size));
    must(uv_loop_init(&loop) == 0);
    must(journal_open(&loop, &o, &j, &found) == 0);
    check_all(j);
    journal_close(j, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop) == 0);
    unlink(file);
    return 0;
}
