"""Gas meters over TCP: the maker's leaflet table in both notations, lines that
drop before the ack, and what the protocol promises in between."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from harness import wait_until

SERIAL = "24000123"
COLUMNS = ["ts", "p_kpa", "t_c", "w", "v_work", "v_std", "sum_v_work",
           "sum_v_std"]
REGISTERS = {"7-0:42.0.0": "kPa", "7-0:41.0.0": "Cel", "7-0:52.0.0": "1",
             "7-0:3.0.0": "m3", "7-0:13.2.0": "m3", "7-128:3.0.0": "m3",
             "7-128:13.2.0": "m3"}


def leaflet():
    """21 hourly rows, newest first: (local time, values as printed)."""
    newest = datetime(2024, 1, 11, 12)
    for i in range(21):
        work, std = Decimal("4706") - 2 * i, Decimal("9412") - 4 * i
        yield newest - timedelta(hours=i), [
            "1.000", "23.21", "0.9500", f"{work}.0000", f"{std}.0000",
            "0.0000", "0.0000"]


def as_printed():
    """dd.mm.yyyy h:mm:ss and decimal commas, all text."""
    return [[f"{t.day:02d}.{t.month:02d}.{t.year} {t.hour}:{t:%M:%S}",
             *(v.replace(".", ",") for v in row)] for t, row in leaflet()]


def as_iso():
    return [[f"{t:%Y-%m-%dT%H:%M:%S}+03:00", *row] for t, row in leaflet()]


def as_objects():
    return [dict(zip(COLUMNS, row)) for row in as_iso()]


def data(seq, rows, columns=True):
    message = {"t": "data", "seq": seq, "kind": "hour", "rows": rows,
               "unit": "m3"}
    if columns:
        message["cols"] = COLUMNS
    return message


@pytest.fixture
def gas(site, demo):
    demo.gas = demo.meter(SERIAL, "heo-g4", zone="Europe/Moscow")
    site.start()
    return demo


def assert_leaflet(tenant):
    """All 21 rows, each value exact, at the right instant (Moscow, +03:00)."""
    seen = {(at, obis): v for (_, obis, at), v
            in tenant.readings(tenant.gas).items() if obis in REGISTERS}
    expected = {}
    for local, row in leaflet():
        at = f"{local - timedelta(hours=3):%Y-%m-%dT%H:%M:%S}"
        for (obis, unit), value in zip(REGISTERS.items(), row):
            expected[at, obis] = (Decimal(value), unit)
    assert seen == expected


@pytest.mark.parametrize("rows", [as_printed, as_iso, as_objects])
def test_leaflet_table_is_stored_exactly(site, gas, rows):
    with site.gas_meter(SERIAL) as meter:
        hello = meter.hello()
        assert hello["t"] == "ack" and hello["ref"] == "hello"
        assert hello["now"].endswith("+03:00")  # in the meter's own offset
        ack = meter.ask(data(417, rows()))
        assert ack == {"t": "ack", "seq": 417, "n": 21}
    gas.wait_fates(stored=2)
    assert_leaflet(gas)


def test_default_columns_are_the_leaflets(site, gas):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        assert meter.ask(data(1, as_iso(), columns=False))["t"] == "ack"
    gas.wait_fates(stored=2)
    assert_leaflet(gas)


def test_line_cut_before_the_ack_then_repeat_stores_once(site, gas):
    meter = site.gas_meter(SERIAL)
    meter.hello()
    meter.send(data(417, as_iso()))
    meter.finish_sending()
    meter.close()
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        assert meter.ask(data(417, as_iso())) == {
            "t": "ack", "seq": 417, "n": 21}
    wait_until(site.drained)
    assert_leaflet(gas)
    assert site.sql("SELECT count(*), max(revision) FROM reading WHERE "
                    "meter_id = %s AND obis = '7-0:3.0.0'",
                    (gas.gas,)) == [(21, 0)]


def test_same_rows_under_a_new_sequence_number_store_nothing(site, gas):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        for seq in (1, 2):
            assert meter.ask(data(seq, as_iso()))["seq"] == seq
    wait_until(site.drained)
    assert_leaflet(gas)
    assert site.sql("SELECT max(revision) FROM capture") == [(0,)]


def test_changed_value_is_a_new_revision_never_an_overwrite(site, gas):
    changed = as_iso()[:1]
    changed[0][4] = "4706.0001"
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        meter.ask(data(1, as_iso()[:1]))
        meter.ask(data(2, changed))
    gas.wait_fates(stored=3)
    rows = site.sql(
        "SELECT revision, value FROM reading WHERE obis = '7-0:3.0.0' "
        "ORDER BY revision")
    assert rows == [(0, Decimal("4706.0000")), (1, Decimal("4706.0001"))]
    assert site.sql("SELECT value FROM reading_current WHERE obis = "
                    "'7-0:3.0.0'") == [(Decimal("4706.0001"),)]


def test_concatenated_objects_need_no_newline(site, gas):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        meter.send(b'{"t":"data","seq":5,"kind":"hour","rows":[]}'
                   b'{"t":"alarm","seq":6,"items":[{"ts":'
                   b'"2024-01-11T12:00:00+03:00","code":'
                   b'"battery_cover_open","state":1}]}')
        assert meter.receive()["seq"] == 5
        assert meter.receive()["seq"] == 6
    wait_until(site.drained)
    assert site.sql("SELECT count(*) FROM event WHERE meter_id = %s",
                    (gas.gas,)) == [(1,)]


def test_server_says_bye_and_hangs_up_when_all_is_told(site, gas):
    site.headend.stop()
    site.headend.configure(tcp__bye_after="1", tcp__linger="1")
    site.start()
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        meter.ask(data(1, as_iso()))
        assert meter.receive() == {"t": "bye"}
        assert meter.receive() is None


def test_newer_session_of_a_meter_replaces_the_older(site, gas):
    with site.gas_meter(SERIAL) as old, site.gas_meter(SERIAL) as new:
        old.hello()
        assert new.hello()["t"] == "ack"
        assert old.receive()["code"] == "replaced"
        assert old.receive() is None
        assert new.ask(data(1, as_iso()))["t"] == "ack"


def test_unknown_members_and_columns_are_kept(site, gas):
    with site.gas_meter(SERIAL) as meter:
        meter.hello()
        message = data(9, [["2024-01-11T12:00:00+03:00", "1.5", "abc"]])
        message["cols"] = ["ts", "v_work", "mood"]
        message["weather"] = "rain"
        assert meter.ask(message)["t"] == "ack"
    gas.wait_fates(stored=2)
    kept = " ".join(text for text, in site.sql(
        "SELECT extras::text FROM frame WHERE extras IS NOT NULL"))
    assert "mood=abc" in kept and "weather=rain" in kept
