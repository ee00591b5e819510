"""Reports: what billing pulls misses nothing and repeats nothing, whoever
writes, however late, whatever dies meanwhile."""

import csv
import io
import json
import random
import threading
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest
from harness import Headend, HeoMeter, signed_in, wait_until
from harness.api import send

GAS = "7-0:3.0.0"


class Billing:
    """A tenant's billing system, with its API key."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.headend = tenant.site.headend

    def call(self, method, path, body=None, **headers):
        return send(self.headend, method, "/api/v1" + path, {
            "Authorization": f"Bearer {self.tenant.token}", **headers}, body)

    def report(self, name="billing", holds="readings", **more):
        if holds == "readings":  # without what a meter says in its hello
            more.setdefault("registers", [GAS])
        made = self.call("POST", "/reports",
                         {"name": name, "holds": holds, **more})
        assert made.status == 201, made.text
        return made.json["report_id"]

    def runs(self, report):
        return self.call("GET", f"/reports/{report}/runs").json["runs"]

    def ended(self, run, timeout=30):
        def over():
            told = self.call("GET", f"/report-runs/{run}").json
            return told["state"] in ("done", "failed") and told
        return wait_until(over, timeout, f"run {run} to end")

    def ask(self, report, **body):
        made = self.call("POST", f"/reports/{report}/runs", body)
        assert made.status == 202, made.text
        return made.json["run_id"]

    def run(self, report, **body):
        told = self.ended(self.ask(report, **body))
        assert told["state"] == "done", told
        return told

    def content(self, run):
        got = self.call("GET", f"/report-runs/{run['run_id']}/content")
        assert got.status == 200, got.text
        assert len(got.body) == run["bytes"]
        return got.body.decode()

    def rows(self, run, **how):
        found = list(csv.DictReader(io.StringIO(self.content(run)), **how))
        assert len(found) == run["rows"]
        return found

    def values(self, run):
        return [(r["time"], r["register"], float(r["value"]))
                for r in self.rows(run)]


@pytest.fixture
def billing(site, demo):
    demo.meter("24000001", "heo-g4")
    site.start()
    return Billing(demo)


def tell(site, serial, rows, seq=1, cols=("ts", "v_work")):
    with HeoMeter(site.headend.tcp_port, serial) as meter:
        assert meter.hello()["t"] == "ack"
        assert meter.ask({"t": "data", "seq": seq, "cols": list(cols),
                          "rows": rows})["t"] == "ack"
    wait_until(site.drained)


def due(site, report, ago):
    """As if the schedule's next tick had been so long ago."""
    site.sql("UPDATE report_state SET due_at = date_trunc('minute', now()) - "
             "%s::interval WHERE report_id = %s RETURNING 1", (ago, report))


# ---- the schedule ----

def test_a_tick_makes_one_run_and_the_next_one_is_found(site, billing):
    report = billing.report(schedule="*/5 * * * *")
    told = wait_until(lambda: billing.call(
        "GET", f"/reports/{report}").json["next_at"])
    assert datetime.fromisoformat(told).minute % 5 == 0
    assert billing.runs(report) == []
    due(site, report, "2 minutes")
    [run] = wait_until(lambda: billing.runs(report))
    assert run["made_by"] == "schedule" and run["due_at"]
    assert billing.ended(run["run_id"])["state"] == "done"
    told = billing.call("GET", f"/reports/{report}").json
    assert datetime.fromisoformat(told["next_at"]) > datetime.now(timezone.utc)
    assert len(billing.runs(report)) == 1
    assert site.headend.metric("headend_report_ticks_total") == 1


def test_missed_ticks_give_one_run_of_all_that_came(site, billing):
    report = billing.report(schedule="0 * * * *")
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    wait_until(lambda: billing.call("GET", f"/reports/{report}").json["next_at"])
    due(site, report, "50 hours")
    [run] = wait_until(lambda: billing.runs(report))
    assert billing.ended(run["run_id"])["rows"] == 1
    wait_until(lambda: datetime.fromisoformat(billing.call(
        "GET", f"/reports/{report}").json["next_at"])
        > datetime.now(timezone.utc))
    assert len(billing.runs(report)) == 1


