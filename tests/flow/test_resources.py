"""What operators keep: meters, models, places, groups; and sums of registers
in local time."""

from decimal import Decimal

import pytest
from harness import HeoMeter, signed_in, wait_until
from harness.api import send

SERIAL = "24000123"


@pytest.fixture
def admin(site, demo):
    site.start()
    person = signed_in(site, "anna@example.org")
    person.tenant = demo
    return person


def added(admin, path, body):
    status, found = admin.call("POST", path, body)
    assert status == 201, found
    return found


def test_a_meter_is_registered_found_changed_and_seen_by_the_door(site, admin):
    body = {"serial": SERIAL, "model": "heo-g4", "name": "Cellar, left"}
    meter = added(admin, "/api/v1/meters", body)
    assert meter["added"] and meter["timezone"] == "Europe/Berlin"
    assert not added(admin, "/api/v1/meters", body)["added"]
    status, why = admin.call("POST", "/api/v1/meters", {
        **body, "dev_eui": "0011223344556677"})
    assert (status, why["field"]) == (409, "serial")
    wait_until(lambda: HeoMeter(site.headend.tcp_port, SERIAL).hello()["t"]
               == "ack", what="the new meter to be known")
    where = f"/api/v1/meters/{meter['meter_id']}"
    status, changed = admin.call("PATCH", where, {
        "state": "in_service", "verification_due": "2032-12-11",
        "timezone": "Asia/Kolkata", "revision": meter["revision"]})
    assert status == 200 and changed["verification_due"] == "2032-12-11"
    assert admin.call("PATCH", where, {
        "name": "x", "revision": meter["revision"]})[0] == 412
    for query, n in (("search=cellar", 1), ("search=nowhere", 0),
                     ("state=in_service", 1), ("state=removed", 0),
                     ("medium=gas", 1), ("model=heo-g6", 0)):
        found = admin.call("GET", "/api/v1/meters?" + query)[1]["meters"]
        assert len(found) == n, query
    status, why = admin.call("PATCH", where, {"timezone": "Mars/Olympus"})
    assert (status, why["field"]) == (422, "timezone")
    assert admin.call("PATCH", where, {"verification_due": "2032-13-41"}
                      )[0] == 422


def test_meters_are_sorted_and_paged_in_every_order(site, admin):
    names = ["b", "a", "", "a", "c", "b", "ä", "a"]
    for i, name in enumerate(names):
        added(admin, "/api/v1/meters", {"serial": str(900 - i),
                                        "model": "heo-g4", "name": name})
    whole = admin.call("GET", "/api/v1/meters")[1]["meters"]
    ids = [m["meter_id"] for m in whole]
    assert ids == sorted(ids)
    by_serial = admin.call("GET", "/api/v1/meters?sort=serial")[1]["meters"]
    assert by_serial == whole[::-1]
    for by in ("meter_id", "serial", "name", "created_at"):
        orders = []
        for sort in (by, "-" + by):
            seen, after = [], ""
            while after is not None:
                page = admin.call("GET", f"/api/v1/meters?limit=3&sort={sort}"
                                  + (f"&after={after}" if after else ""))[1]
                seen += [m["meter_id"] for m in page["meters"]]
                after = page["next"]
            orders.append(seen)
        assert sorted(orders[0]) == ids and orders[1] == orders[0][::-1], by
    assert admin.call("GET", "/api/v1/meters?sort=note")[0] == 400


def test_the_second_of_two_who_edit_one_thing_is_told(site, admin):
    meter = added(admin, "/api/v1/meters", {"serial": SERIAL,
                                            "model": "heo-g4"})
    point = added(admin, "/api/v1/metering-points", {"moid": "M1"})
    model = admin.call("GET", "/api/v1/models")[1]["models"][0]["model_id"]

    def ask(method, path, body=None, **headers):
        return send(site.headend, method, "/api/v1/" + path, {
            "Cookie": f"headend_session={admin.cookie}",
            "X-CSRF-Token": admin.csrf, **headers}, body)

    for path, change in (
            (f"meters/{meter['meter_id']}", {"name": "x"}),
            (f"metering-points/{point['metering_point_id']}", {"note": "x"}),
            (f"models/{model}", {"maker": "x"}),
            ("tenant", {"locale": "de"})):
        seen = ask("GET", path)
        tag = {"If-Match": seen.headers["ETag"]}
        assert tag["If-Match"] == f'"{seen.json["revision"]}"', path
        first = ask("PATCH", path, change, **tag)
        assert first.status == 200, first.text
        assert first.headers["ETag"] == f'"{first.json["revision"]}"'
        assert first.headers["ETag"] != tag["If-Match"]
        assert ask("PATCH", path, change, **tag).status == 412, path
        assert ask("PATCH", path, {}, **tag).status == 412, path
        for wrong in ('W/"1"', '"1", "2"', "1", '""', '"' + "9" * 30 + '"'):
            told = ask("PATCH", path, change, **{"If-Match": wrong})
            assert (told.status, told.json["field"]) == (412, "If-Match")
        assert ask("PATCH", path, {**change, "revision": 1},
                   **{"If-Match": '"2"'}).status == 412
        assert ask("PATCH", path, change, **{"If-Match": "*"}).status == 200
    gone = f"metering-points/{point['metering_point_id']}"
    assert ask("DELETE", gone, **{"If-Match": '"1"'}).status == 412
    assert ask("DELETE", gone).status == 204


