"""Every frame is counted once: in each scrape, from SQL, after every crash."""

import json
import re
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import BUILD, Uplink, wait_equal, wait_until

EUI = "94193a00000069fe"
SERIAL = "24000123"
FATES = ("stored", "duplicate", "quarantined", "rejected")
LABELS = re.compile(r'(\w+)\{tenant="(\d+)"(?:,fate="(\w+)")?\} (\d+)')


def books(text):
    """{tenant: {"received": n, "pending": n, fate: n ...}} of one scrape."""
    names = {"headend_tenant_frames_received_total": "received",
             "headend_frames_pending": "pending"}
    found = {}
    for name, tenant, fate, n in LABELS.findall(text):
        if name == "headend_frames_total" or name in names:
            row = found.setdefault(int(tenant), {})
            row[fate or names[name]] = int(n)
    return found


def scrape(site):
    """One scrape, in which the books must balance for every tenant."""
    text = site.headend.get("/metrics").text
    found = books(text)
    for tenant, row in found.items():
        parts = dict(row)
        received = parts.pop("received")
        assert received == sum(parts.values()), (tenant, row)
    if found:
        assert "\nheadend_ledger_unaccounted 0\n" in text
    return found


@pytest.fixture
def node(site, broker, demo):
    """Two tenants: heat meters of one, a gas meter of the other."""
    demo.integration("chirpstack", broker.url)
    demo.meter("69322582", dev_eui=EUI)
    demo.other = site.tenant("other")
    demo.other.meter(SERIAL, "heo-g4")
    site.start()
    site.wait_subscribed()
    return demo


def publish_mixture(broker, n):
    """Of five messages one is good, one its repetition, one a stranger's, one
    cut, one rubbish."""
    messages = []
    for i in range(n):
        good = Uplink(EUI, counter=i, time=f"2026-01-15T12:{i // 60:02d}:"
                      f"{i % 60:02d}+00:00").chirpstack4()
        cut = Uplink(EUI, counter=100000 + i, payload=b"\x1e").chirpstack4()
        messages += [good, good, Uplink("ffffffffffffff01", counter=i)
                     .chirpstack4(), cut, (good[0], b"rubbish")]
    broker.publish_all(messages)


def many(n):
    """Uplinks that are all stored: a minute each."""
    return [Uplink(EUI, counter=i, time=f"2026-01-{1 + i // 1440:02d}T"
                   f"{i // 60 % 24:02d}:{i % 60:02d}:00+00:00").chirpstack4()
            for i in range(n)]


def wait_received(site, n):
    """The broker has its own time: until headend has journaled n frames."""
    wait_equal(lambda: site.headend.metric(
        "headend_tenant_frames_received_total"), n, 30)


def say(site, seq):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        meter.ask({"t": "data", "seq": seq, "cols": ["ts", "v_work"], "rows":
                   [[f"2024-01-11T12:{seq:02d}:00+03:00", f"{seq}.5"]]})


def ledger(tenant, **query):
    reply = tenant.get("/api/v1/ledger", **query)
    assert reply.status == 200, reply.text
    for row in reply.json["ledger"]:
        assert row["received"] == sum(row[f] for f in FATES) + (
            row["pending"] or 0)
    return reply.json["ledger"]


def test_books_balance_in_every_scrape_under_load(site, broker, node):
    done = threading.Event()
    scrapes, failed = [], []

    def watch():
        while not done.is_set():
            try:
                scrapes.append(scrape(site))
            except AssertionError as e:
                failed.append(e)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    publish_mixture(broker, 200)
    for seq in range(10):
        say(site, seq)
    with site.gas_meter("99999999") as meter:
        meter.hello()
    wait_until(lambda: sum(node.fates().values()) == 1000, 60)
    wait_until(site.drained)
    done.set()
    watcher.join()
    assert not failed and len(scrapes) > 10
    last = scrape(site)
    assert last[node.id] == {"received": 1000, "pending": 0,
                             **{k: v for k, v in node.fates().items()}}
    assert node.fates() == {"stored": 200, "duplicate": 200,
                            "quarantined": 400, "rejected": 200}
    assert last[node.other.id]["received"] == sum(node.other.fates().values())
    assert last[0] == {"received": 1, "pending": 0, "quarantined": 1}
    site.check_balance()


