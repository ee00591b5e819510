/*
 * dlms_push.c - what DLMS/COSEM meters push: data-notification APDUs over TCP
 * (wrapper) or HDLC, in one piece or in blocks, clear or ciphered.
 *
 * Source: IEC 62056-5-3 and Green Book 9.x:
 *   0F | u32 long-invoke-id | u8 length, date-time (none or 12) | body, A-XDR
 *   DB | system title (8) | length | SC | u32 invocation counter | content
 *      | tag (12) where SC says authenticated
 * SC: bit 4 authenticated, bit 5 encrypted, low nibble the suite (0). AES-128
 * GCM: the nonce is the title and the counter, the associated data are SC and
 * the authentication key (and the content where it is not encrypted).
 *
 * Without the authentication key the tag cannot be checked: the content is
 * taken when it is a notification to its last byte, and "authentication=not
 * checked" is kept with it. The invocation counter becomes the frame's
 * sequence, for whoever refuses replays.
 */
#include "codecs/dlms.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include <openssl/evp.h>

enum { DATA_NOTIFICATION = 0x0F, GENERAL_GLO = 0xDB };
enum { TITLE = 8, COUNTER = 4, TAG = 12, KEY = 16, DATE_TIME = 12 };
enum { SC_AUTHENTICATED = 0x10, SC_ENCRYPTED = 0x20, SC_COMPRESSED = 0x80 };

struct push {
    const struct codec_input *in;
    struct decoded *d;
    uint32_t notifications;
};

static int notification(struct push *p, struct str apdu, size_t offset)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    struct meter_time time = {.dst = -1};
    struct axdr *body;
    int r;

    bytes_take(&in, 4); /* long-invoke-id-and-priority */
    uint8_t n = bytes_u8(&in);
    if (n == AXDR_OCTETS) /* Kaifa tags it as an octet string */
        n = bytes_u8(&in);
    const uint8_t *date = bytes_take(&in, n);
    if (!date)
        return decoded_fail(p->d, ERR_SHORT, "DLMS: notification cut off",
                            offset);
    if ((n != 0 && n != DATE_TIME) ||
        (n == DATE_TIME && dlms_time(date, &time) < 0))
        return decoded_fail(p->d, ERR_FORMAT,
                            "DLMS: date-time of the notification", offset);
    if ((r = axdr_parse(p->d, &in, offset + 1, &body)) < 0)
        return r;
    if (bytes_left(&in))
        return decoded_fail(p->d, ERR_FORMAT, "DLMS: bytes behind the body",
                            offset);
    return dlms_body(p->d, body, offset + 1, time, p->notifications++ == 0);
}

struct glo {
    const uint8_t *title, *counter, *content, *tag;
    uint8_t sc;
    size_t n;
};

/* AES-128-GCM over `g`; out holds g->n bytes. ERR_DAMAGED: the tag differs. */
static int open_content(const struct glo *g, const uint8_t *key,
                        const uint8_t *auth_key, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool encrypted = g->sc & SC_ENCRYPTED;
    uint8_t nonce[TITLE + COUNTER], tag[TAG];
    int n, r = ERR_FULL;

    memcpy(nonce, g->title, TITLE);
    memcpy(nonce + TITLE, g->counter, COUNTER);
    if (!ctx ||
        EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) != 1)
        goto out;
    if (auth_key && (EVP_DecryptUpdate(ctx, NULL, &n, &g->sc, 1) != 1 ||
                     EVP_DecryptUpdate(ctx, NULL, &n, auth_key, KEY) != 1))
        goto out;
    if (!encrypted)
        memcpy(out, g->content, g->n);
    if (EVP_DecryptUpdate(ctx, encrypted ? out : NULL, &n, g->content,
                          (int)g->n) != 1)
        goto out;
    r = 0;
    if (auth_key && g->tag) {
        memcpy(tag, g->tag, TAG);
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag);
        r = EVP_DecryptFinal_ex(ctx, out + g->n, &n) == 1 ? 0 : ERR_DAMAGED;
    }
out:
    EVP_CIPHER_CTX_free(ctx);
    return r;
}

