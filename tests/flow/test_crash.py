"""Acknowledged means durable, and exactly once: kill -9, and a database that
goes away in the middle."""

import re
import subprocess
import threading

import pytest
from harness import BUILD, Uplink, wait_until


@pytest.fixture
def fleet(site, broker, demo):
    """50 heat meters and 5 gas meters of the simulator, imported."""
    csv = subprocess.run([BUILD / "tests/sim/headend-sim", "--fleet-csv",
                          "--lorawan", "50", "--gas", "5"], check=True,
                         capture_output=True, text=True, timeout=20).stdout
    site.headend.cli("meter", "import", "--tenant", "demo", "-", stdin=csv)
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    return demo


class Simulator:
    """headend-sim in the background; its final counts."""

    def __init__(self, *options):
        self._process = subprocess.Popen(
            [BUILD / "tests/sim/headend-sim", "--lorawan", "50", "--gas", "5",
             *map(str, options)], stdout=subprocess.PIPE, text=True)

    def end(self):
        """Begins nothing new, waits for its acks."""
        self._process.terminate()

    def counts(self, timeout=120):
        out, _ = self._process.communicate(timeout=timeout)
        counts = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", out)}
        assert self._process.returncode == 0, counts
        return counts


def stored_uplinks(site):
    """LoRaWAN uplinks by fate; joins apart (they carry no counter)."""
    return site.sql("SELECT count(*), count(DISTINCT (meter_id, counter)) "
                    "FROM frame WHERE fate = 1 AND source = 1 AND counter IS "
                    "NOT NULL")[0]


@pytest.mark.parametrize("kills", [1, 3])
def test_kill_during_ten_thousand_uplinks_stores_each_once(
        site, broker, fleet, kills):
    sim = Simulator("--broker", broker.url, "--rate", 2500, "--count", 10000,
                    "--no-faults")
    for i in range(1, kills + 1):
        wait_until(lambda: stored_uplinks(site)[0] > 2000 * i, 60)
        site.headend.kill()
        site.start()
    assert sim.counts()["puback"] >= 10050
    wait_until(lambda: stored_uplinks(site)[1] == 10000, 60,
               "all acknowledged uplinks to be stored")
    assert stored_uplinks(site) == (10000, 10000)
    assert site.sql("SELECT max(revision) FROM capture") == [(0,)]
    site.check_balance()


def test_kill_keeps_what_a_gas_meter_was_told_is_safe(site, fleet):
    """An ack, then kill -9 at once, fifty times over."""
    serial = site.sql("SELECT serial FROM meter JOIN meter_model USING "
                      "(tenant_id, model_id) WHERE meter_model.name = 'heo-g4' "
                      "LIMIT 1")
    acked = []
    for i in range(5):
        with site.gas_meter(serial[0][0]) as meter:
            meter.hello()
            for k in range(10):
                n = i * 10 + k
                row = [f"2024-01-11T{n // 60:02d}:{n % 60:02d}:00+03:00",
                       f"{n}.0000"]
                answer = meter.ask({"t": "data", "seq": n + 1, "cols":
                                    ["ts", "v_work"], "rows": [row]})
                assert answer == {"t": "ack", "seq": n + 1, "n": 1}
                acked.append(n)
            site.headend.kill()
        site.start()
    wait_until(site.drained)
    stored = site.sql("SELECT value::int FROM reading_current WHERE obis = "
                      "'7-0:3.0.0' ORDER BY value")
    assert [v for v, in stored] == acked
    site.check_balance()


def test_database_outage_is_invisible_to_meters(site, broker, fleet, cluster):
    sim = Simulator("--broker", broker.url, "--tcp",
                    f"127.0.0.1:{site.headend.tcp_port}", "--rate", 200,
                    "--count", 2000, "--no-faults", "--period", 1)
    wait_until(lambda: stored_uplinks(site)[0] > 200, 30)
    cluster.stop()
    try:
        wait_until(lambda: site.headend.metric("headend_database_up") == 0)
        assert site.headend.get("/healthz").status == 200
        assert site.headend.get("/readyz").status == 503
        wait_until(lambda: site.headend.metric("headend_frames_pending")
                   > 500, 60, "500 frames acknowledged without a database")
    finally:
        cluster.start()
    wait_until(lambda: stored_uplinks(site)[1] == 2000, 90)
    sim.end()
    counts = sim.counts()
    wait_until(site.drained, 60)
    assert stored_uplinks(site) == (2000, 2000)
    rows = site.sql("SELECT count(*) FROM reading_current WHERE obis = "
                    "'7-0:3.0.0'")[0][0]
    assert rows == counts["rows_acked"] > 0
    assert counts["naks"] == 0
    site.check_balance()


def test_server_starts_without_its_database_and_catches_up(
        site, broker, fleet, cluster):
    """Known meters are acknowledged as soon as the database was seen once; an
    MQTT frame waits in the broker until then."""
    site.headend.stop()
    eui, = site.sql("SELECT dev_eui FROM meter WHERE dev_eui IS NOT NULL "
                    "LIMIT 1")[0]
    broker.publish(*Uplink(eui).chirpstack4())
    cluster.stop()
    try:
        starter = threading.Thread(target=site.start)
        starter.start()
        wait_until(lambda: site.headend.get("/readyz").status == 503)
    finally:
        cluster.start()
    starter.join(30)
    fleet.wait_fates(stored=1)


def test_server_that_never_saw_its_database_ends_cleanly(site, cluster):
    cluster.stop()
    try:
        site.headend.launch()
        wait_until(lambda: "database is away" in site.headend.log())
        site.headend.stop()
    finally:
        cluster.start()


def test_full_replay_changes_nothing(site, broker, fleet):
    """Promise 3: the journal's cursor set back, everything runs again."""
    sim = Simulator("--broker", broker.url, "--rate", 1000, "--count", 1000)
    sim.counts()
    wait_until(lambda: stored_uplinks(site)[1] >= 1000 and site.drained(), 60)
    before = (fleet.readings(), fleet.fates())
    site.headend.stop()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    wait_until(site.drained)
    assert fleet.readings() == before[0]
    assert site.sql("SELECT max(revision) FROM capture") == [(0,)]
