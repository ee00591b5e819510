"""Telegrams in an uplink: encrypted ones and their keys, compact ones and the
lists they leave out, status bits, replays - live, by themselves, per tenant."""

import json
import re

import pytest
from harness import ROOT, Uplink, wait_until

KEY = "000102030405060708090A0B0C0D0E0F"
WRONG = "FF0102030405060708090A0B0C0D0E0F"
EUI, EUI2 = "0011223344556677", "0011223344556678"
SERIAL = "12345678"
# Vectors of codecs/wmbus.c: 7.704 m3, 21 degrees.
CLEAR = "18442D2C785634121B167A{acc}{status}00000413181E0000025B1500"
MODE5 = "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E"
UNPROTECTED = "1E442D2C785634121B167A2A0010052F2F0413181E0000025B15002F2F2F2F"
COUNTER_1 = ("33442D2C785634121B168C202A900F002C2501000000ADF138FFFDE639FB7A2A"
             "0010071004609B3A99E367F499D6FD3C03019B65")
COUNTER_2 = ("3D442D2C785634121B168C202A9019003C2702000000F030A6F32CF58D6CA746"
             "291350E7E92D16007A2A001007108D050465C05E3901599957C5C0C6B809")
TEACHES = "14442D2C785634121B16690998BC0413025B01FD17"
COMPACT = "19442D2C785634121B167B2B00000098BCB8E701000000020000"
CORPORA = ROOT.parent / "shared" / "corpora" / "wmbus-encrypted.jsonl"


class Fleet:
    """Uplinks of one integration, a minute apart each."""

    def __init__(self, broker):
        self.broker, self.sent = broker, 0

    def send(self, payload, eui=EUI, minute=None, second=0):
        self.sent += 1
        minute = self.sent if minute is None else minute
        uplink = Uplink(eui, bytes.fromhex(payload), counter=self.sent, time=
                        f"2026-01-15T{minute // 60:02d}:{minute % 60:02d}:"
                        f"{second:02d}Z")
        self.broker.publish(*uplink.chirpstack4())


@pytest.fixture
def heard(site, broker, demo):
    site.headend.cli("keys", "init")
    demo.integration("chirpstack", broker.url)
    demo.water = demo.meter(SERIAL, "wmbus-generic", EUI)
    site.start()
    site.wait_subscribed()
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    return Fleet(broker)


def add_key(tenant, key, *options):
    said = tenant.site.headend.run("keys", "add", "--tenant", tenant.name,
                                   "--key-file", "-", *options,
                                   stdin=key + "\n")
    assert said.returncode == 0, said.stderr
    return int(re.match(r"key (\d+) ", said.stdout)[1])


def quarantined(tenant):
    return sorted(tenant.site.sql(
        "SELECT reason, detail FROM quarantine WHERE tenant_id = %s",
        (tenant.id,)))


def values(tenant, obis="8-0:1.0.0"):
    return [str(v) for (_, o, _), (v, _) in sorted(tenant.readings().items())
            if o == obis]


def events(tenant):
    return tenant.site.sql(
        "SELECT code, state, to_char(time AT TIME ZONE 'UTC', 'HH24:MI') FROM "
        "event WHERE tenant_id = %s ORDER BY time, code", (tenant.id,))


# -- keys --------------------------------------------------------------------


def test_encrypted_telegram_waits_for_its_key_and_is_then_decoded(
        site, demo, heard):
    heard.send(MODE5)
    demo.wait_fates(quarantined=1)
    assert quarantined(demo) == [
        ("key_missing", "12345678 KAM type 22 version 27")]
    add_key(demo, WRONG, "--address", SERIAL)
    wait_until(lambda: quarantined(demo)[0][0] == "decrypt_failed")
    assert demo.readings() == {}
    key = add_key(demo, KEY, "--manufacturer", "kam")
    demo.wait_fates(stored=1)
    assert values(demo) == ["7.704"]
    assert site.sql("SELECT extras FROM frame") == [
        ([{"quantity": "key", "value": str(key)}],)]
    assert site.sql("SELECT meter_id, key_id FROM meter_key_use") == [
        (demo.water, key)]
    heard.send(MODE5)  # and live from now on
    demo.wait_fates(stored=2)
    assert KEY.lower() not in site.headend.log().lower()
    site.check_balance()


