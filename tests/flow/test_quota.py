"""A tenant that sends more than it may is slowed, loses nothing, and nobody
else notices."""

import statistics
import time

import pytest
from harness import Uplink, signed_in, wait_until

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


# ---- meters, codecs, days ----

def test_quotas_of_meters_codecs_and_days_are_kept(site, demo):
    site.start()
    admin = signed_in(site, "anna@example.org")
    root = signed_in(site, "root@example.org", "platform", "platform operator")
    quotas = {"meter_quota": 2, "codec_quota": 1, "frame_days_quota": 30,
              "uplinks_per_minute": 600}
    status, told = root.call("PATCH", f"/api/v1/tenants/{demo.id}", quotas)
    assert status == 200 and quotas.items() <= told.items()
    assert told["frame_days"] == 30  # it was 90
    wait_until(lambda: metric(site, "headend_tenant_quota", demo) == 600)

    def post(path, **body):
        status, why = admin.call("POST", f"/api/v1/{path}", body)
        return status, why.get("field"), why.get("detail", "")
    model = "heo-g4"
    for serial, expected in ("1", 201), ("2", 201), ("3", 409):
        status, _, why = post("meters", serial=serial, model=model)
        assert status == expected, why
    assert "2 meters" in why
    script = "function Decoder() { return {}; }"
    for name, text, expected in (("a", script, 201), ("a", script + "//", 201),
                                 ("b", script, 409)):
        status, field, why = post("codecs", name=name, script=text)
        assert status == expected, why
    assert field == "name" and "1 payload codecs" in why
    status, why = admin.call("PATCH", "/api/v1/tenant", {"frame_days": 31})
    assert (status, why["field"]) == (422, "frame_days")
    assert "30 days" in why["detail"]
    assert admin.call("PATCH", "/api/v1/tenant", {"frame_days": 7})[0] == 200
    assert admin.call("GET", "/api/v1/tenant")[1]["codec_quota"] == 1
    # The same by hand; and no limit again.
    done = site.headend.run("meter", "add", "--tenant", "demo", "--serial",
                            "3", "--model", model)
    assert done.returncode == 1 and "2 meters" in done.stderr
    site.headend.cli("tenant", "set", "demo", "--meters", "none", "--codecs",
                     "2", "--frame-days", "none")
    assert post("meters", serial="3", model=model)[0] == 201
    assert post("codecs", name="b", script=script)[0] == 201
    assert admin.call("PATCH", "/api/v1/tenant", {"frame_days": 3660})[0] == 200
    for wrong in "-1", "x", "":
        done = site.headend.run("tenant", "set", "demo", f"--meters={wrong}")
        assert done.returncode != 0 and "it takes a number" in done.stderr


def test_codecs_that_are_too_big_together_are_413(site, demo):
    site.start()
    admin = signed_in(site, "anna@example.org")
    site.sql("INSERT INTO codec (tenant_id, name, version, script) SELECT %s, "
             "'big' || n, 1, repeat('x', 1 << 20) FROM generate_series(1, 64) n "
             "RETURNING 1", (demo.id,))
    status, why = admin.call("POST", "/api/v1/codecs", {
        "name": "more", "script": "function Decoder() { return {}; }"})
    assert status == 413 and "64 MiB" in why["detail"]