def test_missed_periods_are_made_up_for_each_but_not_for_ever(site, billing):
    """Ticks of 40 days were missed: the last 31 days have a run each."""
    report = billing.report(holds="missing", covers="day",
                            schedule="5 0,12 * * *")
    wait_until(lambda: billing.call("GET", f"/reports/{report}").json["next_at"])
    due(site, report, "40 days")
    wait_until(lambda: datetime.fromisoformat(billing.call(
        "GET", f"/reports/{report}").json["next_at"])
        > datetime.now(timezone.utc), 60)
    runs = billing.runs(report)
    days = [r["to"][:10] for r in runs]
    assert len(days) in (30, 31, 32) and len(set(days)) >= 30
    assert days == sorted(days, reverse=True)


def test_two_servers_on_one_database_give_one_run(site, billing, tmp_path):
    (tmp_path / "second").mkdir()
    second = Headend(tmp_path / "second", {
        **{k: v for k, v in site.headend.settings.items()
           if k.split(".")[0] == "database"}, "tcp.listen": ""})
    second.start()
    try:
        reports = [billing.report(f"r{n}", schedule="0 0 1 1 *")
                   for n in range(12)]
        tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
        wait_until(lambda: site.sql("SELECT count(*) FROM report_state WHERE "
                                    "due_at IS NOT NULL") == [(12,)])
        for turn in range(3):
            site.sql("UPDATE report_state SET due_at = now() - interval "
                     "'1 minute' RETURNING 1")
            wait_until(lambda n=turn: site.sql(
                "SELECT count(*) FROM report_run WHERE state = 'done'")
                == [(12 * n + 12,)], 30)
        held = [[r["rows"] for r in billing.runs(report)]
                for report in reports]
        assert held == [[0, 0, 1]] * 12
        ticks = (site.headend.metric("headend_report_ticks_total"),
                 second.metric("headend_report_ticks_total"))
        assert sum(ticks) == 36
    finally:
        second.stop()
    second.check_sanitizers()


def test_a_closed_day_has_23_24_or_25_hours(site):
    def period(covers, at, zone="Europe/Berlin"):
        return [t.astimezone(timezone.utc).strftime("%m-%d %H") for t in
                site.sql("SELECT * FROM report_period(%s, %s, %s)",
                         (covers, zone, at))[0]]
    assert period("day", "2025-03-31T00:05:00+02:00") == ["03-29 23", "03-30 22"]
    assert period("day", "2025-10-27T09:00:00+01:00") == ["10-25 22", "10-26 23"]
    assert period("day", "2025-10-27T00:00:00+01:00") == ["10-25 22", "10-26 23"]
    assert period("hour", "2025-10-26T01:30:00Z") == ["10-26 00", "10-26 01"]
    assert period("month", "2025-11-01T00:00:00+01:00") == ["09-30 22",
                                                            "10-31 23"]
    assert period("day", "2025-06-02T00:00:00+05:30", "Asia/Kolkata") == [
        "05-31 18", "06-01 18"]


# ---- nothing missed, nothing twice ----

