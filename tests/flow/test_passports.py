"""Passports: what a maker says of one serial number, and whether its meter
keeps it."""

import json
import time

import pytest
from harness import HeoMeter, Uplink, signed_in, wait_until
from harness.api import operations, send

EUI = "94193a00000069fe"
KEY = "00112233445566778899aabbccddeeff"
OTHER = "ffeeddccbbaa99887766554433221100"


@pytest.fixture
def admin(site):
    site.headend.cli("keys", "init")
    site.tenant("demo")
    site.start()
    person = signed_in(site, "anna@example.org")
    person.operations = {o.name: o for o in operations(site.headend)}
    return person


def sent(admin, path, raw=None, body=None, method="POST", **headers):
    return send(admin.site.headend, method, "/api/v1/" + path, {
        "Cookie": f"headend_session={admin.cookie}",
        "X-CSRF-Token": admin.csrf, **headers}, body, raw)


def added(admin, body, path="passports"):
    reply = sent(admin, path, body=body)
    assert reply.status == 201, reply.text
    return reply.json


def keys(admin):
    return {k["key_id"]: k for k in
            admin.call("GET", "/api/v1/meter-keys")[1]["meter_keys"]}


def passport(admin, **more):
    return added(admin, {"model": "elvaco-cmi4160", "serial": "69322582",
                         "dev_eui": "94-19-3a-00-00-00-69-fe",
                         "appkey": KEY, **more})


def test_a_meter_takes_from_its_passport_what_is_left_out(admin, site):
    made = passport(admin, module_model="KARAT-928LW", module_serial="97490021",
                    made_on="2017-12-31", parameters={"dn": "15"})
    assert made["added"] and made["meter_id"] is None
    assert KEY not in json.dumps(made)
    waiting = keys(admin)[made["keys"][0]["key_id"]]
    assert (waiting["passport_id"], waiting["meter_id"]) == (
        made["passport_id"], None)
    by_serial = added(admin, {"serial": "69322582"}, "meters")
    assert (by_serial["model"], by_serial["dev_eui"]) == ("elvaco-cmi4160", EUI)
    assert by_serial["passport_id"] == made["passport_id"]
    assert keys(admin)[waiting["key_id"]]["meter_id"] == by_serial["meter_id"]
    assert not added(admin, {"dev_eui": EUI}, "meters")["added"]
    now = admin.call("GET", f"/api/v1/passports/{made['passport_id']}")[1]
    assert now["meter_id"] == by_serial["meter_id"]
    assert now["module_serial"] == "97490021"
    status, why = admin.call("POST", "/api/v1/meters", {"serial": "4711"})
    assert (status, why["field"]) == (422, "model")
    status, why = admin.call("POST", "/api/v1/meters", {"dev_eui": "0" * 16})
    assert (status, why["field"]) == (422, "serial")
    manual = added(admin, {"serial": "4711", "model": "heo-g4"}, "meters")
    assert manual["added"] and manual["passport_id"] is None


def test_its_key_is_sealed_and_shown_only_as_an_audited_act(admin, site):
    made = passport(admin)
    key_id = made["keys"][0]["key_id"]
    shown = admin.call("POST", f"/api/v1/meter-keys/{key_id}/reveal")
    assert shown == (200, {"key_id": key_id, "key": KEY})
    assert site.sql("SELECT count(*) FROM audit_entry WHERE action = "
                    "'meter_key.reveal'") == [(1,)]
    for table in ("passport", "meter_key", "secret", "audit_entry",
                  "idempotency"):
        assert site.sql(f"SELECT count(*) FROM {table} t WHERE t::text ILIKE "
                        f"'%{KEY}%'") == [(0,)], table
    assert KEY not in site.headend.log()


