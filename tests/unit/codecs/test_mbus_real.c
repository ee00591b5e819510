/*
 * Real telegrams that others published, value by value. The source stands with
 * each; its own decoding was compared, and where it differs the standard
 * decided.
 */
#include "codecs/registry.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *source, *codec;
    struct codec_vector vector;
} rows[] = {
    {"OMS volume 2 annex N",
     "wmbus",
     {.name = "gas meter, security profile A, frame format A with CRCs",
      .hex =
          "2E44931578563412330333637A2A0020255923C95AAA26D1B2E7493BC2AD013EC4"
          "A6F6D3529B520EDFF0EA6DEFC955B29D6D69EBF3EC8A",
      .key = "0102030405060708090A0B0C0D0E0F11",
      .expect =
          "gas; serial 12345678; manufacturer ELS; clock 2008-05-31T23:50:00;"
          " volume 28504.27 m3; error-flags 0"}},
    {"OMS volume 2 annex N",
     "wmbus",
     {.name = "gas meter, security profile B",
      .hex =
          "434493157856341233038C2075900F002C25B30A000021924D4F2FB66E017A7500"
          "2007109058475F4BC91DF878B80A1B0F98B629024AAC727942BFC549233C014082"
          "9B93",
      .key = "000102030405060708090A0B0C0D0E0F",
      .expect =
          "gas; serial 12345678; manufacturer ELS; clock 2008-05-31T23:50:00;"
          " volume 28504.27 m3; error-flags 0"}},
    {"ioBroker wireless-mbus, CRC helper",
     "wmbus",
     {.name = "frame format B, a signal level behind it",
      .hex = "1444AE0C7856341201078C2027780B134365877AC55A",
      .expect = "water; serial 12345678; manufacturer CEN; volume 876.543 m3"}},
    {"ioBroker wireless-mbus, application layer",
     "wmbus",
     {.name = "radio converter, long header, mode 5",
      .hex =
          "4644A205440000570C377244000057A2050C37A3003005D898C64FD0C9BD263436"
          "5084E4DF946736C71A2103E45A190CAA1A49B602E46C9F45FCEE79AFBE34F0C167"
          "FD857F659E",
      .key = "CAFEBABE123456789ABCDEF0CAFEBABE",
      .expect =
          "other; serial 57000044; manufacturer AMB; volume 0.675 m3; text id"
          "entification=AMBER wireless Testmodul! S Mode"}},
    {"rscada/libmbus test/test-frames/gmc_emmod206",
     "mbus",
     {.name = "GMC EMMOD 206: inputs are subunits, tariffs",
      .hex =
          "6891916808037278563412A31DE602020000008240FD486003828040FD48BF0382"
          "C040FD4820048240FD59BD03828040FD591F0482C040FD597E0482402BE0008240"
          "2B36FF84100494280000842004983A0000845004BF4E0000846004A86100008490"
          "40048B75000084A04004B888000084D040042D9D000084E04004C8AF000082412B"
          "E00082422B000082432B000082442BCA004216",
      .expect =
          "electricity; serial 12345678; manufacturer GMC; voltage [subunit 1"
          "] 86.4 V; voltage [subunit 2] 95.9 V; voltage [subunit 3] 105.6 V;"
          " current [subunit 1] 0.957 A; current [subunit 2] 1.055 A; current"
          " [subunit 3] 1.150 A; power [subunit 1] 0.224 kW; power [subunit 1"
          "] -0.202 kW; energy [tariff 1] 103.88 kWh; energy [tariff 2] 150.0"
          "0 kWh; energy [tariff 1, subunit 1] 201.59 kWh; energy [tariff 2, "
          "subunit 1] 250.00 kWh; energy [tariff 1, subunit 2] 300.91 kWh; en"
          "ergy [tariff 2, subunit 2] 350.00 kWh; energy [tariff 1, subunit 3"
          "] 402.37 kWh; energy [tariff 2, subunit 3] 450.00 kWh; power [stor"
          "age 2, subunit 1] 0.224 kW; power [storage 4, subunit 1] 0.000 kW;"
          " power [storage 6, subunit 1] 0.000 kW; power [storage 8, subunit "
          "1] 0.202 kW"}},
    {"rscada/libmbus test/test-frames/EDC",
     "mbus",
     {.name = "EDC: floats, heat and cooling, plain-text units",
      .hex =
          "68AEAE682801729508121183140204170000008400863B230000008400863CD101"
          "00008440863B000000008440863C0000000085005B2B4BAC4185005F20D7AC4185"
          "405B0000B84285405F0000B84285003B8400353F85403B0000000095003B95CFB2"
          "4395403B0000000085002B0000000085402B0000000095002BD39F904695402B00"
          "000000046D190F8A1784007C0143F30D000084407C01439D01000084007C016301"
          "00000084407C0163010000000F2F16",
      .expect =
          "heat; serial 11120895; manufacturer EDC; clock 2012-07-10T15:25:00"
          "; energy 35 kWh; energy [export] 465 kWh; energy [subunit 1] 0 kWh"
          "; energy [subunit 1, export] 0 kWh; flow-temperature 21.536703 Cel"
          "; return-temperature 21.605042 Cel; flow-temperature [subunit 1] 9"
          "2 Cel; return-temperature [subunit 1] 92 Cel; flow 0.0007070391 m3"
          "/h; flow [subunit 1] 0.000 m3/h; flow [max] 0.35762173 m3/h; flow "
          "[subunit 1, max] 0.000 m3/h; power 0.000 kW; power [subunit 1] 0.0"
          "00 kW; power [max] 18.511912 kW; power [subunit 1, max] 0.000 kW; "
          "unknown 3571 C; unknown [subunit 1] 413 C; unknown 1 c; unknown [s"
          "ubunit 1] 1 c"}},
    {"rscada/libmbus test/test-frames/siemens_water",
     "mbus",
     {.name = "Siemens WFx: binaries of 6 and 13 bytes, a short text",
      .hex =
          "685959680800728213020865329906EB0000000C13010100000B22520902046D38"
          "086E19326C00000C788213020806FD0C0A000100FA010DFD0B05313248465701FD"
          "0E000B3B0000000F37FD170000000000000000027A0D0002780D001116",
      .expect =
          "hot-water; serial 08021382; manufacturer LSE; clock 2011-09-14T08:"
          "56:00; volume 0.101 m3; on-time 20952 h; date [error] not set; ide"
          "ntification 8021382; identification 2173253517322 fd0c; text ident"
          "ification=WFH21; identification 0 fd0e; flow 0.000 m3/h; manufactu"
          "rer 37fd170000000000000000027a0d0002780d00"}},
    {"rscada/libmbus test/test-frames/itron_cf_55",
     "mbus",
     {.name = "Itron CF 55: values during an error",
      .hex =
          "684D4D680807726776121177040B0C0B1000000C78677612110407000000000C16"
          "000000003B2D9999990B3B0000003A5A99993A5E99993B61999999046D2F0B9811"
          "0227FC0009FD0E1009FD0F210F03205416",
      .expect =
          "heat; serial 11127667; manufacturer ACW; clock 2012-01-24T11:47:00"
          "; identification 11127667; energy 0 kWh; volume 0 m3; power [error"
          "] 99999.9 kW (meter error); flow 0.000 m3/h; flow-temperature [err"
          "or] 999.9 Cel (meter error); return-temperature [error] 999.9 Cel "
          "(meter error); temperature-difference [error] 9999.99 K (meter err"
          "or); operating-time 252 d; identification 10 fd0e; identification "
          "21 fd0f; manufacturer 0320; event device.temporary_error start sta"
          "tus 0x10"}},
    {"dev-lab/tmbus issue 6",
     "mbus",
     {.name = "Carlo Gavazzi EM111: scaling VIFEs",
      .hex =
          "684D4D6808007264300450361CC4026600000004050300000004FB827500000000"
          "042AE001000004FB977262FEFFFF04FBB7727902000004FD590C01000004FD4839"
          "09000002FDBA73F60202FB2EF4011F4F16",
      .expect =
          "electricity; serial 50043064; manufacturer GAV; energy 0.3 kWh; re"
          "active-energy 0.0 kvarh; power 0.0480 kW; reactive-power -0.0414 k"
          "var; apparent-power 0.0633 kVA; current 0.268 A; voltage 236.1 V; "
          "count 0.758; frequency 50.0 Hz"}},
    {"rscada/libmbus test/test-frames/example_plain_text_placement",
     "mbus",
     {.name = "plain-text unit behind its VIFE",
      .hex = "6819196808027278563412244001075500000003FC20034342411531007F16",
      .expect =
          "water; serial 12345678; manufacturer PAD; unknown [extra] 12565 AB"
          "C"}},
    {"wmbusmeters/wmbusmeters issue 1667",
     "wmbus",
     {.name = "Kamstrup, security mode 10",
      .hex =
          "4544372C060382533C168C20307A3010FF2A10018C570E006DA7632471F42B0A3C"
          "ECCD461353573ED02B87118BC5FFE982F7F00A0274543BC51938F8B9C8BB892811"
          "4D60788A",
      .key = "BF902DD6DFADAFE83E4AE6832B5FA14C",
      .expect =
          "water; serial 53820306; manufacturer KAW; clock 2025-12-15T10:28:0"
          "0; volume 0.0 m3; manufacturer 1025 ff25; manufacturer 28147497671"
          "0655 ff1b; @2025-12-01T00:00:00; volume [storage 1] 0.0 m3; event "
          "device.temporary_error start status 0x10"}},
    {"wmbusmeters, driver izar",
     "wmbus",
     {.name = "Diehl IZAR, PRIOS of maker SAP",
      .hex = "1944304C72242421D401A2013D4013DD8B46A4999C1293E582CC",
      .expect =
          "water; serial 21242472; manufacturer SAP; volume 3.488 m3; @2019-0"
          "9-30T00:00:00; volume [storage 1] 3.486 m3; @now; battery-life 174"
          " mo; event water.blocked start; event water.underflow start"}},
    {"wmbusmeters, driver izar",
     "wmbus",
     {.name = "Diehl IZAR, PRIOS of maker DME: the number stands last",
      .hex =
          "2944A511780729662366A20118001378D3B3DB8CEDD77731F25832AAF3DA8CADF9"
          "774EA673172E8C61F2",
      .expect =
          "water; serial 66236629; manufacturer DME; volume 16.760 m3; @2019-"
          "11-30T00:00:00; volume [storage 1] 11.840 m3; @now; battery-life 1"
          "44 mo"}},
    {"wmbusmeters, driver fhkvdataiii",
     "wmbus",
     {.name = "Techem FHKV radio 4",
      .hex =
          "33446850341211119480A20F9F292D005024040011BD0838090400000007000000"
          "0000000000000000000001000000000003140E",
      .expect =
          "heat-cost-allocator; serial 11111234; manufacturer TCH; heat-cost-"
          "allocation 4 HCA; @2020-12-31T00:00:00; heat-cost-allocation [stor"
          "age 1] 45 HCA; @now; external-temperature 22.37 Cel; flow-temperat"
          "ure 23.60 Cel"}},
    {"wmbusmeters, driver vario451",
     "wmbus",
     {.name = "Techem Vario 4.5.1",
      .hex =
          "374468506549235827C3A2129F25383300A8622600008200800A2AF86211517555"
          "2877A36F26C9AB1CB24400000004000000000004908002",
      .expect =
          "heat; serial 58234965; manufacturer TCH; energy [extra] 9.826 GJ; "
          "@2018-12-31T00:00:00; energy [storage 1, extra] 13.112 GJ"}},
};

static void published_telegrams_decode_value_by_value(void **state)
{
    size_t bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena *a = arena_new(1 << 20);
        const struct codec *c = codec_find(str_of(rows[i].codec));
        struct str got = {0};

        if (codec_check(c, &rows[i].vector, a, &got) < 0) {
            print_error("%s (%s): got \"%.*s\"\n", rows[i].vector.name,
                        rows[i].source, STR_ARGS(got));
            bad++;
        }
        arena_free(a);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_telegrams_decode_value_by_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