def test_key_of_the_meter_itself_goes_before_the_store(site, demo, heard):
    right = add_key(demo, KEY)
    bound = add_key(demo, WRONG, "--meter", SERIAL)
    wait_until(lambda: site.sql("SELECT count(*) FROM secret") == [(2,)])
    heard.send(MODE5)
    demo.wait_fates(quarantined=1)
    assert quarantined(demo)[0][0] == "decrypt_failed"
    site.headend.cli("keys", "remove", "--tenant", "demo", bound)
    heard.send(MODE5)
    wait_until(lambda: demo.fates().get("stored"))
    listed = site.headend.cli_json("keys", "list", "--tenant", "demo")["keys"]
    assert [(int(k["key_id"]), int(k["opens_meters"])) for k in listed] == [
        (right, 1)]
    assert site.sql("SELECT count(*) FROM secret") == [(1,)]
    site.headend.cli("replay", "--tenant", "demo", "--all")
    demo.wait_fates(stored=2)


def test_nobody_tries_anothers_keys(site, broker, demo, heard):
    other = site.tenant("other")
    add_key(other, KEY)
    add_key(demo, WRONG)
    heard.send(MODE5)
    demo.wait_fates(quarantined=1)
    assert quarantined(demo)[0][0] == "decrypt_failed"
    other.integration("chirpstack", broker.url)
    site.wait_subscribed(2)
    other.meter(SERIAL, "wmbus-generic", EUI)
    wait_until(lambda: site.headend.metric("headend_meters") == 2)
    heard.send(MODE5)  # one broker: both tenants get it
    other.wait_fates(stored=1)
    demo.wait_fates(quarantined=2)
    assert demo.readings() == {} and values(other) == ["7.704"]
    key, = site.sql("SELECT key_id FROM meter_key_use")[0]
    with pytest.raises(Exception, match="meter_key_use"):
        site.sql("INSERT INTO meter_key_use SELECT %s, %s, %s, now(), 1",
                 (demo.id, demo.water, key))


def test_key_file_says_what_became_of_each_row(site, demo):
    site.headend.cli("keys", "init")
    demo.meter("77", "wmbus-generic")
    csv = ("Address;Key;Manufacturer;DeviceType;Version;Meter\n"
           f"00123456;{KEY};KAM;7;27;\n"
           f"-1;{KEY};*;-1;-1;\n"
           f"123456;{KEY.lower()};kam;07;27;\n"
           f"1;{KEY[:-1]};*;-1;-1;\n"
           "\n"
           f"-1;{WRONG};*;-1;-1;77\n"
           f"-1;{WRONG};*;-1;-1;78\n")

    def run(*options):
        done = site.headend.run("keys", "import", "--tenant", "demo", "-",
                                "--json", *options, stdin=csv)
        assert done.returncode == 1 and KEY not in done.stdout
        said = json.loads(done.stdout)
        return [(r["line"], r["result"], r.get("error", "")[:20])
                for r in said["rows"]], site.sql(
                    "SELECT count(*) FROM meter_key")[0][0]
    bad = [(5, "refused", "Key: must be 32 hex "),
           (8, "refused", "Meter: no meter has ")]

    def all_of(result):
        return sorted([(2, result, ""), (3, result, ""), (4, "there", ""),
                       (7, result, "")] + bad)
    assert run("--dry-run") == (all_of("added"), 0)
    assert run() == (all_of("added"), 3)
    assert run() == (all_of("there"), 3)
    assert site.sql("SELECT address, manufacturer, device_type, version, "
                    "meter_id IS NOT NULL FROM meter_key ORDER BY key_id") == [
        ("123456", "KAM", 7, 27, False), (None, None, None, None, False),
        (None, None, None, None, True)]
    done = site.headend.run("keys", "import", "--tenant", "demo", "-",
                            stdin="Adress,Key\n")
    assert done.returncode == 1 and 'column "Adress"' in done.stderr