def test_many_meters_with_a_result_for_each_row(site, admin):
    rows = [{"serial": "1", "model": "heo-g4"},
            {"serial": "2", "model": "no such"},
            {"serial": "", "model": "heo-g4"},
            {"serial": "1", "model": "heo-g4"}, 5]
    status, dry = admin.call("POST", "/api/v1/meters/import",
                             {"meters": rows, "dry_run": True})
    assert status == 200
    assert (dry["added"], dry["unchanged"], dry["refused"]) == (1, 1, 3)
    assert admin.call("GET", "/api/v1/meters")[1]["meters"] == []
    done = admin.call("POST", "/api/v1/meters/import", {"meters": rows})[1]
    assert [r["result"] for r in done["results"]] == [
        "added", "refused", "refused", "unchanged", "refused"]
    assert done["results"][1]["field"] == "model"
    assert len(admin.call("GET", "/api/v1/meters")[1]["meters"]) == 1


def test_a_quota_of_meters_holds(site, admin):
    site.sql("UPDATE tenant SET meter_quota = 1 WHERE name = 'demo' RETURNING 1")
    added(admin, "/api/v1/meters", {"serial": "1", "model": "heo-g4"})
    status, why = admin.call("POST", "/api/v1/meters",
                             {"serial": "2", "model": "heo-g4"})
    assert status == 409 and "1 meters" in why["detail"]


def test_a_point_has_one_meter_at_a_time(site, admin):
    one, two = (added(admin, "/api/v1/meters", {
        "serial": s, "model": "heo-g4"})["meter_id"] for s in ("1", "2"))
    point = added(admin, "/api/v1/metering-points",
                  {"moid": "DE001", "address": "Hauptstr. 1"})
    pid = point["metering_point_id"]
    stay = added(admin, "/api/v1/installations", {
        "metering_point_id": pid, "meter_id": one,
        "from": "2026-01-01T00:00:00Z"})
    status, why = admin.call("POST", "/api/v1/installations", {
        "metering_point_id": pid, "meter_id": two})
    assert (status, why["field"]) == (409, "from")
    assert admin.call("PATCH",
                      f"/api/v1/installations/{stay['installation_id']}",
                      {"to": "2026-02-01T00:00:00Z"})[0] == 200
    added(admin, "/api/v1/installations", {
        "metering_point_id": pid, "meter_id": two,
        "from": "2026-02-01T00:00:00Z"})
    now = admin.call("GET", f"/api/v1/metering-points/{pid}")[1]
    assert now["meter_id"] == two
    meter = admin.call("GET", f"/api/v1/meters/{two}")[1]
    assert meter["metering_point"]["moid"] == "DE001"
    assert admin.call("DELETE", f"/api/v1/metering-points/{pid}")[0] == 409


def test_groups_gather_meters(site, admin):
    one, two = (added(admin, "/api/v1/meters", {
        "serial": s, "model": "heo-g4"})["meter_id"] for s in ("1", "2"))
    group = added(admin, "/api/v1/groups", {"name": "north",
                                            "meter_ids": [one]})
    assert group["meters"] == 1
    where = f"/api/v1/groups/{group['group_id']}"
    assert admin.call("PATCH", where, {"meter_ids": [one, two]})[1][
        "meters"] == 2
    status, why = admin.call("PATCH", where, {"meter_ids": [999999]})
    assert (status, why["field"]) == (422, "meter_ids")
    found = admin.call("GET", f"/api/v1/meters?group_id={group['group_id']}")
    assert len(found[1]["meters"]) == 2
    assert admin.call("DELETE", where)[0] == 204


