/*
 * conf.c - see conf.h. One handler per type parses, checks and prints; all
 * else walks the table. Messages name the option, the value and what would be
 * right, because they are read by somebody whose server does not start.
 */
#include "server/base/conf.h"
#include "server/base/decimal.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

enum { CHOICE_MOST = 64, NUMBER_TEXT = 32, WIDTH = 78 };

__attribute__((format(printf, 3, 4))) static int complain(
    char error[CONF_ERROR], int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, CONF_ERROR, fmt, args);
    va_end(args);
    for (char *c = error; *c; c++) /* a value may hold anything */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return err;
}

/* A value inside a message: the beginning is enough. */
static int shown(struct str s)
{
    return s.n < 40 ? (int)s.n : 40;
}

static void *field(const struct conf_table *t, const struct conf_option *o)
{
    return (char *)t->settings + o->offset;
}

static bool bounded(const struct conf_option *o)
{
    return o->min != 0 || o->max != 0;
}

/* ---- numbers ---- */

static const struct suffix {
    char letter;
    int64_t factor;
} suffixes[] = {{'G', 1LL << 30}, {'M', 1LL << 20}, {'K', 1LL << 10}};

enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

/* 10737418240 bytes as "10G". */
static char *number_text(const struct conf_option *o, int64_t v,
                         char out[NUMBER_TEXT])
{
    for (size_t i = 0; o->type == CONF_SIZE && v && i < SUFFIXES; i++)
        if (v % suffixes[i].factor == 0) {
            snprintf(out, NUMBER_TEXT, "%lld%c",
                     (long long)(v / suffixes[i].factor), suffixes[i].letter);
            return out;
        }
    snprintf(out, NUMBER_TEXT, "%lld", (long long)v);
    return out;
}

static int64_t take_suffix(struct str *s)
{
    for (size_t i = 0; s->n && i < SUFFIXES; i++)
        if ((s->p[s->n - 1] & ~0x20) == suffixes[i].letter) {
            s->n--;
            return suffixes[i].factor;
        }
    return 1;
}

static int set_number(const struct conf_option *o, void *to, struct str value,
                      char error[CONF_ERROR])
{
    const char *unit = o->unit ? o->unit : "";
    int64_t min = bounded(o) ? o->min : -INT64_MAX;
    int64_t max = bounded(o) ? o->max : INT64_MAX;
    struct str number = value;
    int64_t factor = o->type == CONF_SIZE ? take_suffix(&number) : 1;
    char low[NUMBER_TEXT], high[NUMBER_TEXT];
    bool below = value.n && value.p[0] == '-';
    struct decimal d;
    int r = decimal_parse(number, &d);

    if (r == ERR_FORMAT || (r == 0 && d.exp10 != 0))
        return complain(
            error, ERR_FORMAT, "%s: '%.*s' is not a whole number%s, such as %s",
            o->name, shown(value), value.p,
            o->type == CONF_SIZE ? " with or without K, M or G" : "",
            o->fallback ? o->fallback : "1");
    if (r == 0)
        r = decimal_scale(d, factor, 0, &d);
    if (r == 0)
        r = decimal_rescale(d, 0, &d);
    if (r == 0)
        below = d.mantissa < min;
    if (r < 0 || below || d.mantissa > max)
        return complain(
            error, ERR_RANGE, "%s: %.*s is %s; it takes %s to %s%s%s", o->name,
            shown(value), value.p, below ? "too small" : "too large",
            number_text(o, min, low), number_text(o, max, high),
            *unit ? " " : "", unit);
    *(int64_t *)to = d.mantissa;
    return 0;
}

static void print_number(const struct conf_option *o, const void *from,
                         FILE *out)
{
    char text[NUMBER_TEXT];

    fputs(number_text(o, *(const int64_t *)from, text), out);
}

/* ---- texts ---- */

static int set_text(const struct conf_option *o, void *to, struct str value,
                    char error[CONF_ERROR])
{
    char **text = to;

    if (!str_utf8(value))
        return complain(error, ERR_FORMAT, "%s: the value is not valid UTF-8",
                        o->name);
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20)
            return complain(error, ERR_FORMAT,
                            "%s: the value holds a control character", o->name);
    if (bounded(o) && ((int64_t)value.n < o->min || (int64_t)value.n > o->max))
        return complain(error, ERR_RANGE,
                        "%s: %zu characters given, it takes %lld to %lld",
                        o->name, value.n, (long long)o->min, (long long)o->max);
    free(*text);
    *text = mem_strndup(value.p, value.n);
    return 0;
}

static void print_text(const struct conf_option *o, const void *from, FILE *out)
{
    const char *text = *(char *const *)from;

    (void)o;
    fputs(text ? text : "", out);
}

/* ---- bool and enum ---- */