def test_keys_added_while_no_server_runs_are_met_at_the_start(site, demo,
                                                              heard):
    for _ in range(3):
        heard.send(MODE5)
    demo.wait_fates(quarantined=3)
    site.headend.stop()
    add_key(demo, KEY, "--address", "012345678")
    site.start()
    demo.wait_fates(stored=3)
    site.check_balance()


@pytest.mark.skipif(not CORPORA.exists(), reason="23 real telegrams not here")
def test_real_encrypted_telegrams_find_their_keys_among_many(site, broker,
                                                             demo, heard):
    lines = [json.loads(l) for l in CORPORA.read_text().splitlines()]
    lines = [l for l in lines if l["key"] and not
             l["expect"].get("must_fail")]
    assert len(lines) >= 20
    meters = "serial,model,dev_eui\n"
    keys = f"Address,Key,Manufacturer,DeviceType,Version\n-1,{WRONG},*,-1,-1\n"
    for i, line in enumerate(lines):
        identity = line["expect"]["identity"]
        meters += f"R{i},wmbus-generic,aa{i:014x}\n"
        keys += (f"{identity['id']},{line['key']},"
                 f"{identity['manufacturer']},-1,-1\n")
    site.headend.cli("meter", "import", "--tenant", "demo", "-", stdin=meters)
    wait_until(lambda: site.headend.metric("headend_meters") > len(lines))
    for i, line in enumerate(lines):
        heard.send(line["hex"], f"aa{i:014x}")
    demo.wait_fates(quarantined=len(lines))
    assert {r for r, _ in quarantined(demo)} == {"key_missing"}
    site.headend.cli("keys", "import", "--tenant", "demo", "-", stdin=keys)
    # One of them is cut off inside: its key fits, its records end too early.
    wait_until(lambda: {r for r, _ in quarantined(demo)} <= {"decode_failed"})
    assert demo.fates()["stored"] >= len(lines) - 1


def test_push_of_dlms_needs_both_its_keys(site, demo, heard):
    """The vector of codecs/dlms_vectors.c, authenticated and encrypted."""
    push = ("0001000100100043DB084845440000123456383001234567375EA4514098A7D49"
            "E580B27D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA580B328F1807"
            "81C30CB07B4E12896CEC")
    demo.meter("HED1", "dlms-push", EUI2)
    add_key(demo, KEY, "--meter", "HED1")
    add_key(demo, WRONG, "--meter", "HED1", "--purpose", "authentication")
    wait_until(lambda: site.sql("SELECT count(*) FROM secret") == [(2,)])
    wait_until(lambda: site.headend.metric("headend_meters") == 2)
    heard.send(push, EUI2)
    demo.wait_fates(quarantined=1)
    assert quarantined(demo) == [("decrypt_failed",
                                  "HED1 - type - version -")]
    add_key(demo, "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF", "--meter", "HED1",
            "--purpose", "authentication")
    demo.wait_fates(stored=1)
    assert values(demo, "1-0:1.8.0") and "not checked" not in str(
        site.sql("SELECT extras FROM frame"))


# -- record lists ------------------------------------------------------------


def test_compact_telegram_is_decoded_when_its_list_was_learnt(site, broker,
                                                              demo, heard):
    other = site.tenant("other")
    heard.send(COMPACT)
    demo.wait_fates(quarantined=1)
    assert quarantined(demo) == [("format_missing", "record list bc98")]
    heard.send(TEACHES)
    demo.wait_fates(stored=2)
    assert values(demo) == ["0.001"]
    site.headend.stop()
    site.start()
    heard.send(COMPACT)
    demo.wait_fates(stored=3)
    assert site.sql("SELECT tenant_id, signature, encode(list, 'hex') FROM "
                    "meter_format") == [(demo.id, 0xbc98, "0413025b01fd17")]
    other.integration("chirpstack", broker.url)
    other.meter(SERIAL, "wmbus-generic", EUI)
    site.wait_subscribed(2)
    heard.send(COMPACT)  # what demo has learnt is demo's
    other.wait_fates(quarantined=1)