static int take_glo(struct push *p, struct str apdu, size_t offset,
                    struct glo *g)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    bool bad = false;
    uint8_t title = bytes_u8(&in);

    g->title = bytes_take(&in, title);
    uint32_t n = axdr_length(&in, &bad);
    g->sc = bytes_u8(&in);
    g->counter = bytes_take(&in, COUNTER);
    size_t tag = g->sc & SC_AUTHENTICATED ? TAG : 0;
    g->n = bytes_left(&in) - (bytes_left(&in) < tag ? 0 : tag);
    g->content = bytes_take(&in, g->n);
    g->tag = tag ? bytes_take(&in, tag) : NULL;
    if (in.ran_out || n != 1 + COUNTER + g->n + tag)
        return decoded_fail(p->d, in.ran_out ? ERR_SHORT : ERR_FORMAT,
                            "DLMS: general-glo-ciphering cut off", offset);
    if (bad || title != TITLE)
        return decoded_fail(p->d, ERR_FORMAT, "DLMS: system title", offset);
    if (g->sc & (SC_COMPRESSED | 0x0F))
        return decoded_fail(p->d, ERR_UNSUPPORTED,
                            "DLMS: compression, or a security suite but 0",
                            offset);
    return 0;
}

/* The first three letters of a system title name the maker. It is no number
 * that a person reads on the meter: kept as a text. */
static int identify(struct push *p, const uint8_t *title, size_t offset)
{
    struct str maker = {(const char *)title, 3};

    if (cosem_printable(maker))
        p->d->manufacturer = maker;
    return cosem_add_text(
        p->d, 0, offset, "system-title",
        cosem_hex(p->d->arena, (struct str){(const char *)title, TITLE}));
}

static int ciphered(struct push *p, struct str apdu, size_t offset)
{
    struct glo g = {0};
    const uint8_t *key = p->in->key, *auth_key = p->in->auth_key;
    int r = take_glo(p, apdu, offset, &g);

    if (r < 0)
        return r;
    bool encrypted = g.sc & SC_ENCRYPTED;
    if (!key && encrypted)
        return decoded_fail(p->d, ERR_UNKNOWN,
                            "DLMS: ciphered, and the meter has no key", offset);
    if (!key || !g.tag)
        auth_key = NULL;
    uint8_t *out = arena_alloc(p->d->arena, g.n + KEY);
    if (!out)
        return decoded_fail(p->d, ERR_FULL, "DLMS: frame too large", offset);
    if (key)
        r = open_content(&g, key, auth_key, out);
    else
        memcpy(out, g.content, g.n);
    if (r < 0)
        return decoded_fail(p->d, r, "DLMS: authentication tag", offset);
    if (g.n == 0 || out[0] != DATA_NOTIFICATION)
        return decoded_fail(p->d, ERR_DAMAGED,
                            "DLMS: no notification inside; another key?",
                            offset);
    r = notification(p, (struct str){(char *)out, g.n}, offset);
    if (r < 0 && encrypted && !auth_key && r != ERR_FULL)
        return decoded_fail(p->d, ERR_DAMAGED,
                            "DLMS: no notification inside; another key?",
                            offset);
    if (r < 0) /* offsets inside the content mean nothing outside */
        return decoded_fail(p->d, r, p->d->error, offset);
    p->d->sequence = (int64_t)g.counter[0] << 24 | g.counter[1] << 16 |
                     g.counter[2] << 8 | g.counter[3];
    r = identify(p, g.title, offset);
    if (r >= 0 && g.tag && !auth_key)
        r = cosem_add_text(p->d, 0, offset, "authentication",
                           STR("not checked"));
    return r;
}