static bool same_word(struct str s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static int set_bool(const struct conf_option *o, void *to, struct str value,
                    char error[CONF_ERROR])
{
    static const char *const words[] = {"no",  "yes", "false", "true",
                                        "off", "on",  "0",     "1"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (same_word(value, words[i])) {
            *(bool *)to = i % 2;
            return 0;
        }
    return complain(error, ERR_FORMAT, "%s: '%.*s' is neither yes nor no",
                    o->name, shown(value), value.p);
}

static void print_bool(const struct conf_option *o, const void *from, FILE *out)
{
    (void)o;
    fputs(*(const bool *)from ? "yes" : "no", out);
}

/* The choice at `index`; its p is NULL behind the last. */
static struct str choice(const struct conf_option *o, int index)
{
    const char *p = o->choices;

    while (p && index-- > 0) {
        p = strchr(p, '|');
        p = p ? p + 1 : NULL;
    }
    return (struct str){p, p ? strcspn(p, "|") : 0};
}

static int set_enum(const struct conf_option *o, void *to, struct str value,
                    char error[CONF_ERROR])
{
    for (int i = 0; choice(o, i).p; i++)
        if (str_eq(choice(o, i), value)) {
            *(int *)to = i;
            return 0;
        }
    return complain(error, ERR_RANGE, "%s: '%.*s' is none of %s", o->name,
                    shown(value), value.p, o->choices);
}

static void print_enum(const struct conf_option *o, const void *from, FILE *out)
{
    struct str c = choice(o, *(const int *)from);

    fwrite(c.p, 1, c.n, out);
}

static const struct handler {
    int (*set)(const struct conf_option *o, void *to, struct str value,
               char error[CONF_ERROR]);
    void (*print)(const struct conf_option *o, const void *from, FILE *out);
} handlers[] = {
    [CONF_TEXT] = {set_text, print_text},
    [CONF_INT] = {set_number, print_number},
    [CONF_SIZE] = {set_number, print_number},
    [CONF_BOOL] = {set_bool, print_bool},
    [CONF_ENUM] = {set_enum, print_enum},
};

/* ---- the table ---- */

void conf_defaults(const struct conf_table *t)
{
    char error[CONF_ERROR] = "";

    for (const struct conf_option *o = t->options; o->name; o++) {
        struct conf_option free_length = *o;
        struct str value = str_of(o->fallback ? o->fallback : "");
        int r;

        if (o->type == CONF_TEXT) /* "" may stand for "must be given" */
            free_length.min = free_length.max = 0;
        r = handlers[o->type].set(&free_length, field(t, o), value, error);
        if (r < 0)
            fprintf(stderr, "bad default: %s\n", error);
        assert(r == 0);
    }
}

static const struct conf_option *find(const struct conf_table *t,
                                      struct str name)
{
    for (const struct conf_option *o = t->options; o->name; o++)
        if (str_is(name, o->name))
            return o;
    return NULL;
}

int conf_set(const struct conf_table *t, struct str name, struct str value,
             char error[CONF_ERROR])
{
    const struct conf_option *o = find(t, name);

    if (!o)
        return complain(error, ERR_UNKNOWN, "%.*s: there is no such option",
                        shown(name), name.p);
    return handlers[o->type].set(o, field(t, o), value, error);
}

/* Puts "path:line: " or the like before the message. */
__attribute__((format(printf, 2, 3))) static void prefix(char error[CONF_ERROR],
                                                         const char *fmt, ...)
{
    char message[CONF_ERROR], where[CONF_ERROR];
    va_list args;

    snprintf(message, sizeof message, "%s", error);
    va_start(args, fmt);
    vsnprintf(where, sizeof where, fmt, args);
    va_end(args);
    complain(error, 0, "%.120s%.*s", where, CONF_ERROR - 122, message);
}

/* ---- file ---- */

/* A '#' at the start or behind a blank begins a comment. */
static struct str without_comment(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '#' &&
            (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
            s.n = i;
    return str_trim(s);
}

static int set_line(const struct conf_table *t, struct str line,
                    char error[CONF_ERROR])
{
    const char *equals;
    size_t n;

    line = without_comment(line);
    if (line.n == 0)
        return 0;
    equals = memchr(line.p, '=', line.n);
    if (!equals)
        return complain(error, ERR_FORMAT, "'%.*s' is not \"name = value\"",
                        shown(line), line.p);
    n = (size_t)(equals - line.p);
    return conf_set(t, str_trim((struct str){line.p, n}),
                    str_trim((struct str){equals + 1, line.n - n - 1}), error);
}

int conf_file(const struct conf_table *t, const char *path,
              char error[CONF_ERROR])
{
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = 0;
    int r = 0, number = 0;

    errno = in ? 0 : errno;
    while (in && r == 0 && (n = getline(&line, &cap, in)) >= 0) {
        number++;
        r = set_line(t, (struct str){line, (size_t)n}, error);
    }
    if (r < 0)
        prefix(error, "%s:%d: ", path, number);
    else if (!in || ferror(in))
        r = complain(error, ERR_UNKNOWN, "%s: cannot be read: %s", path,
                     strerror(errno));
    free(line);
    if (in)
        fclose(in);
    return r;
}

/* ---- environment and arguments ---- */

/* Does `entry` begin with the variable of this option and '='? Its value. */
static const char *variable_value(const struct conf_option *o,
                                  const char *entry)
{
    static const char head[] = "HEADEND_";

    if (strncmp(entry, head, sizeof head - 1) != 0)
        return NULL;
    entry += sizeof head - 1;
    for (const char *c = o->name; *c; c++, entry++) {
        bool lower = *c >= 'a' && *c <= 'z';
        char want = lower ? (char)(*c - 'a' + 'A') : *c;

        if (*entry != (want == '.' || want == '-' ? '_' : want))
            return NULL;
    }
    return *entry == '=' ? entry + 1 : NULL;
}

/* Only variables of the table are looked at: an orchestrator sets others that
 * begin alike (Kubernetes: HEADEND_SERVICE_HOST). */
int conf_environment(const struct conf_table *t, char **environ_list,
                     char error[CONF_ERROR])
{
    for (char **e = environ_list; e && *e; e++)
        for (const struct conf_option *o = t->options; o->name; o++) {
            const char *value = variable_value(o, *e);
            int r =
                value ? conf_set(t, str_of(o->name), str_of(value), error) : 0;

            if (r < 0) {
                prefix(error, "environment %.*s: ", (int)(value - 1 - *e), *e);
                return r;
            }
        }
    return 0;
}

/* Sets the option that argv[i] names. Returns how many arguments that took: 0
 * when it is none of the table's. */
static int take_argument(const struct conf_table *t, char **argv,
                         char error[CONF_ERROR])
{
    const char *text = argv[0], *equals;
    struct str name;
    int r;

    if (strncmp(text, "--", 2) != 0)
        return 0;
    equals = strchr(text, '=');
    name = (struct str){text + 2, equals ? (size_t)(equals - text) - 2
                                         : strlen(text) - 2};
    if (!find(t, name))
        return 0;
    if (!equals && !argv[1])
        return complain(error, ERR_FORMAT, "--%.*s: a value must follow",
                        shown(name), name.p);
    r = conf_set(t, name, str_of(equals ? equals + 1 : argv[1]), error);
    if (r < 0)
        prefix(error, "--");
    return r < 0 ? r : equals ? 1 : 2;
}

int conf_arguments(const struct conf_table *t, int *argc, char **argv,
                   char error[CONF_ERROR])
{
    int kept = 0, r = 0;

    for (int i = 0; i < *argc;) {
        if (strcmp(argv[i], "--") == 0) {
            while (i < *argc)
                argv[kept++] = argv[i++];
            break;
        }
        r = take_argument(t, argv + i, error);
        if (r < 0)
            return r;
        if (r == 0)
            argv[kept++] = argv[i++];
        i += r;
    }
    *argc = kept;
    argv[kept] = NULL;
    return 0;
}

/* ---- the reference ---- */

static void print_help(const char *help, FILE *out)
{
    size_t column = 0;

    while (help && *help) {
        size_t n = strcspn(help, " ");

        if (column == 0 || column + 1 + n > WIDTH)
            column = (size_t)fprintf(out, column ? "\n# " : "# ") - !!column;
        else
            column += (size_t)fprintf(out, " ");
        fwrite(help, 1, n, out);
        column += n;
        help += n + strspn(help + n, " ");
    }
    if (column)
        fputc('\n', out);
}

static void print_bounds(const struct conf_option *o, FILE *out)
{
    char low[NUMBER_TEXT], high[NUMBER_TEXT];
    const char *unit = o->unit ? o->unit : "";

    if (o->type == CONF_BOOL)
        fputs("# yes or no", out);
    else if (o->type == CONF_ENUM)
        fprintf(out, "# one of %s", o->choices);
    else if (o->type == CONF_TEXT && bounded(o))
        fprintf(out, "# text, %lld to %lld characters", (long long)o->min,
                (long long)o->max);
    else if (o->type == CONF_TEXT)
        fputs("# text", out);
    else if (bounded(o))
        fprintf(out, "# %s to %s%s%s", number_text(o, o->min, low),
                number_text(o, o->max, high), *unit ? " " : "", unit);
    else
        fprintf(out, "# a number%s%s", *unit ? " of " : "", unit);
    if (o->fallback && *o->fallback)
        fprintf(out, "; default %s", o->fallback);
    fputc('\n', out);
}

void conf_print(const struct conf_table *t, FILE *out, bool current)
{
    for (const struct conf_option *o = t->options; o->name; o++) {
        if (o != t->options)
            fputc('\n', out);
        print_help(o->help, out);
        print_bounds(o, out);
        if (current) {
            fprintf(out, "%s = ", o->name);
            handlers[o->type].print(o, field(t, o), out);
        } else {
            fprintf(out, "#%s = %s", o->name, o->fallback ? o->fallback : "");
        }
        fputc('\n', out);
    }
}

void conf_free(const struct conf_table *t)
{
    for (const struct conf_option *o = t->options; o->name; o++)
        if (o->type == CONF_TEXT) {
            char **text = field(t, o);

            free(*text);
            *text = NULL;
        }
}
