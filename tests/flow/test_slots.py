"""Contact slots: given, told to meters that understand it, seen to be kept, and
counted ahead; those that cannot be told keep the minute they have."""

import base64
from datetime import datetime, timedelta, timezone

import pytest
from harness import Uplink, wait_until
from harness.api import send
from harness.lns import Downlinks

EUI = "94193a00000069fe"
READINGS = bytes.fromhex("0104068FA10100041384B71E00")


def now():
    return datetime.now(timezone.utc)


def bearer(tenant):
    return {"Authorization": f"Bearer {tenant.token}"}


def slot(tenant, meter):
    rows = tenant.site.sql(
        "SELECT slot * 60 + second AS at_s, handed_at, told, kept_at FROM "
        "contact_slot WHERE tenant_id = %s AND meter_id = %s",
        (tenant.id, meter))
    return rows[0] if rows else None


def clock(tenant, meter):
    return tenant.get(f"/api/v1/meters/{meter}/clock").json


def patch(tenant, body):
    return send(tenant.site.headend, "PATCH", "/api/v1/contact-plan",
                bearer(tenant), body)


def call(site):
    meter = site.gas_meter("24000123")
    assert meter.hello(now().isoformat(timespec="seconds"))["t"] == "ack"
    return meter


MANY = 10600  # more than are read and written at once


def test_meters_get_slots_that_spread_the_load(site, demo):
    site.sql("INSERT INTO meter (tenant_id, serial, model_id) SELECT %s, "
             "'s' || i, (SELECT model_id FROM meter_model WHERE tenant_id = %s "
             "AND name = 'heo-g4') FROM generate_series(1, %s) i",
             (demo.id, demo.id, MANY))
    site.start()

    def slots():
        return dict(site.sql("SELECT meter_id, slot FROM contact_slot WHERE "
                             "tenant_id = %s", (demo.id,)))

    wait_until(lambda: site.sql("SELECT planned_at FROM contact_plan WHERE "
                                "tenant_id = %s", (demo.id,)), 20, "a plan")
    before = slots()
    assert len(before) == MANY
    late = demo.meter("late", "heo-g4")
    wait_until(lambda: slot(demo, late), 20, "a slot for the new one")
    after = slots()
    assert {m: s for m, s in after.items() if m != late} == before
    wait_until(lambda: sum(demo.get("/api/v1/contact-forecast").json["minutes"])
               == (MANY + 1) * 24, what="the forecast")
    forecast = demo.get("/api/v1/contact-forecast").json
    assert max(forecast["minutes"]) == forecast["most"]
    assert forecast["most"] <= 1.3 * forecast["mean"]
    seen = clock(demo, late)
    assert seen["slot_handover"] == "off"
    assert seen["slot"] == {
        "minute": after[late], "window_min": 60, "observed": False,
        "handed_at": None, "kept_at": None,
        "second": site.sql("SELECT second FROM contact_slot WHERE meter_id = "
                           "%s", (late,))[0][0]}


def test_a_meter_that_dials_in_is_told_its_slot_once_and_when_it_moves(
        site, demo):
    gas = demo.meter("24000123", "heo-g4", zone="Europe/Moscow")
    site.headend.cli("tenant", "set", "demo", "--hand-slots", "yes")
    site.start()
    wait_until(lambda: slot(demo, gas), 20, "a slot")
    assert clock(demo, gas)["slot_handover"] == "waiting"
    with call(site) as meter:
        command = meter.receive()
        assert command["op"] == "set_schedule"
        assert (command["at_s"], command["window_s"]) == (
            slot(demo, gas)[0], 3600)
    wait_until(lambda: slot(demo, gas)[1], what="the slot to be booked")
    assert clock(demo, gas)["slot_handover"] in ("told", "kept")
    assert slot(demo, gas)[2] == 1
    site.sql("UPDATE contact_slot SET slot = (slot + 7) %% 60, handed_at = "
             "NULL WHERE tenant_id = %s RETURNING 1", (demo.id,))
    with call(site) as meter:
        assert meter.receive()["at_s"] == slot(demo, gas)[0]
    wait_until(lambda: slot(demo, gas)[1])
    # Another window: all slots are given and told anew.
    assert patch(demo, {"window_min": 15}).json["window_min"] == 15
    wait_until(lambda: slot(demo, gas)[0] < 900, 20, "another slot")
    with call(site) as meter:
        command = meter.receive()
        assert (command["at_s"], command["window_s"]) == (
            slot(demo, gas)[0], 900)