def test_a_late_reading_rides_in_the_next_run(site, billing):
    report = billing.report()
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    first = billing.run(report)
    assert billing.values(first) == [
        ("2024-01-11T10:00:00+01:00", GAS, 100.5)]
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"],   # known
                            ["2024-01-10T12:00:00+03:00", "99.5"],    # late
                            ["2024-01-11T13:00:00+03:00", "101"]], seq=2)
    assert sorted(billing.values(billing.run(report))) == [
        ("2024-01-10T10:00:00+01:00", GAS, 99.5),
        ("2024-01-11T11:00:00+01:00", GAS, 101)]
    assert billing.rows(billing.run(report)) == []
    # what was reported stays as it was, and of a time there is all of it
    assert len(billing.rows(first)) == 1
    again = billing.run(report, **{"from": "2024-01-10T00:00:00Z",
                                   "to": "2024-01-11T10:00:00Z"})
    assert [v for *_, v in billing.values(again)] == [99.5, 100.5]
    # another value for a known time is a revision, and news
    tell(site, "24000001", [["2024-01-11T13:00:00+03:00", "102"]], seq=3)
    [row] = billing.rows(billing.run(report))
    assert (float(row["value"]), row["revision"]) == (102, "1")


def test_a_test_run_holds_what_the_next_one_holds_again(site, billing):
    report = billing.report()
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    for _ in range(2):
        run = billing.run(report, test=True)
        assert run["test"] and run["rows"] == 1
    assert billing.run(report)["rows"] == 1
    assert billing.run(report)["rows"] == 0


WRITE = """
INSERT INTO capture (tenant_id, meter_id, time, received_at, frame_id,
    profile_id, quality, uncertainty_ms, codec_version_id, values)
SELECT %(tenant)s, %(meter)s, timestamptz '2024-01-01' + n * interval '1 s',
    now(), 0, 1, 0, 0, 1, ARRAY[n] FROM generate_series(%(a)s, %(b)s) n
"""


def write(site, tenant, meter, share, end, done):
    """Transactions that stay open, and end in another order than they began."""
    dice = random.Random(share)
    open_ones = []
    at = share * 2_000_000 + 1
    while not end.wait(0.02) or open_ones:
        if not end.is_set() and (len(open_ones) < 3 or dice.random() < 0.5):
            c = psycopg2.connect(site.cluster.url(site.database))
            n = dice.randint(1, 40)
            c.cursor().execute(WRITE, {"tenant": tenant, "meter": meter,
                                       "a": at, "b": at + n - 1})
            open_ones.append((c, at, n))
            at += n
        if end.is_set() or len(open_ones) > 2:
            c, first, n = open_ones.pop(dice.randrange(len(open_ones)))
            if dice.random() < 0.9:
                c.commit()
                done.extend(range(first, first + n))
            c.close()  # else nothing of it happened


def test_runs_miss_nothing_and_repeat_nothing_with_concurrent_writers(
        site, demo, billing):
    [(meter,)] = site.sql("SELECT meter_id FROM meter")
    site.sql("SELECT ensure_partition('capture', 'month', m) FROM "
             "generate_series(timestamptz '2024-01-01', '2024-04-01', '1 month')"
             " m")
    fill(site, demo, 0, 0)
    report, other = billing.report(), billing.report("jsonl", format="jsonl")
    assert billing.run(report)["rows"] == 0
    end, done = threading.Event(), [[], [], []]
    writers = [threading.Thread(target=write, args=(
        site, demo.id, meter, n, end, done[n])) for n in range(3)]
    seen, lines = [], []
    for w in writers:
        w.start()
    try:
        for turn in range(8):
            wait_until(lambda t=turn: sum(map(len, done)) > 150 * (t + 1))
            seen += [r["value"] for r in billing.rows(billing.run(report))]
            lines += billing.content(billing.run(other)).splitlines()
    finally:
        end.set()
        for w in writers:
            w.join()
    seen += [r["value"] for r in billing.rows(billing.run(report))]
    lines += billing.content(billing.run(other)).splitlines()
    stored = [str(n) for part in done for n in part]
    assert len(seen) == len(set(seen)), "a reading came twice"
    assert sorted(seen) == sorted(stored)
    assert sorted(json.loads(l)["value"] for l in lines) == sorted(stored)


