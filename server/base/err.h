/*
 * err.h - the one error convention of the house.
 * An int result: 0 or a positive count is success, negative is an error.
 * libuv's codes occupy -1..-4095, ours start at -5001, so one int carries
 * both and err_name() prints either. A result leaves through the last
 * parameter and is untouched on failure.
 */
#pragma once

enum err {
    ERR_SHORT = -5001,       /* input ended before the value did */
    ERR_FORMAT = -5002,      /* bytes break the cited clause */
    ERR_UNKNOWN = -5003,     /* no such tenant, meter, codec, option ... */
    ERR_FULL = -5004,        /* a limit was reached; try again later */
    ERR_RANGE = -5005,       /* a value outside its stated bounds */
    ERR_DAMAGED = -5006,     /* a checksum does not fit its bytes */
    ERR_CONFLICT = -5007,    /* contradicts what is already stored */
    ERR_DATABASE = -5008,    /* PostgreSQL refused; the text says why */
    ERR_AWAY = -5009,        /* the other side cannot be reached now */
    ERR_UNSUPPORTED = -5010, /* valid, but nothing here can do it */
};

/* "ok", "ERR_SHORT", or libuv's name such as "ENOSPC". Never NULL. */
const char *err_name(int err);

/* A short sentence for a person. Never NULL. */
const char *err_text(int err);