def test_a_contradiction_is_refused_and_taken_only_as_an_audited_act(admin,
                                                                     site):
    made = passport(admin)
    for body, field in (
            ({"serial": "69322582", "model": "elvaco-cmi4110"}, "model"),
            ({"serial": "69322582", "dev_eui": "00" * 8}, "dev_eui"),
            ({"serial": "1", "model": "elvaco-cmi4160", "dev_eui": EUI},
             "serial")):
        status, why = admin.call("POST", "/api/v1/meters", body)
        assert (status, why["field"]) == (409, field), why
        assert "says otherwise" in why["detail"], why
    assert "dev_eui is 94193a00000069fe, not 0000000000000000" in admin.call(
        "POST", "/api/v1/meters",
        {"serial": "69322582", "dev_eui": "00" * 8})[1]["detail"]
    meter = added(admin, {"serial": "69322582", "dev_eui": "00" * 8,
                          "despite_passport": True}, "meters")
    where = f"/api/v1/meters/{meter['meter_id']}"
    key_id = made["keys"][0]["key_id"]
    assert keys(admin)[key_id]["meter_id"] is None
    seen = admin.call("GET", where + "/conformity")[1]
    assert seen["state"] == "differs" and seen["differences"] == [{
        "parameter": "dev_eui", "passport": EUI, "given": "0" * 16}]
    status, why = admin.call("PATCH", where, {"state": "in_service"})
    assert (status, why["field"]) == (409, "state") and EUI in why["detail"]
    assert sent(admin, where[8:] + "/conformity/accept",
                body={}).json["field"] == "reason"
    taken = sent(admin, where[8:] + "/conformity/accept",
                 body={"reason": "module replaced"})
    admin.operations["conformity_accept"].check(taken)
    assert taken.json["state"] == "accepted"
    assert taken.json["accepted"]["reason"] == "module replaced"
    assert keys(admin)[key_id]["meter_id"] == meter["meter_id"]
    assert admin.call("PATCH", where, {"state": "in_service"})[0] == 200
    assert sent(admin, where[8:] + "/conformity/accept",
                body={"reason": "again"}).status == 409
    entry, = site.sql("SELECT actor, after FROM audit_entry WHERE action = "
                      "'conformity.accept'")
    assert entry[0] == "anna@example.org"
    assert entry[1]["differences"] == seen["differences"]


def test_what_a_meter_reports_is_held_against_its_passport(admin, site):
    added(admin, {"model": "heo-g4", "serial": "24000123", "parameters": {
        "dn": "20", "q3": "2.5", "firmware": "3"}})
    meter = added(admin, {"serial": "24000123"}, "meters")["meter_id"]
    where = f"/api/v1/meters/{meter}/conformity"
    assert admin.call("GET", where)[1]["unreported"] == ["dn", "firmware", "q3"]
    wait_until(lambda: HeoMeter(site.headend.tcp_port, "24000123").hello()["t"]
               == "ack", what="the new meter to be known")
    with HeoMeter(site.headend.tcp_port, "24000123") as line:
        line.hello()
        assert line.ask({"t": "data", "seq": 1, "cols": ["ts", "v_work"],
                         "rows": [["2024-01-11T12:00:00+03:00", "100.5"]],
                         "dn": 15, "q3": "2.5"})["t"] == "ack"
    wait_until(lambda: admin.call("GET", where)[1]["differences"] == [
        {"parameter": "dn", "passport": "20", "reported": "15"}])
    seen = admin.call("GET", where)[1]
    assert (seen["state"], seen["unreported"]) == ("differs", ["firmware"])
    assert admin.call("PATCH", where[:-11], {"state": "in_service"})[0] == 409


def test_a_passport_that_comes_later_finds_its_meter(admin):
    meter = added(admin, {"serial": "69322582", "model": "elvaco-cmi4160"},
                  "meters")["meter_id"]
    made = added(admin, {"model": "elvaco-cmi4160", "serial": "69322582",
                         "encryption_key": KEY})
    assert made["meter_id"] == meter
    assert [k["meter_id"] for k in keys(admin).values()] == [meter]
    assert admin.call("GET", f"/api/v1/meters/{meter}/conformity")[1][
        "state"] == "conforms"


def test_one_who_changes_what_another_has_changed_is_told(admin):
    made = passport(admin)
    assert not passport(admin)["added"]
    where = f"passports/{made['passport_id']}"
    reply = sent(admin, "passports", body={
        "model": "elvaco-cmi4160", "serial": "69322582", "note": "x"})
    assert (reply.status, reply.json["field"]) == (409, "serial")
    one = sent(admin, where, body={"appkey": OTHER, "note": "x"},
               method="PATCH", **{"If-Match": f'"{made["revision"]}"'})
    assert one.status == 200, one.text
    assert one.headers["ETag"] != f'"{made["revision"]}"'
    assert one.json["keys"][0]["key_id"] != made["keys"][0]["key_id"]
    assert sent(admin, where, body={"note": "y"}, method="PATCH",
                **{"If-Match": f'"{made["revision"]}"'}).status == 412
    assert sent(admin, where, body={"dev_eui": None},
                method="PATCH").json["dev_eui"] is None
    assert sent(admin, "passports/999", body={"note": "y"},
                method="PATCH").status == 404
    assert list(keys(admin)) == [one.json["keys"][0]["key_id"]]
    assert sent(admin, where, method="DELETE").status == 204
    assert keys(admin) == {}


FILE = ("Model,Serial,DevEUI,JoinEUI,AppKey,made_on,param.dn\n"
        f"elvaco-cmi4160,1,{EUI},0011223344556677,{KEY},2017-12-31,15\n"
        "elvaco-cmi4160,2,,,,,\n"
        "heo-g9,3,,,,,\n"
        "elvaco-cmi4160,4,,,0011,,\n"
        f"elvaco-cmi4160,5,{EUI},,,,\n"
        "elvaco-cmi4160,6,,,,2017-02-30,\n"
        "elvaco-cmi4160,2,,,,,\n"
        "elvaco-cmi4160,7\n")