@pytest.fixture
def lns(broker):
    downlinks = Downlinks(broker)
    yield downlinks
    downlinks.close()


def uplink(broker, payload, counter, port, heard):
    broker.publish(*Uplink(EUI, payload, counter, port=port,
                           time=heard.isoformat()).chirpstack4())


def time_request(device):
    return b"\xff" + int(device.timestamp()).to_bytes(4, "little")


def test_a_lorawan_meter_is_told_until_it_keeps_its_slot(site, demo, broker,
                                                         lns):
    site.headend.cli("tenant", "set", "demo", "--hand-slots", "yes")
    demo.integration("chirpstack", broker.url)
    karat = demo.meter("17500142", "karat-928lw", dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    wait_until(lambda: slot(demo, karat), 20, "a slot")
    hour = now().replace(minute=0, second=0, microsecond=0)
    uplink(broker, READINGS, 1, 2, hour - timedelta(hours=5))  # no clock

    def told():
        document = lns.next()[1]
        assert document["fPort"] == 5
        data = base64.b64decode(document["data"])
        assert data[0] == 1
        return (int.from_bytes(data[1:5], "little"),
                int.from_bytes(data[5:9], "little"))

    at_s = slot(demo, karat)[0]
    assert told() == (at_s, 3600)
    wait_until(lambda: slot(demo, karat)[2] == 1, what="the slot to be booked")
    # Long ago, and the meter still reports elsewhere: told again.
    site.sql("UPDATE contact_slot SET handed_at = now() - interval '9 hours' "
             "WHERE tenant_id = %s RETURNING 1", (demo.id,))
    elsewhere = hour - timedelta(hours=2) + timedelta(
        seconds=(at_s + 1200) % 3600)
    uplink(broker, time_request(elsewhere), 2, 4, elsewhere)
    assert told() == (at_s, 3600)
    wait_until(lambda: slot(demo, karat)[2] == 2, what="told twice")
    there = hour - timedelta(hours=1) + timedelta(seconds=at_s + 2)
    if there < elsewhere:
        there += timedelta(hours=1)
    uplink(broker, time_request(there), 3, 4, there)
    wait_until(lambda: clock(demo, karat)["slot_handover"] == "kept", 20,
               "the slot kept")
    models = demo.get("/api/v1/contact-plan").json["models"]
    assert [(m["name"], m["slot_handover"], m["told"], m["kept"])
            for m in models] == [("karat-928lw", "karat-928lw", 1, 1)]
    assert site.headend.metric("headend_contact_slots_told_total") == 2


def test_who_cannot_be_told_is_counted_where_it_was_heard(site, demo, broker):
    demo.integration("chirpstack", broker.url)
    vega = demo.meter("1", "vega-si11", dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    hour = now().replace(minute=17, second=30, microsecond=0)
    for i in range(5):
        heard = hour - timedelta(hours=6 - i)
        uplink(broker, bytes.fromhex("0142 07") + int(
            heard.timestamp()).to_bytes(4, "little") + bytes(17), i + 1, 2,
            heard)
    demo.wait_fates(stored=5)
    assert clock(demo, vega)["slot_handover"] == "none"
    # Also where its tenant lets others be told; the day's plan looks anew.
    assert patch(demo, {"hand_slots": True, "window_min": 30}).status == 200

    def seen():
        return clock(demo, vega)["slot"]

    wait_until(lambda: seen()["observed"], 20, "the observed minute")
    assert (seen()["minute"], seen()["window_min"]) == (17, 60)
    minutes = demo.get("/api/v1/contact-forecast").json["minutes"]
    assert [i for i, calls in enumerate(minutes) if calls] == list(
        range(17, 1440, 60))


def test_the_plan_of_a_tenant_is_changed_and_checked(site, demo):
    site.start()
    plan = demo.get("/api/v1/contact-plan").json
    assert (plan["window_min"], plan["hand_slots"]) == (60, False)
    assert patch(demo, {"window_min": 7}).status == 422
    assert patch(demo, {"window_min": 1440}).json["window_min"] == 1440
    site.headend.cli("tenant", "set", "demo", "--contact-window", "120")
    assert demo.get("/api/v1/contact-plan").json["window_min"] == 120
    entries = demo.get("/api/v1/audit").text
    assert entries.count("contact_plan") >= 2
