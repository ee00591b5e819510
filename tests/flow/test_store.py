"""What the store promises: money-safe conflicts, exactly-once effect, and no
frame that can stop the frames behind it."""

import re
import threading
from decimal import Decimal

import psycopg2
import pytest
from harness import Uplink, wait_until

SERIAL = "24000123"
AT = "2024-01-11T12:00:00+03:00"


@pytest.fixture
def gas(site, demo):
    demo.gas = demo.meter(SERIAL, model="heo-g4", zone="Europe/Moscow")
    site.start()
    return demo


def send(site, seq, value, at=AT):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        answer = meter.ask({"t": "data", "seq": seq, "kind": "hour",
                            "cols": ["ts", "v_work"], "rows": [[at, value]]})
        assert answer == {"t": "ack", "seq": seq, "n": 1}


def volumes(site, view):
    return site.sql(f"SELECT revision, value FROM {view} WHERE "
                    "obis = '7-0:3.0.0' ORDER BY time, revision")


def everything(site):
    """All that a second run of the journal must leave as it is."""
    return [site.sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table
            in ("frame", "capture", "event", "ledger", "clock_sample")]


def test_other_values_for_one_time_become_a_revision_and_an_event(site, gas):
    for seq, value in enumerate(["4706.0000", "4710.0000", "4706.0000",
                                 "4710.0000"], start=1):
        send(site, seq, value)
    site.check_balance()
    first, second = Decimal("4706"), Decimal("4710")
    assert volumes(site, "reading") == [(0, first), (1, second)]
    assert volumes(site, "reading_current") == [(1, second)]
    assert site.sql("SELECT count(*) FROM event WHERE "
                    "code = 'reading.conflict'") == [(1,)]
    # The third and fourth brought nothing new.
    assert site.sql("SELECT fate FROM frame WHERE counter IS NOT NULL "
                    "ORDER BY counter") == [(1,), (1,), (2,), (2,)]


def test_running_the_journal_again_changes_nothing(site, gas):
    for seq, value in enumerate(["4706", "4708", "4708"], start=1):
        send(site, seq, value)
    site.check_balance()
    before = everything(site)
    site.headend.stop()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    site.check_balance()
    assert everything(site) == before


def test_a_frame_that_postgresql_refuses_is_set_aside_alone(site, gas):
    site.sql("ALTER TABLE capture ADD CONSTRAINT unlucky "
             "CHECK (values[1] <> 130000)")
    for seq, value in enumerate(["12", "13", "14"], start=1):
        send(site, seq, value, f"2024-01-11T1{seq}:00:00Z")
    site.check_balance()
    assert volumes(site, "reading") == [(0, 12), (0, 14)]
    reason, detail = site.sql("SELECT reason, detail FROM quarantine")[0]
    assert reason == "store_refused" and "unlucky" in detail
    site.sql("ALTER TABLE capture DROP CONSTRAINT unlucky")
    site.headend.cli("replay", "--tenant", "demo", "--all")
    assert volumes(site, "reading") == [(0, 12), (0, 13), (0, 14)]
    assert site.sql("SELECT count(*) FROM quarantine") == [(0,)]


def test_frames_longer_than_a_page_are_stored_whole(site, gas, cluster):
    def history(seq, day, n):
        rows = [[f"2024-02-{day:02d}T{i // 60:02d}:{i % 60:02d}:00+03:00", i]
                for i in range(n)]
        with site.gas_meter(SERIAL) as meter:
            meter.hello()
            assert meter.ask({"t": "data", "seq": seq, "kind": "hour",
                              "cols": ["ts", "v_work"], "rows": rows}) == {
                                  "t": "ack", "seq": seq, "n": n}

    send(site, 1, 10.5)
    history(2, 1, 400)
    wait_until(site.drained)
    cluster.stop()
    history(3, 2, 500)  # the first that a new connection sees
    cluster.start()
    send(site, 4, 11.5, at="2024-01-11T13:00:00+03:00")
    wait_until(site.drained, 40)
    assert site.sql("SELECT count(*) FROM capture WHERE time BETWEEN "
                    "'2024-01-31' AND '2024-02-03'")[0][0] == 900
    assert site.sql("SELECT count(*) FROM frame WHERE octet_length(payload) >"
                    " 9000")[0][0] == 2
    assert "refused" not in site.headend.log()


