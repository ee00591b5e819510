"""What must not happen to a server on the open net: every piece of rubbish has
a fate and a reason, and the server goes on with bounded memory."""

import os
import random

import pytest
from harness import GOLDEN, Uplink, wait_until

EUI = "94193a00000069fe"
GROWTH_KIB = 96 * 1024  # sanitizers keep freed memory in quarantine


@pytest.fixture
def node(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.meter("69322582", dev_eui=EUI)
    demo.meter("24000123", "heo-g4")
    site.start()
    site.wait_subscribed()
    before = site.headend.memory_kib()
    yield demo
    assert site.headend.get("/healthz").status == 200
    assert site.headend.memory_kib() - before < GROWTH_KIB
    broker.publish(*Uplink(EUI, counter=999).chirpstack4())
    wait_until(lambda: demo.fates().get("stored"),
               what="the next good frame to be stored")
    site.check_balance()


def reasons(site, fate):
    wait_until(site.drained)
    rows = site.sql("SELECT DISTINCT reason FROM frame WHERE fate = %s",
                    (fate,))
    return {reason for reason, in rows}


def test_unknown_dev_eui_is_quarantined(site, broker, node):
    broker.publish(*Uplink("ffffffffffffff01").chirpstack4())
    node.wait_fates(quarantined=1)
    assert reasons(site, 3) == {"unknown_meter"}
    assert site.sql("SELECT reason FROM quarantine") == [("unknown_meter",)]


def test_unknown_serial_is_told_and_quarantined(site, node):
    with site.gas_meter("99999999") as meter:
        assert meter.hello() == {"t": "nak", "code": "unknown_device"}
        assert meter.receive() is None
    assert reasons(site, 3) == {"unknown_meter"}


@pytest.mark.parametrize("keep", [1, 2, 3, 5, len(GOLDEN) - 1])
def test_truncated_records_are_quarantined_whole(site, broker, node, keep):
    broker.publish(*Uplink(EUI, payload=GOLDEN[:keep]).chirpstack4())
    node.wait_fates(quarantined=1)
    reason, detail, payload = site.sql(
        "SELECT reason, detail, payload FROM frame WHERE fate = 3")[0]
    assert reason and detail
    assert bytes(payload) == GOLDEN[:keep]


def test_mebibyte_of_random_bytes_over_mqtt_is_rejected(site, broker, node):
    broker.publish(f"application/app/device/{EUI}/event/up",
                   os.urandom(1024 * 1024))
    node.wait_fates(rejected=1)
    assert reasons(site, 4) == {"too_large"}


@pytest.mark.parametrize("payload, reason", [
    (b"", None), (b"\x00", None), (b"[]", None), (b"nonsense", "not_json"),
    (b"{}", None), (b'{"deviceInfo":null}', None),
    (b'{"deviceInfo":{"devEui":"zz"}}', None),
    (b"\xff\xfe{}", "not_json"), (b"[" * 10000, None),
    (b'{"a":' * 10000, None),
])
def test_documents_that_are_no_uplink_are_rejected(site, broker, node,
                                                   payload, reason):
    broker.publish(f"application/app/device/{EUI}/event/up", payload)
    wait_until(lambda: node.fates(), what="a fate")
    seen = reasons(site, 4) | reasons(site, 3)
    assert seen and None not in seen and "" not in seen
    if reason:
        assert seen == {reason}


def rejected_with(site, reason):
    wait_until(lambda: reason in reasons(site, 4), what=reason)


def test_mebibyte_of_random_bytes_over_tcp_is_rejected(site, node):
    with site.gas_meter() as meter:
        noise = random.Random(1).randbytes(1024 * 1024)
        try:
            meter.send(b"x" + noise)
        except OSError:
            pass  # hung up on us while we were talking
    rejected_with(site, "not_json")


def test_line_that_never_ends_is_cut(site, node):
    with site.gas_meter() as meter:
        try:
            for _ in range(64):
                meter.send(b'{"t":"' + b"a" * 65536)
        except OSError:
            pass
    rejected_with(site, "line_too_long")


def test_invalid_utf8_is_rejected(site, node):
    with site.gas_meter("24000123") as meter:
        meter.hello()
        answer = meter.ask(b'{"t":"data","seq":1,"x":"\xc3\x28"}\n')
        assert answer["t"] == "nak" and answer["code"] == "invalid_utf8"
    rejected_with(site, "invalid_utf8")


@pytest.mark.parametrize("bomb", [b'{"a":' * 10000, b'{"a":' + b"[" * 10000],
                         ids=["objects", "arrays"])
def test_json_ten_thousand_deep_is_rejected(site, node, bomb):
    with site.gas_meter("24000123") as meter:
        meter.hello()
        answer = meter.ask(bomb)
        assert answer["t"] == "nak" and answer["code"] == "too_deep"
    rejected_with(site, "too_deep")


def test_data_before_hello_is_rejected(site, node):
    with site.gas_meter() as meter:
        answer = meter.ask({"t": "data", "seq": 1, "rows": []})
        assert answer["t"] == "nak" and answer["code"] == "no_hello"
    rejected_with(site, "no_hello")


def test_flood_of_rubbish_is_sampled_and_counted(site, broker, node):
    broker.publish_all((f"application/app/device/{EUI}/event/up", b"junk %d"
                        % i) for i in range(3000))
    wait_until(lambda: node.fates().get("rejected") == 3000, 30)
    site.check_balance()


def test_many_silent_connections_cost_little(site, node):
    before = site.headend.memory_kib()
    meters = [site.gas_meter() for _ in range(300)]
    wait_until(lambda: site.headend.metric("headend_tcp_sessions") >= 300)
    assert site.headend.memory_kib() - before < 16 * 1024
    for meter in meters:
        meter.close()
