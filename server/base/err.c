/*
 * err.c - names and sentences for every code that err.h promises. libuv's
 * codes are -errno on Linux; the few that are not stand in the table, so this
 * room needs no libuv.
 */
#include "server/base/err.h"

#include <stddef.h>
#include <string.h>

struct entry {
    int err;
    const char *name, *text;
};

static const struct entry table[] = {
    {0, "ok", "no error"},
    {ERR_SHORT, "ERR_SHORT", "the input ended too early"},
    {ERR_FORMAT, "ERR_FORMAT", "the input is malformed"},
    {ERR_UNKNOWN, "ERR_UNKNOWN", "there is no such thing"},
    {ERR_FULL, "ERR_FULL", "a limit was reached"},
    {ERR_RANGE, "ERR_RANGE", "a value is outside its bounds"},
    {ERR_DAMAGED, "ERR_DAMAGED", "a checksum does not fit its bytes"},
    {ERR_CONFLICT, "ERR_CONFLICT", "this contradicts what is already stored"},
    {ERR_DATABASE, "ERR_DATABASE", "the database refused"},
    {ERR_AWAY, "ERR_AWAY", "the other side cannot be reached now"},
    {ERR_UNSUPPORTED, "ERR_UNSUPPORTED", "valid, but not supported here"},
    /* uv/errno.h: what libuv adds to errno */
    {-4095, "EOF", "end of file"},
    {-4094, "UNKNOWN", "unknown error"},
    {-4080, "ECHARSET", "invalid Unicode character"},
    {-3000, "EAI_ADDRFAMILY", "address family not supported"},
    {-3001, "EAI_AGAIN", "temporary failure of name resolution"},
    {-3002, "EAI_BADFLAGS", "bad ai_flags value"},
    {-3003, "EAI_CANCELED", "name resolution was cancelled"},
    {-3004, "EAI_FAIL", "permanent failure of name resolution"},
    {-3005, "EAI_FAMILY", "ai_family not supported"},
    {-3006, "EAI_MEMORY", "out of memory in name resolution"},
    {-3007, "EAI_NODATA", "the host has no address"},
    {-3008, "EAI_NONAME", "unknown host or service"},
    {-3009, "EAI_OVERFLOW", "name resolution buffer too small"},
    {-3010, "EAI_SERVICE", "service not available for socket type"},
    {-3011, "EAI_SOCKTYPE", "socket type not supported"},
    {-3013, "EAI_BADHINTS", "invalid value for hints"},
    {-3014, "EAI_PROTOCOL", "resolved protocol is unknown"},
};

static const struct entry *find(int err)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].err == err)
            return &table[i];
    return err > 0 ? &table[0] : NULL;
}

/* -1, which glibc has no name for, outside the range of errno. */
static int errno_of(int err)
{
    return err < 0 && err > -4096 ? -err : -1;
}

const char *err_name(int err)
{
    const struct entry *e = find(err);
    const char *name = e ? e->name : strerrorname_np(errno_of(err));

    return name ? name : "unknown error code";
}

const char *err_text(int err)
{
    const struct entry *e = find(err);
    const char *text = e ? e->text : strerrordesc_np(errno_of(err));

    return text ? text : "unknown error code";
}