def test_damage_in_the_journal_costs_the_damaged_record_only(site, cluster,
                                                             gas):
    cluster.stop()
    try:
        for seq, value in enumerate(["12", "13", "14"], start=1):
            send(site, seq, value, f"2024-01-11T1{seq}:00:00Z")
        site.headend.kill()
        segment = sorted((site.headend.dir / "journal").glob("*.seg"))[0]
        data = bytearray(segment.read_bytes())
        at = data.index(b'"2024-01-11T12:00:00Z", "13"')
        data[at + 25] ^= 0x40
        segment.write_bytes(data)
    finally:
        cluster.start()
    site.start()
    wait_until(site.drained)
    assert volumes(site, "reading") == [(0, 12), (0, 14)]
    rows = site.sql("SELECT tenant_id, reason FROM quarantine")
    assert rows == [(0, "journal_damaged")]
    assert "journal damaged" in site.headend.log()


def test_a_strangers_frame_moves_to_its_tenant_when_replayed(site, demo):
    """On the shared listener an unknown serial belongs to nobody yet."""
    site.start()
    with site.gas_meter(SERIAL) as meter:
        assert meter.ask({"t": "hello", "v": 1, "sn": SERIAL, "bat": 87,
                          "clk": AT}) == {"t": "nak", "code": "unknown_device"}
    wait_until(lambda: site.fates(0) == {"quarantined": 1})
    site.headend.stop()  # running, it would replay by itself
    meter_id = demo.meter(SERIAL, model="heo-g4")
    said = site.headend.cli("replay", "--tenant", "platform", "--all")
    assert "1 frames: 1 stored" in said
    assert site.fates(0) == {} and demo.fates() == {"stored": 1}
    assert demo.readings(meter_id)
    assert site.sql("SELECT count(*) FROM quarantine") == [(0,)]
    site.start()
    site.check_balance()


def test_two_writers_may_need_the_same_new_partition(site):
    ask = "SELECT ensure_partition('capture', 'month', '2024-05-05')"
    first, second = (psycopg2.connect(site.cluster.url(site.database))
                     for _ in range(2))
    first.cursor().execute(ask)
    failed = []

    def other():
        try:
            second.cursor().execute(ask)
            second.commit()
        except psycopg2.Error as e:
            failed.append(e)
    thread = threading.Thread(target=other)
    thread.start()
    wait_until(lambda: site.sql("SELECT 1 FROM pg_locks WHERE NOT granted AND "
                                "locktype = 'advisory'"))
    first.commit()
    thread.join(20)
    assert not failed
    first.close()
    second.close()


def test_clock_that_jumps_ahead_does_not_empty_the_house(site, demo):
    """Retention takes two days' worth at a time, the oldest first."""
    site.sql("SELECT ensure_partition('frame', 'day', now() - d * interval "
             "'1 day') FROM generate_series(200, 209) d")
    site.sql("INSERT INTO frame (received_at, frame_time, frame_id, tenant_id,"
             " size, source, fate, payload) SELECT now() - d * interval '1 day'"
             ", now(), d, %s, 1, 1, 1, '' FROM generate_series(200, 209) d",
             (demo.id,))

    def kept():
        return [n for n, in site.sql("SELECT frame_id FROM frame ORDER BY 1")]

    site.sql("SELECT maintain('1 day')")
    assert kept() == list(range(200, 208))
    site.sql("UPDATE tenant SET frame_days = 3660 WHERE tenant_id = 0")
    site.sql("SELECT maintain('1 day'), expire_frames()")  # a tenant's own
    assert kept() == list(range(200, 206))
    for _ in range(3):
        site.sql("SELECT expire_frames()")
    assert kept() == []


def test_a_database_too_slow_for_a_batch_gets_smaller_ones(site, broker, demo):
    """Twenty captures take six seconds here, a batch may take two."""
    demo.integration("chirpstack", broker.url)
    demo.meter("69322582", dev_eui="94193a00000069fe")
    site.sql("SELECT ensure_partition('capture', 'month', '2026-01-15');"
             "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$"
             "BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;"
             "CREATE TRIGGER slow BEFORE INSERT ON capture FOR EACH ROW"
             " EXECUTE FUNCTION slowly()")
    site.headend.configure(database__batch_timeout="2")
    site.start()
    site.wait_subscribed()
    broker.publish_all([Uplink(
        "94193a00000069fe", counter=i,
        time=f"2026-01-15T12:{i:02d}:00+00:00").chirpstack4()
        for i in range(20)])
    demo.wait_fates(60, stored=20)
    assert site.sql("SELECT count(*) FROM capture")[0][0] == 20
    assert re.search(r"batch not stored frames=(?!1 )\d+ next=\d+ .*batch_timeout",
                     site.headend.log())
    site.check_balance()
