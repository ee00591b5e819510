"""Meters that come in a file: CSV or JSON, a result for each row, hostile files,
ten thousand at once."""

import time

import pytest
from harness import signed_in
from harness.api import operations, send

HEAD = "serial,model,dev_eui,timezone,name,state\n"


@pytest.fixture
def admin(site, demo):
    site.start()
    person = signed_in(site, "anna@example.org")
    person.operation = next(o for o in operations(site.headend)
                            if o.name == "meters_import")
    return person


def sent(admin, raw, query="", **headers):
    reply = send(admin.site.headend, "POST", "/api/v1/meters/import" + query, {
        "Cookie": f"headend_session={admin.cookie}",
        "X-CSRF-Token": admin.csrf, "Content-Type": "text/csv", **headers},
        raw=raw if isinstance(raw, bytes) else raw.encode())
    admin.operation.check(reply)
    return reply


def exported(admin, query="format=csv"):
    reply = send(admin.site.headend, "GET", "/api/v1/meters?" + query,
                 {"Cookie": f"headend_session={admin.cookie}"})
    assert reply.headers["Content-Type"].startswith("text/csv")
    return reply.text


def results(reply):
    return [(r["line"], r["result"], r.get("field"))
            for r in reply.json["results"]]


def test_a_file_is_tried_then_imported_with_a_result_for_each_line(admin):
    file = (HEAD + "1,heo-g4,,,\"Cellar, left\",\n"
            "2,elvaco-cmi4160,94-19-3a-00-00-00-69-fe,Europe/Kyiv,,passive\n"
            "3,no-such,,,,\n\n"
            "4,heo-g4,,Mars/Olympus,,\n"
            "5,heo-g4\n"
            "1,heo-g4,,,,\n"
            "1,heo-g4,0011223344556677,,,\n"
            "6,elvaco-cmi4160,94193A00000069FE,,,\n"
            "7,heo-g4,00,,,\n8,heo-g4,,,,asleep\n")
    dry = sent(admin, file, "?dry_run=true")
    assert dry.json["dry_run"] and exported(admin).count("\n") == 1
    done = sent(admin, file)
    assert results(dry) == results(done) == [
        (2, "added", None), (3, "added", None), (4, "refused", "model"),
        (6, "refused", "timezone"), (7, "refused", None),
        (8, "unchanged", None), (9, "refused", "serial"),
        (10, "refused", "dev_eui"), (11, "refused", "dev_eui"),
        (12, "refused", "state")]
    told = {r["line"]: r.get("detail") for r in done.json["results"]}
    assert told[4] == 'There is no meter model "no-such".'
    assert told[7] == "2 fields, the header has 6"
    assert told[9] == "Line 2 (meter 1) has the same serial and differs."
    assert told[10] == "Line 3 (meter 2) has the same DevEUI and differs."
    again = sent(admin, file)
    assert (again.json["added"], again.json["unchanged"]) == (0, 3)


def test_a_passive_meter_is_shown_when_asked_for(admin):
    sent(admin, HEAD + "1,heo-g4,,,,\n2,heo-g4,,,,passive\n")

    def serials(query=""):
        found = admin.call("GET", "/api/v1/meters" + query)[1]["meters"]
        return [m["serial"] for m in found]

    assert serials() == ["1"] and serials("?passive=true") == ["1", "2"]
    assert serials("?state=passive") == ["2"]


