"""What never came is seen: gaps in the counters of frames, told apart from
rejoins, resets, rollovers, late arrivals and repetitions."""

import pytest
from harness import Headend, HeoMeter, Uplink, wait_equal, wait_until

EUI, SERIAL = "94193a00000069fe", "24000123"


@pytest.fixture
def node(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.heat = demo.meter("69322582", dev_eui=EUI)
    demo.gas = demo.meter(SERIAL, "heo-g4")
    demo.sent = 0
    demo.broker = broker
    site.start()
    site.wait_subscribed()
    return demo


def uplink(counter, minute=None, dev_addr="01ab23cd", **what):
    """Sent in the minute of its counter, unless told otherwise."""
    minute = counter if minute is None else minute
    return Uplink(EUI, counter=counter, dev_addr=dev_addr,
                  time=f"2026-01-15T{minute // 60:02d}:{minute % 60:02d}:00"
                       "+00:00", **what).chirpstack4()


def publish(node, *uplinks):
    """All of them in one go; until they have their fates."""
    node.broker.publish_all(uplinks)
    node.sent += len(uplinks)
    wait_equal(lambda: sum(node.fates().values()), node.sent)


def say(meter, seq):
    meter.ask({"t": "data", "seq": seq, "cols": ["ts", "v_work"], "rows":
               [[f"2024-01-11T12:{seq:02d}:00+03:00", f"{seq}.0"]]})


def gaps(node):
    """{meter id: (received, missing, late, counters)} of all meters."""
    rows = node.site.sql("SELECT meter_id, received, skipped - late, late, "
                         "open::text FROM frame_counter")
    return {row[0]: row[1:] for row in rows}


def events(node):
    return [d for d, in node.site.sql(
        "SELECT detail FROM event WHERE code = 'frame.gap' ORDER BY time")]


def booked(node):
    """(missing, late): the ledger's, which agree with the metrics'."""
    total, = node.get("/api/v1/ledger", by="total").json["ledger"]
    seen = total["missing"], total["late"]
    wait_equal(lambda: tuple(node.site.headend.metric(
        f"headend_frames_{n}_total") for n in ("missing", "late")), seen)
    assert seen == node.site.sql(
        "SELECT sum(skipped), sum(late) FROM frame_counter")[0]
    return seen


def test_gap_is_an_event_a_count_and_a_list(site, node):
    publish(node, *[uplink(n) for n in (1, 2, 3, 7, 8, 10)])
    assert booked(node) == (4, 0)
    assert events(node) == ["3 frames missing: counters 4 to 6",
                            "1 frame missing: counter 9"]
    meter, = node.get("/api/v1/gaps").json["gaps"]
    assert meter["last_at"].startswith("2026-01-15T00:10:00")
    del meter["last_at"]
    assert meter == {"meter_id": node.heat, "serial": "69322582",
                     "dev_eui": EUI, "received": 6, "missing": 4, "late": 0,
                     "last_counter": 10, "counters": [[4, 6], [9, 9]]}
    printed, = site.headend.cli_json("gaps", "--tenant", "demo")["gaps"]
    assert (int(printed["missing"]), printed["counters"]) == (4, "4-6 9")
    ledger, = [r for r in site.headend.cli_json("ledger")["ledger"]
               if r["tenant"] == "demo"]
    assert int(ledger["missing"]) == 4
    other = site.tenant("other")
    assert other.get("/api/v1/gaps").json["gaps"] == []
    site.check_balance()


def test_late_frames_fill_the_gap_and_repeated_ones_change_nothing(node):
    publish(node, uplink(1), uplink(6))
    assert booked(node) == (4, 0)
    publish(node, uplink(4), uplink(3))
    assert booked(node) == (4, 2)
    assert gaps(node)[node.heat] == (4, 2, 2, "{[2,3),[5,6)}")
    publish(node, uplink(3), uplink(6), uplink(1), uplink(6))
    assert booked(node) == (4, 2)
    publish(node, uplink(5), uplink(2))
    assert booked(node) == (4, 4)
    assert node.get("/api/v1/gaps").json["gaps"] == []
    publish(node, uplink(7))
    assert gaps(node)[node.heat] == (7, 0, 4, "{}")


def test_a_frame_that_goes_on_needs_no_key_and_is_known_when_it_comes_again(
        site, node):
    say_all = [uplink(n) for n in (1, 2, 3, 4, 6, 7)]
    for one in say_all:
        publish(node, one)
    keys = site.sql("SELECT f.counter FROM frame_key k JOIN frame f USING "
                    "(tenant_id, frame_id) ORDER BY 1")
    assert keys == [(1,), (6,)]  # the first one, and the one behind a gap
    publish(node, *say_all, *say_all)
    assert node.fates() == {"stored": 6, "duplicate": 12}
    assert site.sql("SELECT count(*) FROM frame d JOIN frame f ON f.frame_id ="
                    " d.duplicate_of AND f.fate = 1 AND f.counter = d.counter "
                    "WHERE d.fate = 2") == [(12,)]
    before = site.sql("SELECT * FROM frame ORDER BY frame_id")
    site.headend.stop()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    site.check_balance()
    assert site.sql("SELECT * FROM frame ORDER BY frame_id") == before


def test_order_within_a_batch_does_not_matter(site, node):
    """The database is away, so all of it comes in one batch."""
    site.cluster.stop()
    try:
        sent = [uplink(n) for n in (5, 3, 3, 9, 4, 1, 10)]
        node.broker.publish_all(sent)
        wait_equal(lambda: site.headend.metric(
            "headend_tenant_frames_received_total"), len(sent))
    finally:
        site.cluster.start()
    wait_equal(lambda: sum(node.fates().values()), len(sent), 30)
    assert gaps(node)[node.heat][1:] == (4, 0, "{[2,3),[6,9)}")


def test_rejoin_and_reset_are_no_gap(node):
    publish(node, uplink(500), uplink(501))
    publish(node, uplink(0, 502, "01ab23ce"), uplink(1, 503, "01ab23ce"))
    publish(node, uplink(505, 502))  # late, of the session that is over
    assert booked(node) == (0, 0)
    publish(node, uplink(7, 510, "01ab23ce"))
    assert booked(node) == (5, 0)
    publish(node, uplink(0, 511, "01ab23ce", payload=b"\x1e\x01"))  # a reset
    publish(node, uplink(1, 512, "01ab23ce"), uplink(2, 513, "01ab23ce"))
    assert booked(node) == (5, 0)
    publish(node, uplink(900000, 514, "01ab23ce"))  # no network takes that step
    assert booked(node) == (5, 0)
    assert events(node)[1:] == [
        "the counter went from 2 to 900000: another numbering"]


@pytest.mark.parametrize("bits", [16, 32])
def test_rollover_is_no_reset(node, bits):
    top = 2**bits
    publish(node, uplink(top - 3, 1), uplink(top - 1, 3), uplink(1, 5))
    assert booked(node) == (2, 0)
    publish(node, uplink(top - 2, 2))
    assert booked(node) == (2, 1)
    publish(node, uplink(0, 4), uplink(2, 6))
    assert booked(node) == (2, 2)
    assert gaps(node)[node.heat][3] == "{}"


def test_sequence_of_a_gas_meter_is_watched_too(site, node):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        for seq in (10, 11, 15):
            meter.ask({"t": "data", "seq": seq, "cols": ["ts", "v_work"],
                       "rows": [[f"2024-01-11T12:{seq}:00+03:00", "1.0"]]})
    wait_until(site.drained)
    assert booked(node) == (3, 0)
    assert gaps(node)[node.gas][1] == 3
    with site.gas_meter(SERIAL) as meter:  # from the beginning again
        meter.hello()
        for seq in (1, 2):
            meter.ask({"t": "data", "seq": seq, "cols": ["ts", "v_work"],
                       "rows": [[f"2024-01-12T12:{seq:02d}:00+03:00", "1.0"]]})
    wait_until(site.drained)
    assert booked(node) == (3, 0)


def test_gap_is_counted_once_whatever_runs_again(site, node):
    """The journal again, the quarantine again, a server killed in between."""
    publish(node, uplink(1), uplink(4), uplink(6, payload=b"\x1e"))
    assert booked(node) == (3, 0)
    before, told = gaps(node), events(node)
    site.headend.kill()
    site.sql("UPDATE journal SET cursor = 0")
    site.start()
    wait_until(site.drained)
    site.headend.cli("replay", "--tenant", "demo", "--all")
    assert (gaps(node), events(node)) == (before, told)
    total, = node.get("/api/v1/ledger", by="total").json["ledger"]
    assert (total["missing"], total["late"]) == (3, 0)


def test_frames_before_a_registration_are_counted_with_it(site, node):
    other = "94193a00000069ff"
    early = [Uplink(other, counter=n, time=f"2026-01-15T00:0{n}:00+00:00")
             .chirpstack4() for n in (1, 2, 4)]
    publish(node, *early)
    assert gaps(node) == {}
    meter = node.meter("69322583", dev_eui=other)
    wait_until(lambda: node.fates() == {"stored": 3})
    assert gaps(node)[meter] == (3, 1, 0, "{[3,4)}")


def test_nodes_with_a_part_each_see_no_gap_in_the_end(site, demo, tmp_path):
    """One of two nodes cannot store while the other goes on."""
    gas = demo.meter(SERIAL, "heo-g4")
    site.start()
    (tmp_path / "second").mkdir()
    second = Headend(tmp_path / "second", {
        k: v for k, v in site.headend.settings.items()
        if k.startswith("database")})
    try:
        second.start()
        with site.gas_meter(SERIAL) as meter:
            meter.hello()
            say(meter, 1)
            wait_equal(lambda: gaps(demo).get(gas), (1, 0, 0, "{}"))
            site.sql("ALTER TABLE journal ADD CONSTRAINT wait CHECK "
                     "(journal_no <> 1) NOT VALID")
            for seq in (2, 3, 5):
                say(meter, seq)
        with HeoMeter(second.tcp_port, SERIAL) as meter:
            meter.hello()
            for seq in (6, 8):
                say(meter, seq)
        wait_equal(lambda: gaps(demo)[gas][1:3], (5, 0))
        site.headend.kill()
        site.sql("ALTER TABLE journal DROP CONSTRAINT wait")
        site.start()
        wait_until(site.drained)
        assert gaps(demo)[gas] == (6, 2, 3, "{[4,5),[7,8)}")
    finally:
        second.stop()


def test_two_nodes_that_get_the_same_frames_store_them_once(
        site, demo, tmp_path):
    demo.meter(SERIAL, "heo-g4")
    site.start()
    (tmp_path / "second").mkdir()
    second = Headend(tmp_path / "second", {
        k: v for k, v in site.headend.settings.items()
        if k.startswith("database")})
    try:
        second.start()
        with HeoMeter(site.headend.tcp_port, SERIAL) as one, \
                HeoMeter(second.tcp_port, SERIAL) as other:
            for meter in one, other:
                meter.hello()
            for seq in range(1, 40):
                line = {"t": "data", "seq": seq, "cols": ["ts", "v_work"],
                        "rows": [[f"2024-01-11T12:{seq:02d}:00+03:00",
                                  f"{seq}.0"]]}
                for meter in one, other:
                    meter.send(line)
                assert [m.receive()["t"] for m in (one, other)] == ["ack"] * 2
        # The hello is a frame, too, and tells readings.
        wait_equal(demo.fates, {"stored": 40, "duplicate": 40})
        assert site.sql("SELECT count(*) FROM capture") == [(40,)]
    finally:
        second.stop()