def fill(site, demo, first, last):
    """Readings 1, 2, 3 ... of one meter, each of its second."""
    [(meter,)] = site.sql("SELECT meter_id FROM meter WHERE tenant_id = %s",
                          (demo.id,))
    site.sql("SELECT ensure_partition('capture', 'month', '2024-01-01')")
    site.sql("INSERT INTO profile VALUES (1, %s, '{7-0:3.0.0}', '{m3}', "
             "'{cumulative}', '{1}') ON CONFLICT DO NOTHING", (demo.id,))
    site.sql(WRITE, {"tenant": demo.id, "meter": meter, "a": first, "b": last})


class Hold:
    """Holds a run at one of its pages, as a slow database would."""

    def __init__(self, site, billing, report, page):
        self.site = site
        self.connections = [psycopg2.connect(site.cluster.url(site.database))
                            for _ in range(2)]
        start, at_page = (c.cursor() for c in self.connections)
        start.execute("SELECT FROM report_state WHERE report_id = %s "
                      "FOR UPDATE", (report,))
        self.run = billing.ask(report)
        at_page.execute("SET session_replication_role = replica")
        at_page.execute("INSERT INTO report_content VALUES (%s, %s, %s, '')",
                        (billing.tenant.id, self.run, page))
        self.connections[0].rollback()
        wait_until(lambda: site.sql("SELECT chunks FROM report_run WHERE "
                                    "run_id = %s", (self.run,)) == [(page,)])

    def release(self):
        for c in self.connections:
            c.close()


def test_a_run_cut_by_kill_9_is_made_to_its_end(site, demo, billing):
    report = billing.report()
    fill(site, demo, 1, 2200)
    hold = Hold(site, billing, report, page=2)
    assert billing.call("GET", f"/report-runs/{hold.run}/content"
                        ).status == 409
    site.headend.kill()
    hold.release()
    fill(site, demo, 2201, 2300)
    site.sql("UPDATE report_run SET leased_until = now() RETURNING 1")
    site.start()
    told = billing.ended(hold.run)
    assert told["state"] == "done"
    assert [r["value"] for r in billing.rows(told)] == [
        str(n) for n in range(1, 2201)]
    assert billing.run(report)["rows"] == 100


def test_a_run_that_fails_leaves_its_readings_to_the_next(site, demo, billing):
    site.sql("INSERT INTO feed_listener VALUES (%s, 'infinity') RETURNING 1",
             (demo.id,))
    report = billing.report()
    fill(site, demo, 1, 600)
    site.sql("ALTER TABLE report_content ADD CONSTRAINT sabotage CHECK "
             "(chunk < 1) NOT VALID")
    run = billing.ask(report)
    while billing.call("GET", f"/report-runs/{run}").json["state"] != "failed":
        wait_until(lambda: site.sql(  # its pauses, cut short
            "UPDATE report_run SET leased_until = now() WHERE state = 'failed' "
            "OR lease IS NULL RETURNING 1"))
    told = billing.ended(run)
    assert told["state"] == "failed" and "sabotage" in told["error"]
    assert told["rows"] == 0
    assert billing.call("GET", f"/report-runs/{run}/content").status == 409
    site.sql("ALTER TABLE report_content DROP CONSTRAINT sabotage")
    fill(site, demo, 601, 700)
    assert billing.run(report)["rows"] == 700
    assert site.sql("SELECT about ->> 'state', about ->> 'rows' FROM feed "
                    "WHERE kind = 'report' ORDER BY feed_id") == [
        ("failed", "0"), ("done", "700")]


# ---- what is in them ----