def test_what_is_exported_can_be_imported_again(admin, site):
    """The columns of a collector's own meter list too (features E6 to E8)."""
    file = ("Position;SecondaryAddress;BaudRate;AddressingMode;PrimaryAddress;"
            "EnhancedAddress\n"
            "1;12345678;2400;secondary;;\n2;12345679;300;primary;5;\n"
            "3;1234567;2400;secondary;;\n4;12345670;1200;secondary;;\n"
            "5;12345671;2400;primary;;\n6;12345672;2400;primary;254;\n"
            "7;12345673;2400;tertiary;;\n8;12345674;2400;esecondary;;"
            "12345674AB\n")
    done = sent(admin, file, "?model=mbus-frame")
    assert results(done) == [
        (2, "added", None), (3, "added", None),
        (4, "refused", "secondary_address"), (5, "refused", "baud_rate"),
        (6, "refused", "primary_address"), (7, "refused", "primary_address"),
        (8, "refused", "addressing_mode"), (9, "added", None)]
    assert "251 to 255" in done.json["results"][5]["detail"]
    assert admin.call("GET", "/api/v1/meters?serial=12345679")[1]["meters"][0][
        "mbus"] == {"baud_rate": 300, "addressing_mode": "primary",
                    "primary_address": 5, "secondary_address": "12345679"}
    out = exported(admin)
    assert out.splitlines()[0] == (
        "serial,model,dev_eui,timezone,name,note,verification_due,state,"
        "secondary_address,baud_rate,addressing_mode,primary_address,"
        "enhanced_address")
    assert sent(admin, out).json["unchanged"] == 3
    other = site.tenant("other")
    site.sql("UPDATE membership SET tenant_id = %s RETURNING 1", (other.id,))
    assert admin.call("POST", "/api/v1/session", {"tenant": "other"})[0] == 200
    assert sent(admin, out).json["added"] == 3
    assert exported(admin) == out


@pytest.mark.parametrize("file,says", [
    (b"", "no header"), (b"\n\n", "no header"), (b"serial,modle\n", "modle"),
    (b"serial,serial\n", "twice"), (b"\xff\xfes\0e\0", "byte 0"),
    (b"serial,\xe4\n", "UTF-8"), (b"serial\n" + b"1\n" * 10001, "10000 rows"),
    (b",".join(b"serial" for _ in range(5000)), "32 columns")])
def test_a_file_that_is_none_is_refused_as_a_whole(admin, file, says):
    reply = sent(admin, file)
    assert reply.status in (400, 422) and says in reply.json["detail"]


def test_hostile_rows_are_refused_one_by_one(admin):
    rows = [b"'; DROP TABLE meter; --,heo-g4", b"x" * 100000 + b",heo-g4",
            b"\xff,heo-g4", b'"1,heo-g4', b"2,heo-g4"]
    reply = sent(admin, b"serial,model\n" + b"\n".join(rows[:3] + rows[4:]
                                                       + rows[3:4]))
    assert [r["result"] for r in reply.json["results"]] == [
        "added", "refused", "refused", "added", "refused"]
    hostile = [{"serial": {"a": 1}, "model": "heo-g4"}, [], None, 5,
               {"serial": "3", "model": ["heo-g4"]},
               {"serial": "3", "model": "heo-g4", "tenant_id": 1}]
    status, done = admin.call("POST", "/api/v1/meters/import",
                              {"meters": hostile})
    assert status == 200 and done["refused"] == 6
    assert done["results"][5]["field"] == "tenant_id"


def test_a_file_beyond_the_quota_fills_it(admin, site):
    site.sql("UPDATE tenant SET meter_quota = 2 WHERE name = 'demo' RETURNING 1")
    reply = sent(admin, HEAD + "1,heo-g4,,,,passive\n" + "".join(
        f"{i},heo-g4,,,,\n" for i in range(2, 6)))
    assert [r["result"] for r in reply.json["results"]] == [
        "added", "added", "added", "refused", "refused"]
    meter = reply.json["results"][0]["meter_id"]
    status, why = admin.call("PATCH", f"/api/v1/meters/{meter}",
                             {"state": "in_service"})
    assert (status, why["field"]) == (409, "state")


def test_ten_thousand_meters_at_once_while_others_are_answered(admin, site):
    file = HEAD + "".join(
        f"{i},elvaco-cmi4160,{i:016x},Europe/Berlin,meter {i},\n"
        for i in range(10000))
    began = time.monotonic()
    reply = sent(admin, file, **{"Idempotency-Key": "big"})
    assert reply.status == 200 and reply.json["added"] == 10000, reply.text[:300]
    print(f"\n10 000 meters in {time.monotonic() - began:.2f} s")
    assert sent(admin, file, **{"Idempotency-Key": "big"}).json == reply.json
    assert site.sql("SELECT count(*) FROM audit_entry WHERE action = "
                    "'meter.add'") == [(10000,)]
    site.headend.cli("audit", "verify")