# -- unprotected content -----------------------------------------------------


def test_unprotected_content_is_flagged_or_refused_as_the_tenant_wants(
        site, demo, heard):
    heard.send(UNPROTECTED)
    demo.wait_fates(stored=1)
    quality, = site.sql("SELECT DISTINCT quality FROM reading")[0]
    heard.send(CLEAR.format(acc="2A", status="00"))
    demo.wait_fates(stored=2)
    plain, = site.sql("SELECT min(quality) FROM reading")[0]
    assert quality > plain and (quality & ~plain).bit_count() == 1
    site.headend.cli("tenant", "set", "demo", "--unprotected", "refuse")
    wait_until(lambda: heard.send(UNPROTECTED) or quarantined(demo))
    assert quarantined(demo)[0][0] == "unprotected"
    heard.send(CLEAR.format(acc="2B", status="00"))
    before = demo.fates()["stored"]
    site.headend.cli("tenant", "set", "demo", "--unprotected", "accept")
    site.headend.cli("replay", "--tenant", "demo", "--reason", "unprotected")
    wait_until(lambda: demo.fates().get("stored", 0) > before
               and not demo.fates().get("quarantined"))


# -- status bits -------------------------------------------------------------


def test_status_bit_that_stays_is_one_event_until_it_ends(site, demo, heard):
    for i, status in enumerate(["00", "04", "04", "0C", "04", "00", "00",
                                "04"]):
        heard.send(CLEAR.format(acc=f"{i:02X}", status=status))
    demo.wait_fates(stored=8)
    expected = [("battery.low", 1, "00:02"),
                ("device.permanent_error", 1, "00:04"),
                ("device.permanent_error", 2, "00:05"),
                ("battery.low", 2, "00:06"), ("battery.low", 1, "00:08")]
    assert events(demo) == expected
    heard.send(CLEAR.format(acc="AA", status="00"), minute=3,
               second=9)  # late: no news
    heard.send(CLEAR.format(acc="AB", status="20"), EUI2)  # somebody unknown
    demo.wait_fates(stored=9, quarantined=1)
    assert events(demo) == expected
    demo.meter("12345679", "wmbus-generic", EUI2)
    demo.wait_fates(stored=10)
    assert ("mfr.bit5", 1, "00:10") in events(demo)


def test_status_in_a_journal_run_again_makes_no_event_twice(site, demo, heard):
    for i in range(20):
        heard.send(CLEAR.format(acc=f"{i:02X}", status=["00", "04"][i % 2]))
    demo.wait_fates(stored=20)
    before = events(demo)
    assert len(before) == 19
    site.headend.kill()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    wait_until(site.drained)
    assert events(demo) == before
    assert demo.fates() == {"stored": 20}


# -- replays -----------------------------------------------------------------


def test_older_counter_heard_later_is_a_replay(site, demo, heard):
    add_key(demo, KEY)
    wait_until(lambda: site.sql("SELECT count(*) FROM secret") == [(1,)])
    heard.send(COUNTER_1, minute=10)
    wait_until(lambda: demo.fates())
    assert demo.fates() == {"stored": 1}
    heard.send(COUNTER_2, minute=12)
    demo.wait_fates(stored=2)
    heard.send(COUNTER_2, minute=12, second=1)  # another receiver's
    demo.wait_fates(stored=3)
    heard.send(COUNTER_1, minute=20)
    heard.send(COUNTER_2, minute=21)
    demo.wait_fates(stored=3, quarantined=2)
    assert [r for r, _ in quarantined(demo)] == ["replayed"] * 2
    assert ("replay.detected", 0, "00:20") in events(demo)
    assert len(values(demo)) == 3
    heard.send(COUNTER_1, minute=11)  # held up on the way, not sent again
    demo.wait_fates(stored=4, quarantined=2)
    site.check_balance()