def test_csv_has_the_tenants_separator_and_decimal_mark(site, demo, billing):
    site.anna = signed_in(site, "anna@example.org")
    point = site.anna.call("POST", "/api/v1/metering-points", {
        "moid": 'DE;001 "x"'})[1]["metering_point_id"]
    [(meter,)] = site.sql("SELECT meter_id FROM meter")
    assert site.anna.call("POST", "/api/v1/installations", {
        "metering_point_id": point, "meter_id": meter,
        "from": "2024-01-01T00:00:00Z"})[0] == 201
    report = billing.report(separator=";", decimal=",")
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.50"]])
    run = billing.run(report)
    head, line, rest = billing.content(run).split("\r\n")
    assert head == ("time;meter_id;serial;point;register;value;unit;quality;"
                    "received_at;revision") and rest == ""
    assert line.startswith(f"2024-01-11T10:00:00+01:00;{meter};24000001;"
                           f'"DE;001 ""x""";{GAS};100,5000;m3;')
    assert billing.call("PATCH", f"/reports/{report}", {
        "format": "jsonl"}).status == 200
    run = billing.run(report, **{"from": "2024-01-01T00:00:00Z",
                                 "to": "2024-02-01T00:00:00Z"})
    [row] = map(json.loads, billing.content(run).splitlines())
    assert row["value"] == "100.5000" and row["point"] == 'DE;001 "x"'
    assert row["meter_id"] == meter and row["revision"] == 0


def test_a_report_of_a_group_and_of_registers(site, demo, billing):
    site.anna = signed_in(site, "anna@example.org")
    second = demo.meter("24000002", "heo-g4")
    group = site.anna.call("POST", "/api/v1/groups", {
        "name": "some", "meter_ids": [second]})[1]["group_id"]
    by_group = billing.report("group", group_id=group)
    by_register = billing.report("register", registers=["7-0:0.0.0"])
    ranged = {"from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z"}
    for serial in ("24000001", "24000002"):
        tell(site, serial, [["2024-01-11T12:00:00+03:00", "100.5"]])
    for how in ({}, ranged):
        assert [r["serial"] for r in billing.rows(billing.run(
            by_group, **how))] == ["24000002"]
        assert billing.rows(billing.run(by_register, **how)) == []
    assert site.anna.call("DELETE", f"/api/v1/groups/{group}")[0] == 409


def test_sums_are_those_of_the_api(site, demo, billing):
    tell(site, "24000001", [[f"2024-01-{d:02}T{h:02}:00:00+03:00",
                             str(100 + 24 * d + h)]
                            for d in (9, 10, 12) for h in (2, 8, 14, 23)])
    [(meter,)] = site.sql("SELECT meter_id FROM meter")
    span = {"from": "2024-01-09T23:00:00Z", "to": "2024-01-12T23:00:00Z"}
    for by in ("hour", "day", "month"):
        report = billing.report(by, "sums", by=by, covers="month",
                                registers=[GAS])
        got = [(r["from"], r["to"], r["value"], r["gap"], r["spans_gap"],
                r["readings"]) for r in billing.rows(billing.run(
                    report, **span))]
        said = demo.get(f"/api/v1/meters/{meter}/sums", register=GAS, by=by,
                        **span).json["sums"]
        assert got and got == [
            (local(s["from"]), local(s["to"]), s["value"] or "",
             str(s["gap"]).lower(), str(s["spans_gap"]).lower(),
             str(s["readings"])) for s in said]
    every = billing.report("all", "sums", covers="day")
    assert len([r for r in billing.rows(billing.run(every, **span))
                if r["register"] == GAS]) == 3


def local(at):
    """As a tenant in Berlin has it in winter."""
    return (datetime.fromisoformat(at).astimezone(timezone(timedelta(hours=1)))
            .isoformat())


def test_meters_without_a_reading_are_missing(site, demo, billing):
    demo.meter("24000002", "heo-g4")
    site.sql("UPDATE meter SET created_at = '2024-01-01' RETURNING 1")
    report = billing.report(holds="missing")
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    days = {"from": "2024-01-10T23:00:00Z", "to": "2024-01-11T23:00:00Z"}
    assert [r["serial"] for r in billing.rows(billing.run(
        report, **days))] == ["24000002"]
    told = billing.run(report)  # yesterday
    assert [(r["serial"], r["last_at"]) for r in billing.rows(told)] == [
        ("24000001", "2024-01-11T10:00:05+01:00"), ("24000002", "")]
    midnight = datetime.fromisoformat(told["to"])
    assert timedelta(0) <= datetime.now(timezone.utc) - midnight < timedelta(1)