def results(reply):
    return [(r["line"], r["result"], r.get("field"))
            for r in reply.json["results"]]


def test_a_makers_file_is_imported_with_a_result_for_each_line(admin):
    def imported(file, query=""):
        reply = sent(admin, "passports/import" + query, raw=file.encode(),
                     **{"Content-Type": "text/csv"})
        assert reply.status == 200, reply.text
        admin.operations["passports_import"].check(reply)
        return reply

    dry = imported(FILE, "?dry_run=true")
    assert admin.call("GET", "/api/v1/passports")[1]["passports"] == []
    done = imported(FILE)
    assert results(dry) == results(done) == [
        (2, "added", None), (3, "added", None), (4, "refused", "model"),
        (5, "refused", "appkey"), (6, "refused", "dev_eui"),
        (7, "refused", "made_on"), (8, "refused", "serial"),
        (9, "refused", None)]
    again = imported(FILE)
    assert (again.json["added"], again.json["unchanged"]) == (0, 2)
    newer = imported(FILE.replace(KEY, OTHER))
    assert (newer.json["changed"], newer.json["unchanged"]) == (1, 1)
    found = admin.call("GET", "/api/v1/passports?search=" + EUI)[1]["passports"]
    assert [p["parameters"] for p in found] == [{"dn": "15"}]
    rows = [{"model": "heo-g4", "serial": "9", "tenant_id": 1}, 5,
            {"model": "heo-g4", "serial": {"a": 1}},
            {"model": "heo-g4", "serial": "9", "parameters": {"a": []}},
            {"model": "heo-g4", "serial": "9", "appkey": KEY}]
    reply = sent(admin, "passports/import", body={"passports": rows})
    assert [(r["result"], r.get("field")) for r in reply.json["results"]] == [
        ("refused", "tenant_id"), ("refused", None), ("refused", "serial"),
        ("refused", "parameters"), ("added", None)]


def test_the_command_line_takes_the_same_file(admin, site):
    done = site.headend.run("passport", "import", "--tenant", "demo", "-",
                            stdin=FILE)
    assert done.returncode == 1 and "2 passports added" in done.stdout
    assert "line 4: refused: model: There is no meter model" in done.stdout
    assert "0 passports would be added, 1 changed, 1 were there" in (
        site.headend.run("passport", "import", "--tenant", "demo", "--dry-run",
                         "-", stdin=FILE.replace(KEY, OTHER)).stdout)
    listed = site.headend.cli_json("passport", "list", "--tenant", "demo")
    assert [p["serial"] for p in listed["passports"]] == ["1", "2"]
    site.headend.cli("meter", "add", "--tenant", "demo", "--serial", "1")
    shown = json.loads(site.headend.cli("passport", "show", "--tenant", "demo",
                                        "1"))
    assert shown["dev_eui"] == EUI and shown["meter_id"]
    assert shown["conformity"]["state"] == "conforms"
    assert KEY not in json.dumps(shown)
    key, = keys(admin).values()
    assert admin.call("POST", f"/api/v1/meter-keys/{key['key_id']}/reveal")[1][
        "key"] == KEY


def test_what_waited_for_a_key_is_decoded_when_the_meter_is_registered(
        site, broker):
    """An encrypted telegram, its meter's passport, then the registration."""
    site.headend.cli("keys", "init")
    demo = site.tenant("demo")
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    admin = signed_in(site, "anna@example.org")
    added(admin, {"model": "elvaco-cmi4160", "serial": "69322582",
                  "dev_eui": EUI, "appkey": KEY})
    broker.publish(*Uplink(EUI, counter=1).chirpstack4())
    demo.wait_fates(quarantined=1)
    added(admin, {"serial": "69322582"}, "meters")
    wait_until(lambda: demo.fates().get("stored") == 1)


def test_five_thousand_passports_at_once(admin, site):
    file = "model,serial,dev_eui,appkey\n" + "".join(
        f"elvaco-cmi4160,{i},{i:016x},{i:032x}\n" for i in range(5000))
    began = time.monotonic()
    reply = sent(admin, "passports/import", raw=file.encode(),
                 **{"Content-Type": "text/csv"})
    assert reply.status == 200 and reply.json["added"] == 5000, reply.text[:200]
    print(f"\n5 000 passports in {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    meters = "serial\n" + "".join(f"{i}\n" for i in range(5000))
    done = sent(admin, "meters/import", raw=meters.encode(),
                **{"Content-Type": "text/csv"}).json
    assert done["added"] == 5000
    print(f"5 000 meters by their passports in {time.monotonic() - began:.2f} s")
    assert site.sql("SELECT count(*) FROM meter_key WHERE meter_id IS NOT NULL"
                    ) == [(5000,)]
    print({k: v for k, v in site.headend.metrics().items() if "loop" in k})
