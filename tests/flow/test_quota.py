"""A tenant that sends more than it may is slowed, loses nothing, and nobody
else notices."""

import statistics
import time

import pytest
from harness import Uplink, wait_until

PER_MINUTE = 600  # ten a second, a burst of a hundred
FLOOD = 500


@pytest.fixture
def two(site, broker):
    """A loud and a quiet tenant on one broker."""
    loud, quiet = site.tenant("loud"), site.tenant("quiet")
    for i, tenant in enumerate((loud, quiet)):
        tenant.prefix = f"{tenant.name}/"
        tenant.eui = f"94193a00000000{i:02x}"
        tenant.meter(f"6932258{i}", dev_eui=tenant.eui)
        tenant.integration("chirpstack", broker.url, None, "--topic-prefix",
                           tenant.prefix)
    site.start()
    site.wait_subscribed(2)
    return loud, quiet


def uplinks(tenant, counters):
    for counter in counters:
        topic, text = Uplink(tenant.eui, counter=counter).chirpstack4()
        yield tenant.prefix + topic, text


def arrived(tenant):
    return sum(tenant.fates().values())


def delay(broker, tenant, counters):
    """Median seconds from publish to its fate, one uplink at a time."""
    delays = []
    for counter in counters:
        before = arrived(tenant)
        began = time.monotonic()
        broker.publish(*next(uplinks(tenant, [counter])))
        wait_until(lambda: arrived(tenant) > before)
        delays.append(time.monotonic() - began)
    return statistics.median(delays)


def metric(site, name, tenant):
    return site.headend.metrics().get(f'{name}{{tenant="{tenant.id}"}}', 0)


def set_quota(site, tenant, n):
    site.headend.cli("tenant", "set", tenant.name, "--uplinks-per-minute", n)
    wait_until(lambda: metric(site, "headend_tenant_quota", tenant) == n)


def test_tenant_over_its_quota_is_slowed_and_others_are_not(
        site, broker, two):
    loud, quiet = two
    set_quota(site, loud, PER_MINUTE)
    alone = delay(broker, quiet, range(1, 11))
    began = time.monotonic()
    broker.publish_all(uplinks(loud, range(1, FLOOD + 1)))
    wait_until(lambda: metric(site, "headend_tenant_slow", loud) == 1)
    beside = delay(broker, quiet, range(11, 21))
    got, took = arrived(loud), time.monotonic() - began
    assert got <= 100 + 10 * took + 5, "the quota was not kept"
    assert metric(site, "headend_tenant_slowed_frames_total", loud) > 0
    assert metric(site, "headend_tenant_slow", quiet) == 0
    assert beside < 3 * alone + 0.1, "the quiet tenant was delayed as well"
    assert "tenant is over its quota" in site.headend.log()
    set_quota(site, loud, 0)  # and nothing of it was lost
    wait_until(lambda: arrived(loud) == FLOOD)
    site.check_balance()


def test_slowed_meter_keeps_its_line_and_gets_every_ack(site, two):
    loud, _ = two
    serial = "24000123"
    loud.meter(serial, "heo-g4")
    set_quota(site, loud, 60)
    with site.gas_meter(serial) as meter:
        assert meter.hello()["t"] == "ack"
        began = time.monotonic()
        for seq in range(1, 16):
            meter.send({"t": "data", "seq": seq, "rows": []})
        assert [meter.receive()["seq"] for _ in range(15)] == \
            list(range(1, 16))
        assert time.monotonic() - began > 2, "it was not slowed"


def test_quota_is_refused_where_it_makes_no_sense(site, demo):
    for n, said in (("-1", "it takes 0 to"), ("x", "it takes 0 to")):
        done = site.headend.run("tenant", "set", "demo",
                                f"--uplinks-per-minute={n}")
        assert done.returncode != 0 and said in done.stderr
    done = site.headend.run("tenant", "set", "nobody",
                            "--uplinks-per-minute=5")
    assert done.returncode != 0 and "nobody" in done.stderr