def test_events_ride_once(site, demo, billing):
    report = billing.report(holds="events")
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    billing.run(report)
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.7"]], seq=2)
    told = wait_until(lambda: [r for r in billing.rows(billing.run(report))
                               if r["code"] == "reading.conflict"])
    assert [(r["serial"], r["severity"]) for r in told] == [
        ("24000001", "warning")]
    assert billing.run(report)["rows"] == 0


def test_two_profiles_with_one_value_are_one_reading(site, demo, billing):
    report = billing.report(registers=[])
    fill(site, demo, 1, 1)
    first = billing.run(report)
    site.sql("INSERT INTO profile VALUES (2, %s, '{7-0:3.0.0,7-0:0.0.0}', "
             "'{m3,kg}', '{cumulative,instant}', '{0.1,1}') RETURNING 1",
             (demo.id,))
    site.sql("INSERT INTO capture (tenant_id, meter_id, time, received_at, "
             "frame_id, profile_id, quality, uncertainty_ms, codec_version_id,"
             " values) SELECT tenant_id, meter_id, time, now(), 0, 2, 0, 0, 1, "
             "'{10,5}' FROM capture RETURNING 1")
    assert [v for *_, v in billing.values(first)] == [1]
    assert [(r, v) for _, r, v in billing.values(billing.run(report))] == [
        ("7-0:0.0.0", 5)]


# ---- the API around them ----

def test_content_is_the_same_until_it_is_cleared_away(site, demo, billing):
    report = billing.report(keep_days=1)
    fill(site, demo, 1, 20000)
    run = billing.run(report)
    path = f"/report-runs/{run['run_id']}/content"
    first, second = billing.call("GET", path), billing.call("GET", path)
    assert first.body == second.body and run["rows"] == 20000
    assert first.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in first.headers["Content-Disposition"]
    site.sql("UPDATE report_run SET kept_until = now() RETURNING 1")
    assert billing.call("GET", path).status == 410
    site.sql("SELECT report_expire()")
    assert site.sql("SELECT count(*) FROM report_content") == [(0,)]
    assert billing.runs(report)[0]["rows"] == 20000


def test_a_run_has_a_limit_and_says_so(site, demo, billing):
    site.headend.stop()
    site.headend.configure(report__content_max="1M")
    site.start()
    report, small = billing.report(), billing.report("missing", "missing")
    fill(site, demo, 1, 20000)
    told = billing.ended(billing.ask(report))
    assert told["state"] == "failed" and "report.content_max" in told["error"]
    assert site.sql("SELECT count(*) FROM report_content") == [(0,)]
    assert site.headend.metric("headend_report_runs_total") == 1
    run = billing.run(small)["run_id"]
    site.sql("UPDATE report_run SET bytes = 30 * 2::bigint ^ 30 WHERE run_id "
             "= %s RETURNING 1", (run,))
    told = billing.ended(billing.ask(small))
    assert told["state"] == "failed" and "report.kept_max" in told["error"]


@pytest.mark.parametrize("body, field", [
    ({"holds": "readings", "covers": "day"}, "covers"),
    ({"holds": "readings", "by": "day"}, "by"),
    ({"holds": "sums", "covers": "day", "by": "month"}, "by"),
    ({"holds": "events", "registers": ["1-0:1.8.0"]}, "registers"),
    ({"holds": "readings", "registers": ["volume"]}, "registers"),
    ({"holds": "readings", "separator": ",", "decimal": ","}, "separator"),
    ({"holds": "readings", "schedule": "61 * * * *"}, "schedule"),
    ({"holds": "readings", "schedule": "5 0 * *"}, "schedule"),
    ({"holds": "everything"}, "holds"),
])
def test_a_wrong_report_is_refused_by_name(billing, body, field):
    said = billing.call("POST", "/reports", {"name": "x", **body})
    assert said.status == 422 and said.json["field"] == field, said.text


