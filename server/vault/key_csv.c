/*
 * key_csv.c - see key_csv.h.
 */
#include "server/vault/key_csv.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const char *const names[KEY_COLUMNS] = {
    "Address", "Key",     "Manufacturer", "DeviceType",
    "Version", "Purpose", "Meter",        "Id"};

static bool any(const char *text)
{
    return !text || !*text || strcmp(text, "-1") == 0 || strcmp(text, "*") == 0;
}

static int refuse(char error[KEY_ERROR], enum key_column c, const char *what)
{
    snprintf(error, KEY_ERROR, "%s: %s", names[c], what);
    return ERR_FORMAT;
}

static int take_key(struct meter_key *k, const char *text,
                    char error[KEY_ERROR])
{
    struct str hex = str_of(text);

    if (hex.n != 2 * METER_KEY ||
        strspn(text, "0123456789abcdefABCDEF") != hex.n)
        return refuse(error, COLUMN_KEY, "must be 32 hex digits");
    hex_decode(hex, k->key, METER_KEY);
    return 0;
}

static int take_number(int16_t *ret, const char *text, enum key_column c,
                       char error[KEY_ERROR])
{
    size_t n = text ? strlen(text) : 0;

    *ret = -1;
    if (any(text))
        return 0;
    if (n > 3 || strspn(text, "0123456789") != n || atoi(text) > 255)
        return refuse(error, c, "must be 0 to 255, or -1 for any");
    *ret = (int16_t)atoi(text);
    return 0;
}

static int take_manufacturer(struct meter_key *k, const char *text,
                             char error[KEY_ERROR])
{
    if (any(text))
        return 0;
    if (strlen(text) != 3)
        return refuse(error, COLUMN_MANUFACTURER,
                      "must be three letters, or * for any");
    for (int i = 0; i < 3; i++) {
        k->manufacturer[i] = (char)toupper((unsigned char)text[i]);
        if (k->manufacturer[i] < 'A' || k->manufacturer[i] > 'Z')
            return refuse(error, COLUMN_MANUFACTURER,
                          "must be three letters, or * for any");
    }
    return 0;
}

static int take_address(struct meter_key *k, const char *text,
                        char error[KEY_ERROR])
{
    if (any(text))
        return 0;
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return refuse(error, COLUMN_ADDRESS,
                          "must be printable, without blanks");
    if (n > KEY_ADDRESS_MAX)
        return refuse(error, COLUMN_ADDRESS, "has more than 32 characters");
    key_address(str_of(text), k->address);
    return 0;
}

int key_take(struct meter_key *ret, const char *const t[KEY_COLUMNS],
             char error[KEY_ERROR])
{
    struct meter_key k = {0};
    const char *purpose =
        any(t[COLUMN_PURPOSE]) ? "encryption" : t[COLUMN_PURPOSE];
    int p = key_purpose_find(str_of(purpose)), r;

    if (p < 0)
        return refuse(error, COLUMN_PURPOSE,
                      "must be encryption, authentication, appkey or appskey");
    k.purpose = (uint8_t)p;
    if ((r = take_key(&k, t[COLUMN_KEY] ? t[COLUMN_KEY] : "", error)) < 0 ||
        (r = take_address(&k, t[COLUMN_ADDRESS], error)) < 0 ||
        (r = take_manufacturer(&k, t[COLUMN_MANUFACTURER], error)) < 0 ||
        (r = take_number(&k.device_type, t[COLUMN_TYPE], COLUMN_TYPE, error)) <
            0 ||
        (r = take_number(&k.version, t[COLUMN_VERSION], COLUMN_VERSION,
                         error)) < 0)
        return r;
    if (!any(t[COLUMN_METER]) &&
        (*k.address || *k.manufacturer || k.device_type >= 0 || k.version >= 0))
        return refuse(error, COLUMN_METER,
                      "is named: Address, Manufacturer, DeviceType and Version "
                      "must be any");
    *ret = k;
    return 0;
}

int key_csv_header(struct key_csv *c, char *line, char error[KEY_ERROR])
{
    char *fields[CSV_FIELDS];

    if (strncmp(line, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        line += 3;
    c->separator = csv_separator(line);
    c->n = csv_split(line, c->separator, fields);
    for (int k = 0; k < KEY_COLUMNS; k++)
        c->position[k] = -1;
    for (int i = 0; i < c->n; i++) {
        struct str field = str_trim(str_of(fields[i]));
        int k = 0;
        while (k < KEY_COLUMNS &&
               (strlen(names[k]) != field.n ||
                strncasecmp(names[k], field.p, field.n) != 0))
            k++;
        if (k == KEY_COLUMNS || c->position[k] >= 0) {
            snprintf(error, KEY_ERROR, "column \"%.40s\" is %s", fields[i],
                     k == KEY_COLUMNS ? "none that a key file has"
                                      : "there twice");
            return ERR_FORMAT;
        }
        c->position[k] = i;
    }
    if (c->position[COLUMN_KEY] >= 0)
        return 0;
    snprintf(error, KEY_ERROR,
             "the header must name Key (and may name Address, Manufacturer, "
             "DeviceType, Version, Purpose, Meter)");
    return ERR_FORMAT;
}

int key_csv_row(const struct key_csv *c, char *line, struct meter_key *ret,
                const char **meter, char error[KEY_ERROR])
{
    char *fields[CSV_FIELDS];
    const char *texts[KEY_COLUMNS] = {NULL};
    int n = csv_split(line, c->separator, fields);

    if (n != c->n) {
        if (n < 0)
            snprintf(error, KEY_ERROR,
                     "a quote does not end, or too many "
                     "fields");
        else
            snprintf(error, KEY_ERROR, "%d fields, the header has %d", n, c->n);
        return ERR_FORMAT;
    }
    for (int k = 0; k < KEY_COLUMNS; k++) {
        if (c->position[k] < 0)
            continue;
        char *text = fields[c->position[k]];
        struct str bare = str_trim(str_of(text));
        text[(bare.p - text) + (ptrdiff_t)bare.n] = 0;
        texts[k] = bare.p;
    }
    int r = key_take(ret, texts, error);
    if (r == 0)
        *meter = any(texts[COLUMN_METER]) ? NULL : texts[COLUMN_METER];
    return r;
}
