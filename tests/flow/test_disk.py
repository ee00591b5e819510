"""A disk that is full, broken or kept within bounds: nothing is acknowledged
that is not safe, the log says why, and it goes on by itself afterwards."""

import json
import sys

import pytest
from harness import ROOT, Uplink, wait_until

sys.path.append(str(ROOT / "tests" / "chaos"))
from faults import FOREVER, Faults  # noqa: E402
from wires import Wire, Wires  # noqa: E402

EUI, SERIAL = "94193a00000069fe", "24000001"
ERRORS = [("pwrite", "ENOSPC"), ("pwrite", "EIO"), ("pwrite", "EROFS"),
          ("fdatasync", "EIO"), ("fdatasync", "ENOSPC")]


def uplinks(first, last, padding=0):
    """Different ones, each as large as is wanted."""
    made = []
    for counter in range(first, last + 1):
        at = f"2026-01-15T12:{counter // 60:02d}:{counter % 60:02d}+00:00"
        topic, text = Uplink(EUI, counter=counter, time=at).chirpstack4()
        made.append((topic, json.dumps({**json.loads(text),
                                        "object": {"x": "x" * padding}})))
    return made


def rows(n, padding=0):
    return {"t": "data", "seq": n, "cols": ["ts", "v_work"], "rows":
            [[f"2024-01-11T{n // 60:02d}:{n % 60:02d}:00+03:00", f"{n}.0000"]],
            "padding": "x" * padding}


def ack(n):
    return {"t": "ack", "seq": n, "n": 1}


@pytest.fixture
def fleet(site, broker, demo):
    """One meter of each kind; the node is not started."""
    demo.meter("69322582", dev_eui=EUI)
    demo.meter(SERIAL, "heo-g4")
    demo.integration("chirpstack", broker.url)
    return demo


@pytest.fixture
def faults(site, tmp_path):
    return Faults(site.headend, tmp_path)


@pytest.fixture
def wire(site, cluster, tmp_path):
    """Between the node and its database."""
    wires = Wires()
    name = ".s.PGSQL.5432"
    yield Wire(wires, str(tmp_path / name), str(cluster.dir / name))
    wires.close()


def acknowledged(site):
    return site.headend.metric("headend_frames_acknowledged_total")


def lines(site, text):
    return [line for line in site.headend.log().splitlines() if text in line]


def answer_within(meter, seconds):
    """The server's next object, or None: it says nothing."""
    meter._socket.settimeout(seconds)
    try:
        return meter.receive()
    except TimeoutError:
        return None
    finally:
        meter._socket.settimeout(20)


def fill(meter):
    """Until the journal takes no more; how many rows were acknowledged."""
    for n in range(1, 200):
        meter.send(rows(n, 60000))
        answer = answer_within(meter, 1)
        if answer is None:
            return n - 1
        assert answer == ack(n)
    raise AssertionError("the quota does not hold")


@pytest.mark.parametrize("outage", ["refuse", "stall"])
def test_quota_stops_acknowledgements_until_the_database_is_back(
        site, broker, fleet, wire, tmp_path, outage):
    site.headend.configure(
        journal__segment_size="1M", journal__quota="4M",
        database__url=f"postgresql://headend_server@/{site.database}"
                      f"?host={tmp_path}")
    site.start()
    site.wait_subscribed()
    getattr(wire, outage)()
    with site.gas_meter(SERIAL) as meter:
        assert meter.hello()["t"] == "ack"
        broker.publish_all(uplinks(1, 60, 100000))
        wait_until(lambda: site.headend.metric("headend_journal_full") == 1)
        told = fill(meter)
        before = acknowledged(site)
        assert before < 60 + told + 2

        ready = site.headend.get("/readyz")
        assert ready.status == 503
        if outage == "stall":  # else that PostgreSQL is away is said first
            assert "journal is full" in ready.text
        assert site.headend.get("/healthz").status == 200
        assert site.headend.metric("headend_journal_full") == 1
        assert len(lines(site, "journal full")) == 1
        assert acknowledged(site) == before

        wire.flow()
        assert meter.receive() == ack(told + 1)
        assert meter.ask(rows(told + 2)) == ack(told + 2)
    fleet.wait_fates(stored=60 + told + 2 + 1, timeout=60)  # and the hello
    wait_until(lambda: site.headend.metric("headend_journal_full") == 0)
    wait_until(lambda: site.headend.get("/readyz").status == 200)
    assert len(lines(site, "journal has room again")) == 1
    site.check_balance()