def test_a_report_is_changed_by_who_has_seen_it(billing):
    report = billing.report(schedule="0 6 * * *")
    seen = billing.call("GET", f"/reports/{report}")
    changed = billing.call("PATCH", f"/reports/{report}", {
        "schedule": "0 7 * * *"}, **{"If-Match": seen.headers["ETag"]})
    assert changed.status == 200 and changed.json["revision"] == 2
    assert billing.call("PATCH", f"/reports/{report}", {"name": "y"}, **{
        "If-Match": seen.headers["ETag"]}).status == 412
    told = wait_until(lambda: billing.call(
        "GET", f"/reports/{report}").json["next_at"])
    assert datetime.fromisoformat(told).minute == 0
    for _ in range(2):
        once = billing.call("POST", f"/reports/{report}/runs", {}, **{
            "Idempotency-Key": "k"})
        assert once.status == 202
    assert len(billing.runs(report)) == 1
    assert billing.call("DELETE", f"/reports/{report}").status == 204
    assert billing.call("GET", f"/reports/{report}").status == 404


def test_another_tenant_and_who_may_not_export_get_nothing(site, billing):
    report = billing.report()
    run = billing.run(report)["run_id"]
    other = Billing(site.tenant("other"))
    viewer = signed_in(site, "vera@example.org", "demo", "viewer")
    for path in (f"/reports/{report}", f"/reports/{report}/runs",
                 f"/report-runs/{run}", f"/report-runs/{run}/content"):
        assert other.call("GET", path).status == 404
        assert viewer.call("GET", "/api/v1" + path)[0] == 403
    assert other.call("POST", f"/reports/{report}/runs", {}).status == 404
    clerk = signed_in(site, "carl@example.org", "demo", "billing")
    assert clerk.call("GET", f"/api/v1/report-runs/{run}")[0] == 200


def test_a_database_restored_elsewhere_is_told_of(site, billing):
    report = billing.report()
    site.sql("UPDATE report_state SET upto = '999999999999' RETURNING 1")
    told = billing.ended(billing.ask(report))
    assert told["state"] == "failed" and "restored" in told["error"]
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    assert billing.run(report)["rows"] == 1


def test_the_command_line_makes_runs_and_downloads(site, demo, billing,
                                                   tmp_path):
    cli = site.headend.cli
    made = site.headend.cli_json(
        "report", "add", "--tenant", "demo", "--name", "cli", "--holds",
        "readings", "--registers", f"{GAS},7-0:0.0.0", "--separator", "tab",
        "--schedule", "0 6 * * *")
    tell(site, "24000001", [["2024-01-11T12:00:00+03:00", "100.5"]])
    report = str(made["report_id"])
    run = site.headend.cli_json("report", "run", report)["run_id"]
    assert billing.ended(run)["made_by"] != "schedule"
    text = cli("report", "download", run)
    [row] = csv.DictReader(io.StringIO(text), delimiter="\t")
    assert float(row["value"]) == 100.5
    file = tmp_path / "out.csv"
    assert cli("report", "download", run, "--out", str(file)) == ""
    assert file.read_text() == text
    assert f" {run} " in " " + cli("report", "show", report)
    [listed] = site.headend.cli_json("report", "list")["reports"]
    assert (listed["name"], listed["last_run"]) == ("cli", "done")
    for wrong, said in (
            (("add", "--tenant", "demo", "--name", "x", "--holds", "readings",
              "--schedule", "0 25 * * *"), "character 3"),
            (("add", "--tenant", "demo", "--name", "x", "--holds", "all"),
             "readings, events"),
            (("run", "999"), "no such report"),
            (("download", "999"), "no run 999")):
        done = site.headend.run("report", *wrong)
        assert done.returncode == 1 and said in done.stderr, done.stderr