static int take_apdu(void *arg, struct str apdu, size_t offset)
{
    struct push *p = arg;

    if ((uint8_t)apdu.p[0] == DATA_NOTIFICATION)
        return notification(p, apdu, offset);
    if ((uint8_t)apdu.p[0] == GENERAL_GLO)
        return ciphered(p, apdu, offset);
    return decoded_fail(p->d, ERR_UNSUPPORTED,
                        "DLMS: an APDU that is no data-notification", offset);
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct push p = {.in = in, .d = d};
    int r = dlms_apdus(d, in->payload, take_apdu, &p);

    if (r >= 0 && p.notifications == 0)
        return decoded_fail(d, ERR_SHORT, "DLMS: no notification", 0);
    if (d->error_offset > in->payload.n) /* joined blocks, other offsets */
        d->error_offset = 0;
    return r;
}

static const struct codec_vector vectors[] = {
    {.name = "push list over TCP, scale pushed beside the value",
     .hex = "00010001001000AD0F000000070C07EA010FFF0F0000FFFF4C0002060106"
            "020412002809060007190900FF0F021200000204120001090600002A0000"
            "FF0F02120000020412000309060100010800FF0F02120000020412000309"
            "060100010800FF0F03120000020412000509060100010400FF0F03120000"
            "020412000409060100010600FF0F05120000090D48454430303132333435"
            "363738060001E24002020FFF161E120009090C07EA010EFF0C0000FF8000"
            "00",
     .expect = "electricity; serial HED0012345678; clock 2026-01-15T12:00:00"
               "Z; text 0-0:42.0.0=HED0012345678; energy 1-0:1.8.0 12345.6 W"
               "h; power 1-0:1.4.0 9; text 1-0:1.6.0 attribute 5=2026-01-14T"
               "12:00:00Z"},
    {.name = "push list over HDLC in blocks",
     .hex = "7EA050CEFF03133559E6E700E040000100003C0F000000070C07EA010FFF"
            "0F0000FFFF4C0002060106020412002809060007190900FF0F0212000002"
            "04120001090600002A0000FF0F021200000204D6537E7EA04DCEFF031301"
            "91E040000200003C12000309060100010800FF0F02120000020412000309"
            "060100010800FF0F03120000020412000509060100010400FF0F03120000"
            "0204120004090601D1DF7E7EA046CEFF0313EDD6E0C00003000035000106"
            "00FF0F05120000090D48454430303132333435363738060001E24002020F"
            "FF161E120009090C07EA010EFF0C0000FF800000514D7E",
     .expect = "electricity; serial HED0012345678; clock 2026-01-15T12:00:00"
               "Z; text 0-0:42.0.0=HED0012345678; energy 1-0:1.8.0 12345.6 W"
               "h; power 1-0:1.4.0 9; text 1-0:1.6.0 attribute 5=2026-01-14T"
               "12:00:00Z"},
    {.name = "pairs with scale",
     .hex = "0F00000007000106020209060101000281FF0A074149444F4E5F58020209"
            "060000600100FF0A10373335393939323839303934313734320203090601"
            "00010700FF060000046202020F00161B020309060100200700FF12090602"
            "020FFF16230203090601001F0700FF10FFFB02020FFF1621020209060000"
            "010000FF090C07EA010FFF0D0000FF800080",
     .expect = "electricity; serial 7359992890941742; clock 2026-01-15T13:00"
               ":00 dst; text 1-1:0.2.129=AIDON_X; text 0-0:96.1.0=735999289"
               "0941742; power 1-0:1.7.0 1122 W; voltage 1-0:32.7.0 231.0 V;"
               " current 1-0:31.7.0 -0.5 A"},
    {.name = "pairs without scale, float, number beyond int64",
     .hex = "0F0000000700020C0A064C6973745F3109060101010800FF060000006309"
            "060101600101FF0A03363835090601010E0700FF174247EB8515FFFFFFFF"
            "FFFFFFFF09060101020800FF15FFFFFFFFFFFFFFFF09060101030800FF00",
     .expect = "electricity; text position 1=List_1; energy 1-1:1.8.0 99; te"
               "xt 1-1:96.1.1=685; frequency 1-1:14.7.0 49.98; text position"
               " 8=FFFFFFFFFFFFFFFF; text 1-1:2.8.0=FFFFFFFFFFFFFFFF"},
    {.name = "profile with rows and scales",
     .hex = "00010001001000A60F00000007000206090A484544373635343332310906"
            "0007190900FF09060100630100FF0103020412000809060000010000FF0F"
            "02120000020412000309060100010800FF0F021200000204120003090607"
            "00030000FF0F0212000001020203090C07EA010FFF010000FF0000000600"
            "0003E806000000050203090C07EA010FFF020000FF00000006000003F206"
            "00000007010302020F0016FF02020F01161E02020FFE160D",
     .expect = "electricity; serial HED7654321; text position 1=HED7654321; "
               "@2026-01-15T01:00:00Z; energy 1-0:1.8.0 10000 Wh; volume 7-0"
               ":3.0.0 0.05 m3; @2026-01-15T02:00:00Z; energy 1-0:1.8.0 1010"
               "0 Wh; volume 7-0:3.0.0 0.07 m3"},
    {.name = "attributes with their values",
     .hex = "0F00000007000102020512000309060800010000FF0F0205FFFFFFF90202"
            "0FFD160D020412000709060100630100FF0F020101020209060100020800"
            "FF1103",
     .expect = "water; volume 8-0:1.0.0 -0.007 m3; energy 1-0:2.8.0 3"},
    {.name = "tagged date-time, a nameless value",
     .hex = "0F40000000090C07EA010FFF0F0000FFFF4C0002020A074B464D5F303031"
            "06000005DC",
     .expect = "electricity; clock 2026-01-15T12:00:00Z; text position 1=KFM"
               "_001; text position 2=1500"},
    {.name = "HDLC segments, an RR between",
     .hex = "7EA821CEFF0313DA66E6E7000F000000070C07EA010FFF0F0000FFFF4C00"
            "020380667E7EA01DCEFF031363E409060100010800FF060001E24002020F"
            "00161E454F7E",
     .expect = "electricity; clock 2026-01-15T12:00:00Z; energy 1-0:1.8.0 12"
               "3456 Wh"},
    {.name = "two notifications",
     .hex = "00010001001000270F000000070C07EA010FFF0F0000FFFF4C0002030906"
            "0100010800FF060001E24002020F00161E00010001001000270F00000007"
            "0C07EA010FFF0F0100FFFF4C00020309060100010800FF060001E2410202"
            "0F00161E",
     .expect = "electricity; clock 2026-01-15T12:01:00Z; energy 1-0:1.8.0 12"
               "3456 Wh; @2026-01-15T12:01:00Z; energy 1-0:1.8.0 123457 Wh"},
    {.name = "encrypted",
     .hex = "0001000100100037DB0848454400001234562C2001234567375EA4514098"
            "A7D49E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA58"
            "0B328F",
     .key = "000102030405060708090A0B0C0D0E0F",
     .expect = "electricity; manufacturer HED; clock 2026-01-15T12:00:00Z; e"
               "nergy 1-0:1.8.0 123456 Wh; text system-title=484544000012345"
               "6"},
    {.name = "encrypted and authenticated",
     .hex = "0001000100100043DB084845440000123456383001234567375EA4514098"
            "A7D49E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA58"
            "0B328F180781C30CB07B4E12896CEC",
     .key = "000102030405060708090A0B0C0D0E0F",
     .expect = "electricity; manufacturer HED; clock 2026-01-15T12:00:00Z; e"
               "nergy 1-0:1.8.0 123456 Wh; text system-title=484544000012345"
               "6; text authentication=not checked"},
    {.name = "authenticated only, no key at hand",
     .hex = "0001000100100043DB0848454400001234563810012345670F000000070C"
            "07EA010FFF0F0000FFFF4C00020309060100010800FF060001E24002020F"
            "00161EF5AC6298A3C7EE9683CD63C2",
     .expect = "electricity; manufacturer HED; clock 2026-01-15T12:00:00Z; e"
               "nergy 1-0:1.8.0 123456 Wh; text system-title=484544000012345"
               "6; text authentication=not checked"},
    {.name = "another key",
     .hex = "0001000100100043DB084845440000123456383001234567375EA4514098"
            "A7D49E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA58"
            "0B328F180781C30CB07B4E12896CEC",
     .key = "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF",
     .err = ERR_DAMAGED},
    {.name = "ciphered, no key",
     .hex = "0001000100100043DB084845440000123456383001234567375EA4514098"
            "A7D49E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA58"
            "0B328F180781C30CB07B4E12896CEC",
     .err = ERR_UNKNOWN},
    {.name = "one bit changed in HDLC",
     .hex = "7EA050CEFF03133559E6E700E040000100003C0F000000070C07EA010FFF"
            "0B0000FFFF4C0002060106020412002809060007190900FF0F0212000002"
            "04120001090600002A0000FF0F021200000204D6537E7EA04DCEFF031301"
            "91E040000200003C12000309060100010800FF0F02120000020412000309"
            "060100010800FF0F03120000020412000509060100010400FF0F03120000"
            "0204120004090601D1DF7E7EA046CEFF0313EDD6E0C00003000035000106"
            "00FF0F05120000090D48454430303132333435363738060001E24002020F"
            "FF161E120009090C07EA010EFF0C0000FF800000514D7E",
     .err = ERR_DAMAGED},
    {.name = "last block missing",
     .hex = "7EA050CEFF03133559E6E700E040000100003C0F000000070C07EA010FFF"
            "0F0000FFFF4C0002060106020412002809060007190900FF0F0212000002"
            "04120001090600002A0000FF0F021200000204D6537E",
     .err = ERR_SHORT},
    {.name = "second block missing",
     .hex = "7EA04DCEFF03130191E040000100003C0F000000070C07EA010FFF0F0000"
            "FFFF4C0002060106020412002809060007190900FF0F0212000002041200"
            "01090600002A0000FF0F021200000204F5447E7EA046CEFF0313EDD6E0C0"
            "000300003500010600FF0F05120000090D48454430303132333435363738"
            "060001E24002020FFF161E120009090C07EA010EFF0C0000FF800000514D"
            "7E",
     .err = ERR_SHORT},
    {.name = "wrapper cut off",
     .hex = "00010001001000270F000000070C07EA010FFF0F0000FFFF4C0002030906"
            "0100010800FF060001E24002020F0016",
     .err = ERR_SHORT},
    {.name = "wrapper of another version",
     .hex = "00020001001000270F000000070C07EA010FFF0F0000FFFF4C0002030906"
            "0100010800FF060001E24002020F00161E",
     .err = ERR_FORMAT},
    {.name = "bytes behind the body",
     .hex = "0F000000070C07EA010FFF0F0000FFFF4C00020309060100010800FF0600"
            "01E24002020F00161E00",
     .err = ERR_FORMAT},
    {.name = "nested too deep",
     .hex = "0F0000000700010101010101010101010101010101010101010101010101"
            "010101010101010101010101010101010101010101010101010101010101"
            "010101010101010101010101010101010101010101010101010100",
     .err = ERR_FORMAT},
    {.name = "compact array",
     .hex = "0F00000007001311020102",
     .err = ERR_UNSUPPORTED},
    {.name = "unknown type", .hex = "0F000000070050", .err = ERR_FORMAT},
    {.name = "an association request",
     .hex = "601DA109060760857405080101",
     .err = ERR_UNSUPPORTED},
    {.name = "security suite 1",
     .hex = "0001000100100043DB084845440000123456383101234567375EA4514098"
            "A7D49E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA58"
            "0B328FC079D93898120364E1A6EC1D",
     .key = "000102030405060708090A0B0C0D0E0F",
     .err = ERR_UNSUPPORTED},
    {.name = "no date 31 February",
     .hex = "0F000000070C07EA021FFF000000FF80000000",
     .err = ERR_FORMAT},
    {0},
};

const struct codec codec_dlms_push = {
    .abi = CODEC_ABI,
    .name = "dlms-push",
    .version = 1,
    .title = "DLMS/COSEM push: data-notification over TCP or HDLC",
    .source = "IEC 62056-5-3, -6-2, -46, -47; Green Book ed. 8",
    .medium = MEDIUM_ELECTRICITY,
    .decode = decode,
    .vectors = vectors,
};