def test_pending_is_known_per_tenant_while_the_database_is_away(
        site, broker, node, cluster):
    cluster.stop()
    try:
        broker.publish_all(many(20))
        say(site, 1)
        wait_received(site, 22)
        row = scrape(site)
        assert row[node.id]["pending"] == 20
        assert row[node.other.id]["pending"] == 2
    finally:
        cluster.start()
    wait_until(site.drained, 30)
    assert scrape(site)[node.id] == {"received": 20, "pending": 0,
                                     "stored": 20}


def test_backlog_is_counted_per_tenant_after_a_crash(site, broker, node,
                                                     cluster):
    """A server that dies with a backlog knows it again, and whose it is."""
    say(site, 0)
    wait_until(site.drained)
    cluster.stop()
    try:
        broker.publish_all(many(30))
        say(site, 1)
        wait_received(site, 34)
        site.headend.kill()
    finally:
        cluster.start()
    site.sql("ALTER TABLE capture ADD CONSTRAINT wait CHECK (pg_sleep(1) IS "
             "NOT NULL) NOT VALID")
    site.start()
    wait_until(lambda: scrape(site), what="the backlog to be counted")
    found = scrape(site)
    # What was not acknowledged yet when it died comes again.
    assert found[node.id]["received"] >= 30
    assert found[node.other.id]["received"] == 2
    site.sql("ALTER TABLE capture DROP CONSTRAINT wait")
    wait_until(site.drained, 60)
    scrape(site)
    assert node.fates()["stored"] == 30
    site.check_balance()
    wait_until(lambda: re.search(r"reconciled journal=1 .* pending=32 .*"
                                 r" frames=2 ledger=2", site.headend.log()))


class LossyLine:
    """Between headend and PostgreSQL: the answer to every n-th COMMIT of a
    batch is lost with its connection; cut() ends all of them at once."""

    READY = b"Z\0\0\0\5I"  # ReadyForQuery, outside of a transaction

    def __init__(self, directory, cluster, every=0):
        self.lost, self._commits, self._every = 0, 0, every
        self._open = []
        self._target = str(cluster.dir / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen(20)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            state = {"batch": False}
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(client, server, state),
                                 daemon=True).start()

    @staticmethod
    def _ask(client, server, state):
        try:
            while data := client.recv(65536):
                state["batch"] |= b"store_batch(" in data
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _answer(self, client, server, state):
        try:
            while data := server.recv(65536):
                if state["batch"] and data.endswith(self.READY):
                    state["batch"] = False
                    self._commits += 1
                    if self._every and self._commits % self._every == 0:
                        self.lost += 1
                        break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


    def cut(self):
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()


@contextmanager
def lossy(site, broker, demo, **how):
    """A node with one heat meter, its database behind a lossy line."""
    with tempfile.TemporaryDirectory(prefix="he-line-") as directory:
        line = LossyLine(Path(directory), site.cluster, **how)
        url = site.headend.settings["database.url"]
        site.headend.configure(database__url=url.replace(
            str(site.cluster.dir), directory))
        demo.integration("chirpstack", broker.url)
        demo.meter("69322582", dev_eui=EUI)
        site.start()
        site.wait_subscribed()
        yield line
        site.headend.stop()


def assert_each_once(site, demo, n):
    wait_until(lambda: demo.fates() == {"stored": n}, 30)
    wait_until(site.drained, 30)
    assert scrape(site)[demo.id] == {"received": n, "pending": 0, "stored": n}
    assert site.sql("SELECT count(*), max(revision) FROM capture JOIN profile "
                    "USING (profile_id) WHERE '6-0:1.0.0' = ANY (obis)") == [
                        (n, 0)]
    assert site.sql("SELECT received, skipped FROM frame_counter") == [(n, 0)]
    site.check_balance()