def send_hours(site, rows):
    """[(local time with offset, sum of standard volume)]"""
    with HeoMeter(site.headend.tcp_port, SERIAL) as meter:
        assert meter.hello()["t"] == "ack"
        assert meter.ask({"t": "data", "seq": 1, "cols": ["ts", "sum_v_std"],
                          "rows": [[at, value] for at, value in rows]}
                         )["t"] == "ack"


def test_sums_follow_local_days_and_show_gaps(site, admin):
    """Berlin's day of 29 March 2026 has 23 hours; the 31st says nothing."""
    meter = added(admin, "/api/v1/meters",
                  {"serial": SERIAL, "model": "heo-g4"})["meter_id"]
    wait_until(lambda: HeoMeter(site.headend.tcp_port, SERIAL).hello()["t"]
               == "ack", what="the new meter to be known")
    send_hours(site, [("2026-03-28T00:00:00+01:00", "100"),
                      ("2026-03-29T00:00:00+01:00", "124"),
                      ("2026-03-29T12:00:00+02:00", "130"),
                      ("2026-03-30T00:00:00+02:00", "147"),
                      ("2026-03-31T00:00:00+02:00", "160"),
                      ("2026-04-02T00:00:00+02:00", "190")])
    register = wait_until(lambda: [r for r in admin.call(
        "GET", f"/api/v1/meters/{meter}/registers")[1]["registers"]
        if r["unit"] == "m3"])[0]
    assert Decimal(register["value"]) == 190
    status, found = admin.call(
        "GET", f"/api/v1/meters/{meter}/sums?by=day&register="
        f"{register['register']}&from=2026-03-28T00:00:00%2B01:00"
        "&to=2026-04-02T00:00:00%2B02:00")
    assert status == 200, found
    assert found["timezone"] == "Europe/Berlin"
    sums = [(s["from"][:16], s["value"] and Decimal(s["value"]), s["gap"],
             s["spans_gap"]) for s in found["sums"]]
    assert sums == [
        ("2026-03-27T23:00", Decimal(24), False, False),
        ("2026-03-28T23:00", Decimal(23), False, False),
        ("2026-03-29T22:00", Decimal(13), False, False),
        ("2026-03-30T22:00", None, True, False),
        ("2026-03-31T22:00", Decimal(30), False, True)]
    assert admin.call("GET", f"/api/v1/meters/{meter}/sums")[0] == 400
    assert admin.call("GET", f"/api/v1/meters/{meter}/sums?register=x&by=hour"
                      "&from=1990-01-01T00:00:00Z&to=2026-01-01T00:00:00Z"
                      )[0] == 400


def test_events_are_paged_newest_first(site, demo):
    meter = demo.meter("1", "heo-g4")
    site.start()
    site.sql("SELECT ensure_partition('event', 'month', '2026-01-15')")
    site.sql("INSERT INTO event (time, received_at, tenant_id, meter_id, "
             "severity, state, code) SELECT timestamptz '2026-01-15' + n * "
             "interval '1 minute', now(), %s, %s, n %% 4, 0, 'test.' || c "
             "FROM generate_series(1, 40) n, unnest(ARRAY['a', 'b']) c "
             "RETURNING 1", (demo.id, meter))
    seen, after = [], None
    while True:
        page = demo.get("/api/v1/events", limit=7, code="test.a",
                        **({"after": after} if after else {})).json
        seen += page["events"]
        after = page["next"]
        if not after:
            break
    assert len(seen) == 40
    assert [e["time"] for e in seen] == sorted(
        (e["time"] for e in seen), reverse=True)
    worst = demo.get("/api/v1/events", severity="critical").json["events"]
    assert len(worst) == 20 and {e["severity"] for e in worst} == {"critical"}


def test_a_suspended_tenant_is_kept_out_and_still_collected(site, admin):
    demo = admin.tenant
    root = signed_in(site, "root@example.org", "platform", "platform operator")
    listed = root.call("GET", "/api/v1/tenants")[1]["tenants"]
    assert {t["name"] for t in listed} == {"platform", "demo"}
    where = f"/api/v1/tenants/{demo.id}"
    assert root.call("PATCH", where, {"suspended": True})[1]["suspended_at"]
    wait_until(lambda: demo.get("/api/v1/meters").status == 401)
    wait_until(lambda: admin.call("GET", "/api/v1/meters")[0] == 403)
    assert root.call("PATCH", where, {"suspended": False})[1][
        "suspended_at"] is None
    wait_until(lambda: demo.get("/api/v1/meters").status == 200)
    assert root.call("POST", "/api/v1/tenants", {"name": "third"})[0] == 201
    assert root.call("POST", "/api/v1/tenants", {"name": "third"})[0] == 409
    assert admin.call("GET", "/api/v1/tenants")[0] == 403
