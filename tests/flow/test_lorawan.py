"""The worked Elvaco telegram through the real broker, as each network server
tells it: exact values, and nothing twice."""

import json
import uuid
from decimal import Decimal

import pytest
from harness import GOLDEN_VALUES, Uplink, wait_until

EUI = "94193a00000069fe"
FORMATS = {
    "chirpstack4": ("chirpstack", Uplink.chirpstack4),
    "chirpstack3": ("chirpstack", Uplink.chirpstack3),
    "chirpstack3_protobuf": ("chirpstack", Uplink.chirpstack3_protobuf_json),
    "the_things_stack": ("tts", Uplink.the_things_stack),
}


@pytest.fixture
def heat(site, broker, demo):
    """A running node with one LoRaWAN integration per kind of server."""
    demo.integration("chirpstack", broker.url)
    demo.integration("tts", broker.url)
    demo.heat = demo.meter("69322582", dev_eui=EUI)
    site.start()
    site.wait_subscribed(2)
    return demo


def values(tenant, meter):
    """{register: (value, unit)}; the meter must have one capture only."""
    readings = tenant.readings(meter)
    assert len({at for _, _, at in readings}) == 1, readings
    return {obis: v for (_, obis, _), v in readings.items()}


def assert_golden(tenant, meter):
    seen = values(tenant, meter)
    for obis, (value, unit) in GOLDEN_VALUES.items():
        assert seen[obis] == (Decimal(value), unit), obis
    assert set(seen) == set(GOLDEN_VALUES)


@pytest.mark.parametrize("form", FORMATS)
def test_golden_telegram_is_stored_exactly(heat, broker, form):
    kind, tell = FORMATS[form]
    broker.publish(*tell(Uplink(EUI)))
    heat.wait_fates(stored=1)
    assert_golden(heat, heat.heat)


def test_volume_keeps_its_decimals(heat, broker):
    broker.publish(*Uplink(EUI).chirpstack4())
    heat.wait_fates(stored=1)
    assert str(values(heat, heat.heat)["6-0:2.0.0"][0]) == "2013.060"


def test_repeated_event_and_repeated_uplink_store_nothing(heat, broker):
    uplink = Uplink(EUI)
    broker.publish(*uplink.chirpstack4())
    heat.wait_fates(stored=1)
    before = heat.readings()
    broker.publish(*uplink.chirpstack4())
    uplink.dedup_id = str(uuid.uuid4())
    broker.publish(*uplink.chirpstack4())
    heat.wait_fates(stored=1, duplicate=2)
    assert heat.readings() == before


def test_another_meter_with_the_same_payload_gets_the_same_values(
        heat, broker):
    meters = {}
    for i, (form, (_, tell)) in enumerate(FORMATS.items()):
        eui = f"94193a000000700{i}"
        meters[form] = heat.meter(f"7000000{i}", dev_eui=eui)
        wait_until(lambda: heat.site.headend.metric("headend_meters") == i + 2)
        broker.publish(*tell(Uplink(eui)))
    heat.wait_fates(stored=len(FORMATS))
    for meter in meters.values():
        assert_golden(heat, meter)


def test_reading_time_is_when_the_network_heard_it(heat, broker):
    broker.publish(*Uplink(EUI).chirpstack4())
    heat.wait_fates(stored=1)
    assert {at for _, _, at in heat.readings()} == {"2026-01-15T12:00:00"}


def test_join_is_no_reading_and_no_trouble(heat, broker):
    topic, text = Uplink(EUI).chirpstack4()
    document = json.loads(text)
    for name in ("fCnt", "fPort", "data", "rxInfo", "txInfo"):
        del document[name]
    broker.publish(topic.replace("/up", "/join"), json.dumps(document))
    wait_until(lambda: sum(heat.fates().values()) == 1)
    assert heat.fates() == {"stored": 1}
    assert heat.readings() == {}


def test_broker_restart_loses_nothing(heat, broker, site):
    broker.publish(*Uplink(EUI, counter=1).chirpstack4())
    heat.wait_fates(stored=1)
    broker.stop()
    wait_until(lambda: site.headend.metric("headend_bridges_connected") == 0)
    broker.start()  # its persistent sessions queue for the bridge
    for counter in range(2, 12):
        at = f"2026-01-15T12:00:{counter:02d}+00:00"
        broker.publish(*Uplink(EUI, counter=counter, time=at).chirpstack4())
    heat.wait_fates(stored=11, timeout=40)


def test_new_integration_is_picked_up_by_a_running_server(site, broker, demo):
    site.start()
    meter = demo.meter("69322582", dev_eui=EUI)
    demo.integration("chirpstack", broker.url)
    site.wait_subscribed()
    broker.publish(*Uplink(EUI).chirpstack4())
    demo.wait_fates(stored=1)
    assert_golden(demo, meter)