def test_commit_without_an_answer_is_booked_once(site, broker, demo):
    with lossy(site, broker, demo, every=3) as line:
        for i in range(10):
            broker.publish_all(many(500)[50 * i:50 * (i + 1)])
            scrape(site)
            wait_until(site.drained, 30)
        assert line.lost >= 3
        assert_each_once(site, demo, 500)


def test_line_cut_while_the_commit_is_under_way(site, broker, demo):
    """The connection goes, the COMMIT goes on: the cursor that is asked for
    next is not the last word."""
    site.sql("CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$"
             "BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;"
             "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON journal DEFERRABLE"
             " INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.cursor <> NEW.cursor)"
             " EXECUTE FUNCTION slowly()")
    with lossy(site, broker, demo) as line:
        for i in range(3):
            broker.publish_all(many(90)[30 * i:30 * (i + 1)])
            wait_until(lambda: site.sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "
                "query LIKE '%store_batch%'"), what="a COMMIT under way")
            line.cut()
            wait_until(site.drained, 30)
        assert_each_once(site, demo, 90)
        assert site.headend.log().count("batch not stored") >= 3


def test_connection_cut_again_and_again_counts_nothing_twice(site, broker,
                                                             node):
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                     "WHERE query LIKE '%store_batch%' AND pid <> "
                     "pg_backend_pid() AND state = 'active'")

    cutter = threading.Thread(target=cut)
    cutter.start()
    broker.publish_all(many(2000))
    stop.set()
    cutter.join()
    wait_until(lambda: node.fates() == {"stored": 2000}, 60)
    wait_until(site.drained, 60)
    assert scrape(site)[node.id] == {"received": 2000, "pending": 0,
                                     "stored": 2000}
    site.check_balance()


def test_journal_run_again_is_told_apart(site, broker, node):
    publish_mixture(broker, 3)
    wait_until(lambda: sum(node.fates().values()) == 15)
    before = node.fates()
    site.headend.stop()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    wait_until(site.drained)
    assert scrape(site)[node.id] == {"received": 15, "pending": 0,
                                     "repeated": 15}
    assert node.fates() == before


def test_ledger_by_period_adds_up(site, broker, node):
    publish_mixture(broker, 4)
    node.wait_fates(stored=4, duplicate=4, quarantined=8, rejected=4)
    wait_until(site.drained)
    total, = ledger(node, by="total")
    assert total == {"period": None, "received": 20, "stored": 4,
                     "duplicate": 4, "quarantined": 8, "rejected": 4,
                     "pending": 0, "missing": 0, "late": 0}
    for by in ("minute", "hour", "day"):
        rows = ledger(node, by=by)
        assert rows[-1]["period"] is None
        assert {f: sum(r[f] for r in rows) for f in FATES} == {
            f: total[f] for f in FATES}
    closed = ledger(node, by="total", **{"from": "2000-01-01T00:00:00Z",
                                         "to": "2000-01-02T00:00:00Z"})
    assert closed == [{"period": None, "received": 0, "stored": 0,
                       "duplicate": 0, "quarantined": 0, "rejected": 0,
                       "pending": None, "missing": 0, "late": 0}]


def test_ledger_pages_miss_nothing(site, node):
    site.sql("INSERT INTO ledger (tenant_id, minute, stored) SELECT %s, "
             "timestamptz '2026-01-15 00:00Z' + n * interval '1 minute', n "
             "FROM generate_series(1, 500) n", (node.id,))
    for by, rows in (("minute", 500), ("hour", 9), ("day", 1)):
        seen, after = [], None
        while True:
            query = {"by": by, "limit": 7, **({"after": after} if after else
                                              {})}
            page = node.get("/api/v1/ledger", **query).json
            seen += page["ledger"]
            after = page["next"]
            if not after:
                break
        assert len(seen) == rows + 1 and seen[-1]["period"] is None
        assert sum(r["stored"] for r in seen) == 500 * 501 // 2
        periods = [r["period"] for r in seen[:-1]]
        assert periods == sorted(set(periods))


