/*
 * iec62056_21.c - read-outs of IEC 62056-21 mode C and D, and DSMR P1
 * telegrams: "/XXXZident", data lines "1-0:1.8.0(004706.120*kWh)", "!".
 *
 * Source: IEC 62056-21 clause 6; IEC 62056-61 (OBIS); DSMR P1 2.2 to 5.0;
 * VDEW load profiles; Landis+Gyr Ultraheat.
 * The block check character and the P1 CRC are checked where they are; a P1
 * telegram of version 4 and later must have one.
 *
 * A line is an identification and its values: "id(v)(v)id(v)"; one that begins
 * with "(" goes on. "(time)(value)" and "(value)(time)" give the value a row.
 * *01..*99 (and &01) are values of earlier billing periods: group F and the
 * storage number. Numbers without A-B are electricity, 1-0, or 0-0 from C = 96
 * on. What is no number is kept as a text; "()" is no value. Times are the
 * meter's local time, with the season where it is told.
 */
#include "codecs/iec62056_21.h"
#include "server/base/clock.h"
#include "server/base/err.h"

static bool is_break(char c)
{
    return c == '\r' || c == '\n' || c == ' ' || c == 0;
}

static void pass_breaks(struct str *s)
{
    while (s->n && is_break(s->p[0])) {
        s->p++;
        s->n--;
    }
}

/* Takes "(value)" off the front; 0 when there is none. */
static int take_value(struct iec *c, struct str *s, struct str *ret)
{
    const char *close;
    struct str at = *s;

    pass_breaks(&at);
    if (at.n == 0 || at.p[0] != '(')
        return 0;
    close = memchr(at.p, ')', at.n);
    if (!close)
        return decoded_fail(c->d, ERR_SHORT,
                            "IEC 62056-21 6.3: a value without its end",
                            iec_offset(c, at));
    *ret = (struct str){at.p + 1, (size_t)(close - at.p) - 1};
    if (memchr(ret->p, '(', ret->n) || memchr(ret->p, '\n', ret->n))
        return decoded_fail(c->d, ERR_FORMAT,
                            "IEC 62056-21 6.3: a value without its end",
                            iec_offset(c, at));
    s->p = close + 1;
    s->n = (size_t)(at.p + at.n - s->p);
    return 1;
}

/* The values behind an identification. */
static int take_values(struct iec *c, struct str *s, struct iec_line *l)
{
    struct str from = *s, value;
    int r;

    for (l->n = 0; (r = take_value(c, s, &value)) == 1; l->n++)
        ;
    if (r < 0)
        return r;
    l->values = arena_alloc(c->d->arena, (l->n + 1) * sizeof(*l->values));
    if (!l->values)
        return decoded_fail(c->d, ERR_FULL, "too many values in one line",
                            iec_offset(c, from));
    for (size_t i = 0; i < l->n; i++)
        take_value(c, &from, &l->values[i]);
    return 0;
}

static int add_lines(struct iec *c, struct str s)
{
    for (pass_breaks(&s); s.n; pass_breaks(&s)) {
        struct iec_line l = {.id = {s.p, 0}};
        int r;

        if (s.p[0] == '!')
            return 0;
        while (l.id.n < s.n && s.p[l.id.n] != '(' && !is_break(s.p[l.id.n]))
            l.id.n++;
        if (l.id.n == 0 || l.id.n > IEC_ID_MAX || !cosem_printable(l.id))
            return decoded_fail(c->d, ERR_FORMAT,
                                "IEC 62056-21 6.3: identification of a value",
                                iec_offset(c, s));
        s.p += l.id.n;
        s.n -= l.id.n;
        if ((r = take_values(c, &s, &l)) < 0)
            return r;
        if (l.n == 0)
            return decoded_fail(c->d, s.n ? ERR_FORMAT : ERR_SHORT,
                                "IEC 62056-21 6.3: a line without value",
                                iec_offset(c, l.id));
        if ((r = iec_add_line(c, &l)) < 0)
            return r;
    }
    return 0;
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct iec_blocks blocks;
    struct iec c = {
        .d = d, .serial_rank = 99, .day_us = TIME_NONE, .time_us = TIME_NONE};
    int r = iec_blocks(d, in->payload, &blocks);

    if (r < 0)
        return r;
    c.text = blocks.text;
    c.plain = blocks.plain;
    if (blocks.ident.n >= 3) {
        d->manufacturer = (struct str){blocks.ident.p, 3};
        c.ultraheat = memcmp(blocks.ident.p, "LUG", 3) == 0;
    }
    if (c.ultraheat)
        d->medium = MEDIUM_HEAT;
    for (uint32_t i = 0; i < blocks.n && r >= 0; i++)
        r = add_lines(&c, blocks.data[i]);
    if (r >= 0 && c.needs_check && !blocks.has_check)
        return decoded_fail(d, ERR_SHORT, "DSMR P1 6.2: the CRC is missing",
                            in->payload.n);
    if (r >= 0 && d->n_measurements == 0)
        return decoded_fail(d, ERR_SHORT, "IEC 62056-21: no values", 0);
    return r;
}

