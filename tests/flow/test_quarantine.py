"""Quarantine is worked, not only kept: seen by reason, looked at byte by byte,
decoded by itself when a meter is registered, and traced both ways."""

import json
import re
from datetime import datetime

import pytest
from harness import GOLDEN, Uplink, wait_until
from harness.api import operations, send

EUI = "94193a00000069fe"
SERIAL = "69322582"
GAS = "24000123"


@pytest.fixture
def heat(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    return demo


def uplinks(n, eui=EUI):
    """A minute apart, so that each brings readings of its own."""
    return [Uplink(eui, counter=i, time=f"2026-01-15T{12 + i // 60:02d}:"
                   f"{i % 60:02d}:00+00:00").chirpstack4() for i in range(n)]


def quarantined(tenant, **query):
    reply = tenant.get("/api/v1/quarantine", **query)
    assert reply.status == 200, reply.text
    return reply.json


def replayed(site):
    """headend_frames_replayed_total by (tenant, fate)."""
    found = re.findall(r'headend_frames_replayed_total\{tenant="(\d+)",'
                       r'fate="(\w+)"\} (\d+)',
                       site.headend.get("/metrics").text)
    return {(int(t), fate): int(n) for t, fate, n in found}


# -- by itself ---------------------------------------------------------------


def test_registering_a_meter_decodes_what_it_sent_before(site, broker, heat):
    broker.publish_all(uplinks(30) + uplinks(2, "ffffffffffffff01"))
    heat.wait_fates(quarantined=32)
    meter = heat.meter(SERIAL, dev_eui=EUI)
    heat.wait_fates(stored=30, quarantined=2)
    assert len(heat.readings(meter)) == 30 * 8
    assert site.sql("SELECT detail FROM quarantine GROUP BY 1") == [
        ("DevEUI ffffffffffffff01",)]
    wait_until(lambda: replayed(site) == {(heat.id, "stored"): 30})
    assert site.headend.metric("headend_ledger_unaccounted") == 0
    site.check_balance()


def test_frames_that_arrive_around_the_registration_are_all_decoded(
        site, broker, heat):
    """Whatever batch is on its way while the meter comes into the directory."""
    messages = uplinks(600)
    for i in range(0, 600, 20):
        broker.publish_all(messages[i:i + 20])
        if i == 300:
            meter = heat.meter(SERIAL, dev_eui=EUI)
    heat.wait_fates(60, stored=600)
    assert len(heat.readings(meter)) == 600 * 8
    assert quarantined(heat)["quarantine"] == []
    site.check_balance()


def test_meter_registered_while_no_server_runs_is_met_at_the_start(
        site, broker, heat):
    broker.publish_all(uplinks(3))
    heat.wait_fates(quarantined=3)
    site.headend.stop()
    heat.meter(SERIAL, dev_eui=EUI)
    site.start()
    heat.wait_fates(stored=3)
    site.check_balance()


def test_stranger_on_the_shared_listener_moves_to_its_tenant(site, demo):
    other = site.tenant("other")
    site.start()
    for _ in range(2):
        with site.gas_meter(GAS) as meter:
            assert meter.hello() == {"t": "nak", "code": "unknown_device"}
    wait_until(lambda: sum(site.fates(0).values()) == 2)
    gas = other.meter(GAS, "heo-g4")
    wait_until(lambda: other.fates().get("stored") == 1)
    wait_until(lambda: not site.fates(0).get("quarantined"))
    assert other.readings(gas) and demo.fates() == {}
    site.check_balance()


def test_another_tenants_meter_does_not_take_the_frames(site, broker, heat):
    other = site.tenant("other")
    broker.publish_all(uplinks(2))
    heat.wait_fates(quarantined=2)
    other.meter(SERIAL, dev_eui=EUI)
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    broker.publish(*Uplink("ffffffffffffff01").chirpstack4())
    heat.wait_fates(quarantined=3)
    assert other.fates() == {} and replayed(site) == {}


def test_imported_meters_are_met_however_many(site, broker, heat):
    euis = [f"94193a00000{i:05x}" for i in range(450)]
    broker.publish_all(Uplink(e).chirpstack4() for e in euis)
    heat.wait_fates(30, quarantined=450)
    csv = "serial,model,dev_eui\n" + "".join(
        f"{i},elvaco-cmi4160,{e}\n" for i, e in enumerate(euis))
    site.headend.cli("meter", "import", "--tenant", "demo", "-", stdin=csv)
    heat.wait_fates(60, stored=450)
    ids = [i for i, in site.sql("SELECT frame_id FROM capture ORDER BY "
                                "codec_version_id, frame_id")]
    assert len(set(ids)) == 450
    site.check_balance()


def test_odd_serial_of_a_stranger_is_met_too(site, demo):
    """What a serial may contain must not break the list of names."""
    serial = 'a"b\\c,{d} \'e'
    site.start()
    with site.gas_meter(serial) as meter:
        assert meter.hello() == {"t": "nak", "code": "unknown_device"}
    wait_until(lambda: site.fates(0) == {"quarantined": 1})
    demo.meter(serial, "heo-g4")
    demo.wait_fates(stored=1)


def test_database_that_goes_away_delays_the_replay_only(site, broker, heat,
                                                        cluster):
    broker.publish_all(uplinks(5))
    heat.wait_fates(quarantined=5)
    heat.meter(SERIAL, dev_eui=EUI)
    cluster.stop()
    cluster.start()
    heat.wait_fates(40, stored=5)
    site.check_balance()


# -- seen --------------------------------------------------------------------


@pytest.fixture
def stuck(site, broker, heat):
    """Three strangers' frames and two that were cut."""
    heat.meter(SERIAL, dev_eui=EUI)
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    broker.publish_all(uplinks(3, "ffffffffffffff01"))
    for i in (1, 2):
        broker.publish(*Uplink(EUI, counter=i, payload=GOLDEN[:12])
                       .chirpstack4())
    heat.wait_fates(quarantined=5)
    return heat


REASONS = [{"reason": "unknown_meter", "frames": 3},
           {"reason": "decode_failed", "frames": 2}]


def test_list_says_how_many_by_reason_and_newest_first(site, stuck):
    seen = quarantined(stuck)
    assert seen["reasons"] == REASONS and seen["next"] is None
    rows = seen["quarantine"]
    assert [r["reason"] for r in rows] == ["decode_failed"] * 2 + [
        "unknown_meter"] * 3
    assert rows[0]["serial"] == SERIAL and rows[4]["serial"] is None
    assert rows[4]["detail"] == "DevEUI ffffffffffffff01"
    times = [datetime.fromisoformat(r["received_at"]) for r in rows]
    assert times == sorted(times, reverse=True)
    only = quarantined(stuck, reason="unknown_meter")["quarantine"]
    assert only == rows[2:]


def test_list_is_narrowed_by_time_meter_device_codec_and_way(site, stuck):
    whole = quarantined(stuck)["quarantine"]
    meter = whole[0]["meter_id"]
    integration = site.sql("SELECT integration_id FROM integration")[0][0]
    middle = whole[2]["received_at"]
    for query, at in (
            ({"meter_id": meter}, [0, 1]), ({"serial": SERIAL}, [0, 1]),
            ({"device": "FF-FF-FF-FF-FF-FF-FF-01"}, [2, 3, 4]),
            ({"device": EUI}, [0, 1]), ({"codec": "elvaco-cmi41"}, [0, 1]),
            ({"source": "chirpstack"}, [0, 1, 2, 3, 4]), ({"source": "tts"}, []),
            ({"integration_id": integration}, [0, 1, 2, 3, 4]),
            ({"integration_id": integration + 1}, []),
            ({"from": middle}, [0, 1, 2]), ({"to": middle}, [3, 4]),
            ({"from": middle, "device": EUI}, [0, 1]),
            ({"reason": "unknown_meter", "meter_id": meter}, [])):
        seen = quarantined(stuck, **query)
        assert seen["quarantine"] == [whole[i] for i in at], query
        if "reason" not in query:
            assert sum(r["frames"] for r in seen["reasons"]) == len(at), query
    both = quarantined(stuck, reason="decode_failed", source="chirpstack")
    assert both["reasons"] == REASONS and both["quarantine"] == whole[:2]
    for wrong in ({"source": "x"}, {"from": "y"}, {"meter_id": "z"}):
        assert stuck.get("/api/v1/quarantine", **wrong).status == 400


def test_list_pages_miss_nothing(stuck):
    whole = quarantined(stuck)["quarantine"]
    seen, after = [], None
    while True:
        page = quarantined(stuck, limit=2, **({"after": after} if after
                                              else {}))
        seen += page["quarantine"]
        after = page["next"]
        if not after:
            break
    assert seen == whole


def test_one_frame_shows_how_far_the_codec_got(site, stuck):
    frame = quarantined(stuck, reason="decode_failed")["quarantine"][0]
    one = stuck.get(f"/api/v1/quarantine/{frame['frame_id']}").json
    assert one["payload"] == GOLDEN[:12].hex()
    assert one["codec"] == "elvaco-cmi41" and one["device"] == EUI
    assert "106895" in one["decoded"]
    assert one["error"] and 0 < one["error_offset"] <= 12
    stranger = quarantined(stuck, reason="unknown_meter")["quarantine"][0]
    one = stuck.get(f"/api/v1/quarantine/{stranger['frame_id']}").json
    assert one["payload"] == GOLDEN.hex() and one["codec"] is None
    assert one["device"] == "ffffffffffffff01" and one["error"] is None


def test_the_api_decodes_again_after_a_dry_run(site, broker, heat):
    """The model named a codec that was not the meter's."""
    def ask(method, path, body, tenant=heat):
        return send(site.headend, method, "/api/v1/" + path,
                    {"Authorization": f"Bearer {tenant.token}"}, body)

    busy = []  # one replay at a time: others are told to come again

    def replay(tenant=heat, **body):
        replies = []

        def answered():
            replies[:] = [ask("POST", "quarantine/replay", body, tenant)]
            if replies[0].status == 503:
                busy.append(body)
            return replies[0].status != 503
        wait_until(answered)
        operation.check(replies[0])
        return replies[0]

    operation = next(o for o in operations(site.headend)
                     if o.name == "quarantine_replay")
    model = ask("POST", "models", {"name": "new", "codec": "vega-si11"}).json
    heat.meter(SERIAL, model="new", dev_eui=EUI)
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    broker.publish_all(uplinks(3))
    heat.wait_fates(quarantined=3)
    frame = quarantined(heat)["quarantine"][0]["frame_id"]
    assert replay(all=True).json["quarantined"] == 3
    assert replay().json["field"] == "all"
    assert replay(frame_id="x", all=True).json["field"] == "frame_id"
    assert ask("PATCH", f"models/{model['model_id']}",
               {"codec": "elvaco-cmi41"}).status == 200
    wait_until(lambda: replay(all=True, dry_run=True).json["stored"] == 3)
    dry = replay(serial=SERIAL, dry_run=True).json
    assert (dry["frames"], dry["next"]) == (3, None) and heat.readings() == {}
    assert dry["changes"][0] == {
        "frame_id": dry["changes"][0]["frame_id"], "was": "decode_failed",
        "fate": "stored", "reason": None, "readings": 8}
    assert replay(frame_id=frame).json["stored"] == 1
    assert heat.fates() == {"stored": 1, "quarantined": 2}
    done = replay(codec="elvaco-cmi41").json
    assert (done["frames"], done["stored"], done["readings"]) == (2, 2, 16)
    assert quarantined(heat)["quarantine"] == []
    assert site.sql("SELECT count(*) FROM audit_entry WHERE action = "
                    "'quarantine.replay'") == [
        (3 + len([b for b in busy if not b.get("dry_run")]),)]
    assert replay(site.tenant("other"), all=True).json["frames"] == 0
    site.check_balance()


def test_another_tenants_quarantine_does_not_exist(site, stuck):
    other = site.tenant("other")
    frame = quarantined(stuck)["quarantine"][0]["frame_id"]
    assert quarantined(other) == {"reasons": [], "quarantine": [],
                                  "next": None}
    assert other.get(f"/api/v1/quarantine/{frame}").status == 404
    assert other.get("/api/v1/ledger", by="total").json["ledger"][0][
        "quarantined"] == 0


def test_command_line_lists_and_shows(site, stuck):
    seen = site.headend.cli_json("quarantine", "list", "--tenant", "demo")
    assert [(r["reason"], int(r["frames"])) for r in seen["reasons"]] == [
        (r["reason"], r["frames"]) for r in REASONS]
    assert len(seen["quarantine"]) == 5
    few = site.headend.cli_json("quarantine", "list", "--tenant", "demo",
                                "--reason", "decode_failed", "--limit", "1")
    assert len(few["quarantine"]) == 1
    assert "unknown_meter" in site.headend.cli("quarantine", "list",
                                               "--tenant", "demo")
    text = site.headend.cli("quarantine", "show",
                            few["quarantine"][0]["frame_id"])
    for words in ("decode_failed", "106895", "stopped        at byte",
                  "000000", "1e", EUI, "<-"):
        assert words in text
    done = site.headend.run("quarantine", "show", "12345")
    assert done.returncode == 1 and "not in quarantine" in done.stderr


def test_damaged_and_unreadable_records_can_be_shown(site, demo):
    site.start()
    site.sql("INSERT INTO quarantine (tenant_id, frame_id, received_at, "
             "reason, record) VALUES (%s, 7, now(), 'journal_damaged', "
             "'\\xdeadbeef')", (demo.id,))
    assert "de ad be ef" in site.headend.cli("quarantine", "show", "7")
    one = demo.get("/api/v1/quarantine/7").json
    assert one["reason"] == "journal_damaged" and one["codec"] is None


def test_dry_run_says_what_would_change(site, broker, stuck):
    site.headend.stop()
    stuck.meter("7", dev_eui="ffffffffffffff01")
    said = site.headend.cli("replay", "--tenant", "demo", "--all", "--dry-run")
    assert len(re.findall(r"^\d+: unknown_meter -> stored, 8 readings$", said,
                          re.M)) == 3
    assert len(re.findall(r"^\d+: decode_failed -> quarantined "
                          r"\(decode_failed\)$", said, re.M)) == 2
    assert "5 frames would become: 3 stored (24 readings)" in said
    assert stuck.fates() == {"quarantined": 5}


def test_filters_choose_the_same_frames_to_list_and_to_replay(site, stuck):
    gas = stuck.meter(GAS, "heo-g4")
    site.sql("INSERT INTO quarantine (tenant_id, frame_id, received_at, "
             "meter_id, reason, record) VALUES (%s, 7, '2020-01-01', %s, "
             "'decode_failed', '\\x00')", (stuck.id, gas))
    for chosen, n in ((["--serial", SERIAL], 2), (["--serial", GAS], 1),
                      (["--codec", "elvaco-cmi41"], 2),
                      (["--codec", "heo-json", "--reason", "no_such"], 0),
                      (["--from", "2020-01-02"], 5),
                      (["--to", "2020-01-02"], 1),
                      (["--reason", "decode_failed", "--to", "infinity"], 3)):
        listed = site.headend.cli_json("quarantine", "list", "--tenant",
                                       "demo", *chosen)["quarantine"]
        said = site.headend.cli("replay", "--tenant", "demo", "--dry-run",
                                *chosen)
        assert len(listed) == n and f"{n} frames would become" in said, chosen
    done = site.headend.run("replay", "--tenant", "demo")
    assert done.returncode == 1 and "--serial" in done.stderr
    done = site.headend.run("replay", "--tenant", "demo", "--from", "soon")
    assert done.returncode == 1 and "soon" in done.stderr


# -- traced ------------------------------------------------------------------


def test_trace_from_a_reading_finds_its_frames_and_evidence(site, demo):
    gas = demo.meter(GAS, "heo-g4", zone="Europe/Moscow")
    site.start()
    with site.gas_meter(GAS) as meter:
        meter.hello()
        for seq, value in ((1, "4706.0000"), (2, "4710.0000")):
            meter.ask({"t": "data", "seq": seq, "cols": ["ts", "v_work"],
                       "clk": "2024-01-11T12:00:07+03:00", "rows":
                       [["2024-01-11T12:00:00+03:00", value]]})
    demo.wait_fates(stored=3)
    what = ("--reading", gas, "7-0:3.0.0", "2024-01-11T09:00:00Z")
    found = json.loads(site.headend.cli("trace", *what, "--json"))
    assert [r["value"] for r in found["reading"]] == ["4710.0000",
                                                      "4706.0000"]
    assert found["reading"][0]["codec"] == "heo-json"
    assert [f["frame_id"] for f in found["frames"]] == [
        r["frame_id"] for r in found["reading"]]
    assert all(f["fate"] == "stored" for f in found["frames"])
    text = site.headend.cli("trace", *what)
    assert "4706.0000" in text and "codec_version" in text
    hello = site.sql("SELECT frame_id FROM clock_sample")[0][0]
    assert site.headend.cli_json("trace", hello)["clock"][0]["offset_s"]
    done = site.headend.run("trace", "--reading", gas, "7-0:3.0.0",
                            "2020-01-01T00:00:00Z")
    assert done.returncode == 1 and "has no reading" in done.stderr