@pytest.mark.parametrize("query", [{"by": "week"}, {"from": "now"},
                                   {"after": "x"}, {"tenant": "other"}])
def test_wrong_ledger_query_is_refused_by_name(site, node, query):
    reply = node.get("/api/v1/ledger", **query)
    assert reply.status == 400 and list(query)[0] in reply.text


def test_command_line_agrees_with_the_api(site, broker, node, cluster):
    publish_mixture(broker, 2)
    wait_until(lambda: sum(node.fates().values()) == 10)
    say(site, 1)
    wait_until(site.drained)

    def printed(*options):
        rows = site.headend.cli_json("ledger", *options)["ledger"]
        return {r["tenant"]: r for r in rows}

    rows = printed()
    for tenant in (node, node.other):
        expected, = ledger(tenant, by="total")
        row = rows[tenant.name]
        assert {f: int(row[f]) for f in (*FATES, "pending", "received")} == {
            f: expected[f] for f in (*FATES, "pending", "received")}
    assert list(printed("--tenant", "other")) == ["other"]
    assert "demo" in site.headend.cli("ledger", "--by", "minute")
    site.headend.stop()
    done = site.headend.run("ledger", "--json")
    assert done.returncode == 0 and "pending is not known" in done.stderr
    row = {r["tenant"]: r for r in json.loads(done.stdout)["ledger"]}["demo"]
    assert row["pending"] is None and int(row["received"]) == 10


def test_a_wrong_ledger_is_told_at_the_start(site, broker, node):
    publish_mixture(broker, 1)
    wait_until(lambda: sum(node.fates().values()) == 5)
    site.headend.stop()
    site.sql("UPDATE ledger SET stored = stored + 7 WHERE tenant_id = %s",
             (node.id,))
    site.start()
    wait_until(lambda: re.search(r"ledger and frames disagree .*frames=5 "
                                 r"ledger=12 minutes=1", site.headend.log()))


def test_damage_is_the_only_thing_unaccounted(site, node, cluster):
    cluster.stop()
    try:
        for seq in range(3):
            say(site, seq)
        assert scrape(site)[node.other.id]["pending"] == 6
        segment = sorted((site.headend.dir / "journal").glob("*.seg"))[0]
        with open(segment, "r+b") as f:
            data = f.read()
            at = data.index(b'"2024-01-11T12:01:00+03:00"')
            f.seek(at)
            f.write(b"!")
    finally:
        cluster.start()
    wait_equal(lambda: site.headend.metric("headend_frames_pending"), 0, 30)
    assert site.headend.metric("headend_ledger_unaccounted") == 1
    assert "frames lost to damage of the journal frames=1" in \
        site.headend.log()
    found = books(site.headend.get("/metrics").text)
    assert found[0] == {"received": 1, "pending": 0, "quarantined": 1}


def test_simulated_fleet_balances_through_kills(site, broker, demo):
    csv = subprocess.run([BUILD / "tests/sim/headend-sim", "--fleet-csv",
                          "--lorawan", "20", "--gas", "2"], check=True,
                         capture_output=True, text=True, timeout=20).stdout
    site.headend.cli("meter", "import", "--tenant", "demo", "-", stdin=csv)
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    sim = subprocess.Popen([BUILD / "tests/sim/headend-sim", "--lorawan", "20",
                            "--gas", "2", "--broker", broker.url, "--rate",
                            "1000", "--count", "4000"],
                           stdout=subprocess.PIPE, text=True)
    for i in (1, 2, 3):
        wait_until(lambda: demo.fates().get("stored", 0) > 800 * i, 60)
        scrape(site)
        site.headend.kill()
        site.start()
        wait_until(lambda: scrape(site))
    sim.communicate(timeout=60)
    wait_until(site.drained, 60)
    scrape(site)
    site.check_balance()
    assert site.headend.log().count("info  reconciled") >= 3
    assert "disagree" not in site.headend.log()