static const struct codec_vector vectors[] = {
    {.name = "P1 version 5 with CRC",
     .text = "/HED5\\253 P1\r\n"
             "\r\n"
             "1-3:0.2.8(50)\r\n"
             "0-0:1.0.0(260715140000S)\r\n"
             "0-0:96.1.1(4530303031323334)\r\n"
             "1-0:1.8.1(001234.567*kWh)\r\n"
             "1-0:2.8.1(000000.000*kWh)\r\n"
             "1-0:1.7.0(00.428*kW)\r\n"
             "1-0:32.7.0(229.0*V)\r\n"
             "0-0:96.7.21(00004)\r\n"
             "1-0:99.97.0(1)(0-0:96.7.19)(260101120000W)(0000000240*s)\r"
             "\n"
             "0-0:96.13.0()\r\n"
             "0-1:24.1.0(003)\r\n"
             "0-1:96.1.0(4730303939)\r\n"
             "0-1:24.2.1(260715130000S)(01234.567*m3)\r\n"
             "!7908\r\n",
     .expect = "electricity; serial E0001234; manufacturer HED; clock 2026-0"
               "7-15T14:00:00 dst; parameter 1-3:0.2.8 50; text 0-0:96.1.1=E"
               "0001234; energy 1-0:1.8.1 1234.567 kWh; energy 1-0:2.8.1 0.0"
               "00 kWh; power 1-0:1.7.0 0.428 kW; voltage 1-0:32.7.0 229.0 V"
               "; count 0-0:96.7.21 4; parameter 1-0:99.97.0 [extra] 1; text"
               " 1-0:99.97.0=0-0:96.7.19; @2026-01-01T12:00:00; operating-ti"
               "me 1-0:99.97.0 [extra] 240 s; @now; parameter 0-1:24.1.0 3; "
               "text 0-1:96.1.0=G0099; @2026-07-15T13:00:00 dst; volume 0-1:"
               "24.2.1 1234.567 m3"},
    {.name = "P1 version 2, value on a line of its own",
     .text = "/HED5 old\r\n"
             "\r\n"
             "1-0:1.8.1(00012.001*kWh)\r\n"
             "0-1:24.3.0(260715130000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n"
             "(00001.001)\r\n"
             "!\r\n",
     .expect = "electricity; manufacturer HED; energy 1-0:1.8.1 12.001 kWh; "
               "@2026-07-15T13:00:00; volume 0-1:24.2.1 1.001 m3"},
    {.name = "mode C, history, maximum, half clocks",
     .text = "/ISk5MT174-0001\r\n"
             "\0020.0.0(00123456)\r\n"
             "0.9.1(21:10:29)\r\n"
             "0.9.2(26-03-21)\r\n"
             "F.F(00000100)\r\n"
             "1.8.0(0031550.191*kWh)\r\n"
             "1.8.1*01(0012853.4*kWh)\r\n"
             "1-0:3.8.0&02(5.1*kvarh)\r\n"
             "1.6.1(05.32*kW)(2601111830)\r\n"
             "81.7.4(-80.7*Deg)\r\n"
             "0.2.0(v1.2)\r\n"
             "14.7(49,96*Hz)\r\n"
             "!\r\n"
             "\003o",
     .expect = "electricity; serial 00123456; manufacturer ISk; clock 2026-0"
               "3-21T21:10:29; text 0.0.0=00123456; error-flags 0-0:97.97.0 "
               "256; energy 1-0:1.8.0 31550.191 kWh; energy 1-0:1.8.1*1 [sto"
               "rage 1] 12853.4 kWh; reactive-energy 1-0:3.8.0*2 [storage 2]"
               " 5.1 kvarh; @2026-01-11T18:30:00; power 1-0:1.6.1 [max] 5.32"
               " kW; @now; phase-angle 1-0:81.7.4 -80.7 deg; text 0.2.0=v1.2"
               "; frequency 1-0:14.7.0 49.96 Hz"},
    {.name = "load profile",
     .text = "/LGZ4ZMF100\r\n"
             "\002P.01(1260111001500)(00)()(15)(2)(1.5)(kW)(2.5)(kW)\r\n"
             "(0.250)(0.000)\r\n"
             "(0.500)(0.125)\r\n"
             "!\r\n"
             "\003]",
     .expect = "electricity; manufacturer LGZ; @2026-01-11T00:15:00 dst; pow"
               "er 1-0:1.5.0 0.250 kW; power 1-0:2.5.0 0.000 kW; @2026-01-11"
               "T00:30:00 dst; power 1-0:1.5.0 0.500 kW; power 1-0:2.5.0 0.1"
               "25 kW"},
    {.name = "Ultraheat",
     .text = "/LUGCUH50\r\n"
             "\0026.8(0000123.4*GJ)6.26(00017.31*m3)9.21(66153690)\r\n"
             "6.26*01(0000.500*m3)6.4(0009*kW)6.36(01-01&00:00)\r\n"
             "!\r\n"
             "\003!",
     .expect = "heat; serial 66153690; manufacturer LUG; energy 6-0:1.0.0 12"
               "3.4 GJ; volume 6-0:2.0.0 17.31 m3; text 9.21=66153690; volum"
               "e 6-0:2.0.0*1 [storage 1] 0.500 m3; power 6-0:8.5.0 [max] 9 "
               "kW; text 6.36=01-01&00:00"},
    {.name = "7E1 with parity",
     .text = "\257\311S\3535M\324\261\267\264-000\261\215\n"
             "\2020.0.0(00\261\2623\26456\251\215\n"
             "0.9.\261(\262\261:\2610:\2629\251\215\n"
             "0.9.\262(\2626-03-\262\261\251\215\n"
             "\306.\306(00000\26100\251\215\n"
             "\261.\270.0(003\261550.\2619\261\252\353\327\350\251\215\n"
             "\261.\270.\261\2520\261(00\261\262\27053.\264\252\353\327"
             "\350\251\215\n"
             "\261-0:3.\270.0\2460\262(5.\261\252\353\366\341r\350\251\215"
             "\n"
             "\261.6.\261(05.3\262\252\353\327\251(\26260\261\261\261\261"
             "\27030\251\215\n"
             "\270\261.\267.\264(-\2700.\267\252De\347\251\215\n"
             "0.\262.0(\366\261.\262\251\215\n"
             "\261\264.\267(\2649\25496\252H\372\251\215\n"
             "!\215\n"
             "\003o",
     .expect = "electricity; serial 00123456; manufacturer ISk; clock 2026-0"
               "3-21T21:10:29; text 0.0.0=00123456; error-flags 0-0:97.97.0 "
               "256; energy 1-0:1.8.0 31550.191 kWh; energy 1-0:1.8.1*1 [sto"
               "rage 1] 12853.4 kWh; reactive-energy 1-0:3.8.0*2 [storage 2]"
               " 5.1 kvarh; @2026-01-11T18:30:00; power 1-0:1.6.1 [max] 5.32"
               " kW; @now; phase-angle 1-0:81.7.4 -80.7 deg; text 0.2.0=v1.2"
               "; frequency 1-0:14.7.0 49.96 Hz"},
    {.name = "two blocks",
     .text = "/HED5BLK\r\n"
             "\0020-0:96.1.0(12345678)\r\n"
             "1-0:1.8.0(1*kWh)\r\n"
             "\004u\0021-0:2.8.0(2*kWh)\r\n"
             "!\r\r\n"
             "\003N",
     .expect = "electricity; serial 12345678; manufacturer HED; text 0-0:96."
               "1.0=12345678; energy 1-0:1.8.0 1 kWh; energy 1-0:2.8.0 2 kWh"},
    {.name = "odd units and numbers",
     .text = "/HED5X\r\n"
             "\r\n"
             "1-0:1.8.0(12*furlong)\r\n"
             "1-0:2.8.0(1E5*kWh)\r\n"
             "7-0:3.0.0(12.5*m3)\r\n"
             "!\r\n",
     .expect = "electricity; manufacturer HED; energy 1-0:1.8.0 12 furlong; "
               "text 1-0:2.8.0=1E5*kWh; volume 7-0:3.0.0 12.5 m3"},
    {.name = "P1 with one digit changed",
     .text = "/HED5\\253 P1\r\n"
             "\r\n"
             "1-3:0.2.8(50)\r\n"
             "0-0:1.0.0(260715140000S)\r\n"
             "0-0:96.1.1(4530303031323334)\r\n"
             "1-0:1.8.1(001234.567*kWh)\r\n"
             "1-0:2.8.1(000000.000*kWh)\r\n"
             "1-0:1.7.0(00.429*kW)\r\n"
             "1-0:32.7.0(229.0*V)\r\n"
             "0-0:96.7.21(00004)\r\n"
             "1-0:99.97.0(1)(0-0:96.7.19)(260101120000W)(0000000240*s)\r"
             "\n"
             "0-0:96.13.0()\r\n"
             "0-1:24.1.0(003)\r\n"
             "0-1:96.1.0(4730303939)\r\n"
             "0-1:24.2.1(260715130000S)(01234.567*m3)\r\n"
             "!7908\r\n",
     .err = ERR_DAMAGED},
    {.name = "P1 version 5 without CRC",
     .text = "/HED5\\253 P1\r\n"
             "\r\n"
             "1-3:0.2.8(50)\r\n"
             "0-0:1.0.0(260715140000S)\r\n"
             "0-0:96.1.1(4530303031323334)\r\n"
             "1-0:1.8.1(001234.567*kWh)\r\n"
             "1-0:2.8.1(000000.000*kWh)\r\n"
             "1-0:1.7.0(00.428*kW)\r\n"
             "1-0:32.7.0(229.0*V)\r\n"
             "0-0:96.7.21(00004)\r\n"
             "1-0:99.97.0(1)(0-0:96.7.19)(260101120000W)(0000000240*s)\r"
             "\n"
             "0-0:96.13.0()\r\n"
             "0-1:24.1.0(003)\r\n"
             "0-1:96.1.0(4730303939)\r\n"
             "0-1:24.2.1(260715130000S)(01234.567*m3)\r\n"
             "!\r\n",
     .err = ERR_SHORT},
    {.name = "end line missing",
     .text = "/HED5\\253 P1\r\n"
             "\r\n"
             "1-3:0.2.8(50)\r\n"
             "0-0:1.0.0(260715140000S)\r\n"
             "0-0:96.1.1(4530303031323334)\r\n"
             "1-0:1.8.1(001234.567*kWh)\r\n"
             "1-0:2.8.1(000000.000*kWh)\r\n"
             "1-0:1.7.0(00.428*kW)\r\n"
             "1-0:32.7.0(229.0*V)\r\n"
             "0-0:96.7.21(00004)\r\n"
             "1-0:99.97.0(1)(0-0:96.7.19)(260101120000W)(0000000240*s)\r"
             "\n"
             "0-0:96.13.0()\r\n"
             "0-1:24.1.0(003)\r\n"
             "0-1:96.1.0(4730303939)\r\n"
             "0-1:24.2.1(260715130000S)(01234.567*m3)\r",
     .err = ERR_SHORT},
    {.name = "BCC wrong",
     .text = "/ISk5MT174-0001\r\n"
             "\0020.0.0(00123456)\r\n"
             "0.9.1(21:10:29)\r\n"
             "0.9.2(26-03-21)\r\n"
             "F.F(00000100)\r\n"
             "1.8.0(0031550.191*kWh)\r\n"
             "1.8.1*01(0012853.4*kWh)\r\n"
             "1-0:3.8.0&02(5.1*kvarh)\r\n"
             "1.6.1(05.32*kW)(2601111830)\r\n"
             "81.7.4(-80.7*Deg)\r\n"
             "0.2.0(v1.2)\r\n"
             "14.7(49,96*Hz)\r\n"
             "!\r\n"
             "\003~",
     .err = ERR_DAMAGED},
    {.name = "BCC missing",
     .text = "/ISk5MT174-0001\r\n"
             "\0020.0.0(00123456)\r\n"
             "0.9.1(21:10:29)\r\n"
             "0.9.2(26-03-21)\r\n"
             "F.F(00000100)\r\n"
             "1.8.0(0031550.191*kWh)\r\n"
             "1.8.1*01(0012853.4*kWh)\r\n"
             "1-0:3.8.0&02(5.1*kvarh)\r\n"
             "1.6.1(05.32*kW)(2601111830)\r\n"
             "81.7.4(-80.7*Deg)\r\n"
             "0.2.0(v1.2)\r\n"
             "14.7(49,96*Hz)\r\n"
             "!\r\n"
             "\003",
     .err = ERR_SHORT},
    {.name = "value that does not end",
     .text = "/HED5X\r\n"
             "\r\n"
             "1-0:1.8.0(12\r\n"
             "!\r\n",
     .err = ERR_SHORT},
    {.name = "line without value",
     .text = "/HED5X\r\n"
             "\r\n"
             "1-0:1.8.0\r\n"
             "!\r\n",
     .err = ERR_FORMAT},
    {.name = "bytes behind the end",
     .text = "/HED5X\r\n"
             "\r\n"
             "1-0:1.8.0(1*kWh)\r\n"
             "!\r\n"
             "/HED5Y",
     .err = ERR_FORMAT},
    {.name = "no values",
     .text = "/HED5X\r\n"
             "\r\n"
             "!\r\n",
     .err = ERR_SHORT},
    {0},
};

const struct codec codec_iec62056_21 = {
    .abi = CODEC_ABI,
    .name = "iec62056-21",
    .version = 1,
    .title = "IEC 62056-21 mode C read-outs and DSMR P1 telegrams",
    .source = "IEC 62056-21 clause 6; DSMR P1 2.2 to 5.0; IEC 62056-61",
    .medium = MEDIUM_ELECTRICITY,
    .decode = decode,
    .vectors = vectors,
};