@pytest.mark.parametrize("call, error", ERRORS)
def test_failing_disk_is_not_acknowledged_and_survived(
        site, broker, fleet, faults, call, error):
    site.start()
    site.wait_subscribed()
    with site.gas_meter(SERIAL) as meter:
        assert meter.hello()["t"] == "ack"
        before = acknowledged(site)
        faults.set(call, error, 0, FOREVER)
        meter.send(rows(1))
        broker.publish_all(uplinks(1, 5))
        faults.wait_hit(call, 5)
        assert answer_within(meter, 0.2) is None
        assert acknowledged(site) == before
        assert 1 <= len(lines(site, f"journal write failed err={error}")) <= 20
        assert site.headend.metric("headend_journal_errors_total") >= 3

        faults.clear()
        assert meter.receive() == ack(1)
    fleet.wait_fates(stored=5 + 1 + 1, timeout=30)
    site.check_balance()


def test_node_starts_on_a_full_disk_and_waits_for_room(
        site, broker, fleet, faults):
    faults.set("fallocate", "ENOSPC", 0, FOREVER)
    site.start()
    site.wait_subscribed()
    broker.publish_all(uplinks(1, 5))
    faults.wait_hit("fallocate", 2)
    assert acknowledged(site) == 0
    assert lines(site, "journal segment not made err=ENOSPC")
    faults.clear()
    fleet.wait_fates(stored=5, timeout=30)


def test_interval_mode_keeps_what_was_acknowledged_before_any_sync(
        site, fleet):
    site.headend.configure(journal__sync="interval",
                           journal__sync_interval="60000")
    site.start()
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        for n in range(1, 101):
            assert meter.ask(rows(n)) == ack(n)
        assert site.headend.metric("headend_journal_syncs_total") == 0
        site.headend.kill()
    site.start()
    fleet.wait_fates(stored=100 + 1)
    site.check_balance()


@pytest.mark.parametrize("call, error", [("pwrite", "ENOSPC"),
                                         ("fdatasync", "EIO")])
def test_node_ends_cleanly_on_a_failing_disk(
        site, broker, fleet, faults, call, error):
    site.start()
    site.wait_subscribed()
    with site.gas_meter(SERIAL) as meter:
        assert meter.hello()["t"] == "ack"
        faults.set(call, error, 0, FOREVER)
        meter.send(rows(1))
        broker.publish_all(uplinks(1, 5))
        faults.wait_hit(call, 3)
        site.headend.stop()
        told = [meter.receive()]
        while told[-1]:
            told.append(meter.receive())
        assert ack(1) not in told
    faults.clear()
    site.start()
    wait_until(lambda: fleet.fates().get("stored", 0) >= 5 + 1, 30)
    site.check_balance()


def test_node_ends_cleanly_when_the_journal_is_full(
        site, broker, fleet, wire, tmp_path):
    site.headend.configure(
        journal__segment_size="1M", journal__quota="4M",
        database__url=f"postgresql://headend_server@/{site.database}"
                      f"?host={tmp_path}")
    site.start()
    site.wait_subscribed()
    wire.refuse()
    broker.publish_all(uplinks(1, 60, 100000))
    wait_until(lambda: site.headend.metric("headend_journal_full") == 1)
    site.headend.stop()
    wire.flow()
    site.start()
    # What was under way when it stopped comes again: duplicates, no loss.
    wait_until(lambda: fleet.fates().get("stored") == 60, 60)
    assert set(fleet.fates()) <= {"stored", "duplicate"}
