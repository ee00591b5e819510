/*
 * key_csv.c - see key_csv.h.
 */
#include "server/vault/key_csv.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

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

int key_csv_header(struct csv *c, char *line, char error[KEY_ERROR])
{
    if (csv_header(c, line, names, KEY_COLUMNS, error) < 0)
        return ERR_FORMAT;
    for (int i = 0; i < c->n; i++)
        if (c->column[i] == COLUMN_KEY)
            return 0;
    snprintf(error, KEY_ERROR,
             "the header must name Key (and may name Address, Manufacturer, "
             "DeviceType, Version, Purpose, Meter)");
    return ERR_FORMAT;
}

int key_csv_row(struct csv *c, char *line, struct meter_key *ret,
                const char **meter, char error[KEY_ERROR])
{
    const char *texts[KEY_COLUMNS] = {NULL};

    if (csv_take(c, line, error) < 0)
        return ERR_FORMAT;
    for (int i = 0; i < c->n; i++)
        texts[c->column[i]] = c->fields[i];
    int r = key_take(ret, texts, error);
    if (r == 0)
        *meter = any(texts[COLUMN_METER]) ? NULL : texts[COLUMN_METER];
    return r;
}
