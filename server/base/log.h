/*
 * log.h - one line per event on stderr: time, level, event, then key=value.
 * Values with blanks or quotes are quoted. Never keys, passwords or payload.
 * Safe from any thread (one write(2) per line). Conversions: d i u x X s c f
 * and %%, with flags, width, precision and length as in printf.
 */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_set_level(enum log_level min);
/* Text before each line's event, e.g. "bridge 3.0"; copied; NULL for none. */
void log_set_name(const char *name);

/* log_info("journal opened", "path=%s segments=%d", path, n) */
void log_line(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_line(LOG_ERROR, __VA_ARGS__)

/* At most one line per second per call site; says how many it kept back. */
struct log_limit {
    long second, kept_back;
};
int log_allowed(struct log_limit *l); /* count kept back + 1, or 0 */
