"""The time service from the wire to the wire: clocks that are asked for, set,
verified, and left alone where the policy says so."""

import base64
import socket
import struct
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from harness import Uplink, wait_until
from harness.api import send
from harness.lns import Downlinks

EUI = "94193a00000069fe"
GPS_EPOCH = datetime(1980, 1, 6, tzinfo=timezone.utc)
LEAP_S = 18


def now():
    return datetime.now(timezone.utc)


def gps(t):
    return int((t - GPS_EPOCH).total_seconds()) + LEAP_S


@pytest.fixture
def lns(broker):
    downlinks = Downlinks(broker)
    yield downlinks
    downlinks.close()


@pytest.fixture
def heat(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.integration("tts", broker.url)
    demo.heat = demo.meter("69322582", dev_eui=EUI)
    site.start()
    site.wait_subscribed(2)
    return demo


def policy(tenant, **columns):
    """Sets columns of the tenant's correction policy."""
    names = ", ".join(columns)
    tenant.site.sql(
        f"INSERT INTO clock_policy (tenant_id, {names}) VALUES (%s"
        + ", %s" * len(columns) + ")", (tenant.id, *columns.values()))


def no_guards(tenant, **more):
    """Tests run at any time of the day."""
    policy(tenant, guard_s=0, day_guard_s=0, patience_s=0, **more)


def bearer(tenant):
    return {"Authorization": f"Bearer {tenant.token}"}


def clock(tenant, meter):
    rows = tenant.site.sql(
        "SELECT state, offset_us, verdict, reason FROM meter_clock "
        "WHERE tenant_id = %s AND meter_id = %s", (tenant.id, meter))
    return rows[0] if rows else None


def corrections(tenant):
    return tenant.site.sql(
        "SELECT state, way, by_us, offset_before_us, offset_after_us "
        "FROM clock_correction WHERE tenant_id = %s ORDER BY correction_id",
        (tenant.id,))


def app_time_req(device, token, required=True):
    return bytes([1]) + gps(device).to_bytes(4, "little") + bytes(
        [token | (16 if required else 0)])


def ask(broker, device, token, heard, counter, required=True,
        form=Uplink.chirpstack4):
    broker.publish(*form(Uplink(
        EUI, app_time_req(device, token, required), counter, port=202,
        time=heard.isoformat())))


def answers(payload):
    """(correction, token) of the AppTimeAns in a downlink, and the rest."""
    data = base64.b64decode(payload)
    assert data[0] == 1
    return (int.from_bytes(data[1:5], "little", signed=True), data[5],
            data[6:])


def test_a_lorawan_meter_that_asks_gets_its_error(heat, broker, lns):
    no_guards(heat)
    heard = now().replace(microsecond=0) - timedelta(hours=1)
    ask(broker, heard - timedelta(seconds=37), 5, heard, 1)
    topic, document = lns.next()
    assert topic == f"application/app/device/{EUI}/command/down"
    assert document["devEui"] == EUI and document["fPort"] == 202
    assert document["confirmed"] is False
    uuid.UUID(document["id"])
    correction, token, rest = answers(document["data"])
    assert (correction, token) == (37, 5)
    assert rest == b"\x00"  # the first answer asks for the package version
    assert [row[:4] for row in corrections(heat)] == [
        ("sent", "ts003", 37_000_000, -37_000_000)]
    # What the device says next proves that it has set its clock.
    later = heard + timedelta(hours=1)
    ask(broker, later, 6, later, 2, required=False)
    wait_until(lambda: corrections(heat)[0][0] == "verified", 20, "verified")
    assert abs(corrections(heat)[0][4]) < 2_000_000
    assert clock(heat, heat.heat)[0] == "synced"


def test_the_things_stack_carries_the_answer_too(heat, broker, lns):
    no_guards(heat)
    heard = now().replace(microsecond=0)
    ask(broker, heard + timedelta(seconds=125), 0, heard, 1, required=False,
        form=Uplink.the_things_stack)
    topic, document = lns.next()
    assert topic == f"v3/app@tenant/devices/eui-{EUI}/down/push"
    down = document["downlinks"][0]
    assert down["f_port"] == 202
    assert answers(down["frm_payload"])[:2] == (-125, 0)


def test_a_right_clock_that_needs_no_answer_gets_none(heat, broker, lns):
    no_guards(heat)
    heard = now().replace(microsecond=0)
    ask(broker, heard + timedelta(seconds=59), 1, heard, 1, required=False)
    wait_until(lambda: clock(heat, heat.heat), 20, "a clock")
    assert clock(heat, heat.heat)[2:] == ("none", "within_accepted")
    _, document = lns.next()  # only the question which version it speaks
    assert base64.b64decode(document["data"]) == b"\x00"
    assert corrections(heat) == []


def test_a_cold_start_is_set_at_once(heat, broker, lns):
    no_guards(heat)
    heard = now().replace(microsecond=0)
    ask(broker, GPS_EPOCH - timedelta(seconds=LEAP_S), 1, heard, 1)
    correction, token, _ = answers(lns.next()[1]["data"])
    assert (correction, token) == (gps(heard), 1)


def test_periodicity_and_version_are_handed_over(heat, broker, lns):
    no_guards(heat, period=10)
    heard = now().replace(microsecond=0)
    ask(broker, heard, 3, heard, 1)
    assert answers(lns.next()[1]["data"]) == (0, 3, b"\x00\x02\x0a")
    reply = bytes([0, 1, 2, 2, 0]) + gps(heard).to_bytes(4, "little")
    broker.publish(*Uplink(EUI, reply, 2, port=202, time=(
        heard + timedelta(minutes=5)).isoformat()).chirpstack4())

    def agreed():
        return heat.site.sql("SELECT package, period FROM meter_clock WHERE "
                             "tenant_id = %s", (heat.id,)) == [(2, 10)]

    wait_until(agreed, 20, "version 2, period 10")


def test_a_vega_meter_gets_eight_bytes(site, broker, demo, lns):
    no_guards(demo)
    demo.integration("chirpstack", broker.url)
    demo.meter("1", "vega-si11", dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    heard = now().replace(microsecond=0)
    device = int(heard.timestamp()) - 200
    broker.publish(*Uplink(EUI, b"\xff" + device.to_bytes(4, "little"), 1,
                           port=4, time=heard.isoformat()).chirpstack4())
    document = lns.next()[1]
    assert document["fPort"] == 4
    assert base64.b64decode(document["data"]) == b"\xff" + (200).to_bytes(
        8, "little")


def minute_clock(device):
    """Type F of EN 13757-3: a date and a time without seconds."""
    y = device.year - 2000
    return bytes([device.minute, device.hour, device.day | (y & 7) << 5,
                  device.month | (y >> 3) << 4])


def test_an_elvaco_module_is_set_by_a_number_of_seconds(heat, broker, lns):
    no_guards(heat)
    heard = now().replace(second=30, microsecond=0) - timedelta(hours=2)
    device = (heard - timedelta(minutes=5)).astimezone(
        ZoneInfo("Europe/Berlin"))  # its tenant's, as it tells local time
    broker.publish(*Uplink(EUI, b"\xfa\x04\x6d" + minute_clock(device), 1,
                           port=2, time=heard.isoformat()).chirpstack4())
    document = lns.next()[1]
    data = base64.b64decode(document["data"])
    assert document["fPort"] == 2 and data[:3] == bytes([0, 0x13, 4])
    by = int.from_bytes(data[3:7], "little")
    assert abs(by - 300) <= 2  # a minute's clock is taken for half a minute in
    assert corrections(heat)[0][1] == "elvaco"


@pytest.fixture
def gas(site, demo):
    no_guards(demo)
    demo.gas = demo.meter("24000123", "heo-g4", zone="Europe/Moscow")
    site.start()
    return demo


def call(site, offset):
    """A session of a meter whose clock is off; what it is told to do."""
    meter = site.gas_meter("24000123")
    told = (now() + offset).astimezone(timezone(timedelta(hours=3)))
    said = meter.hello(told.isoformat(timespec="seconds"))
    assert said["t"] == "ack", said
    return meter


def test_a_gas_meter_five_minutes_off_is_set_and_verified(site, gas):
    with call(site, timedelta(minutes=5)) as meter:
        command = meter.receive()
        assert command["op"] == "set_clock"
        told = datetime.fromisoformat(command["now"])
        assert abs(told - now()) < timedelta(seconds=5)
        assert told.utcoffset() == timedelta(hours=3)
        assert meter.ask({"t": "res", "id": command["id"], "ok": True,
                          "seq": 9})["t"] == "ack"
    assert corrections(gas)[0][0] == "sent"
    with call(site, timedelta(0)):
        wait_until(lambda: corrections(gas)[0][0] == "verified", 20,
                   "verified")
    [(state, way, by, before, after)] = corrections(gas)
    assert (state, way) == ("verified", "heo")
    assert abs(by + 300_000_000) < 5_000_000 and by == -before
    assert abs(after) < 5_000_000
    codes = gas.site.sql("SELECT code FROM event WHERE tenant_id = %s AND "
                         "code LIKE 'clock.%%'", (gas.id,))
    assert ("clock.corrected",) in codes


def test_a_step_is_no_larger_than_the_policy_allows(site, gas):
    with call(site, timedelta(minutes=-20)) as meter:
        told = datetime.fromisoformat(meter.receive()["now"])
        assert abs(told - now() + timedelta(minutes=5)) < timedelta(seconds=5)


def test_no_clock_is_corrected_near_an_edge(site, demo):
    # An interval of a minute with the largest guard: half of all moments.
    policy(demo, guard_s=15, interval_s=60, day_guard_s=21600)
    demo.gas = demo.meter("24000123", "heo-g4")
    noon = now().hour
    zone = f"Etc/GMT{noon:+d}" if noon <= 12 else f"Etc/GMT{noon - 24:+d}"
    site.sql("UPDATE meter SET timezone = %s WHERE tenant_id = %s",
             (zone, demo.id))  # it is midnight there, whenever this runs
    site.start()
    with call(site, timedelta(minutes=5)):
        wait_until(lambda: clock(demo, demo.gas), 20, "a clock")
    assert clock(demo, demo.gas)[2:] == ("wait", "near_day_end")
    assert corrections(demo) == []


def test_beyond_a_limit_a_person_says_yes_first(site, gas):
    with call(site, timedelta(hours=1)):
        wait_until(lambda: clock(gas, gas.gas), 20, "a clock")
    assert clock(gas, gas.gas)[2:] == ("approval", "beyond_limit")
    [(state, _, by, _, _)] = corrections(gas)
    assert state == "approval" and abs(by + 3600_000_000) < 5_000_000
    gas.site.sql("UPDATE clock_correction SET state = 'approved' "
                 "WHERE tenant_id = %s", (gas.id,))
    with call(site, timedelta(hours=1)) as meter:
        told = datetime.fromisoformat(meter.receive()["now"])
        assert abs(told - now()) < timedelta(seconds=5)
    assert [row[0] for row in corrections(gas)] == ["sent"]


def test_a_meter_with_another_owner_is_left_alone(site, demo):
    no_guards(demo, owner="device")
    demo.gas = demo.meter("24000123", "heo-g4")
    site.start()
    with call(site, timedelta(minutes=5)):
        wait_until(lambda: clock(demo, demo.gas), 20, "a clock")
    assert clock(demo, demo.gas)[2:] == ("refused", "other_owner")


def test_readings_of_a_wrong_clock_keep_both_times(site, gas):
    site.sql("UPDATE clock_policy SET owner = 'nobody' WHERE tenant_id = %s",
             (gas.id,))
    at = (now() + timedelta(minutes=9)).replace(microsecond=0)
    row = {"ts": at.isoformat(), "sum_v_work": "12.5"}
    for seq in 1, 2:  # told twice, by a clock that is known ever better
        with call(site, timedelta(minutes=10, seconds=seq)) as meter:
            wait_until(lambda: clock(gas, gas.gas), 20, "a clock")
            assert meter.ask({"t": "data", "seq": seq, "kind": "hour",
                              "rows": [row], "unit": "m3"})["t"] == "ack"
    gas.wait_fates(stored=3, duplicate=1)
    [(moved, kept, quality)] = site.sql(
        "SELECT time, meter_time, quality FROM capture WHERE meter_time = %s",
        (at,))
    assert kept == at and quality & 4
    assert abs(kept - moved - timedelta(minutes=10)) < timedelta(seconds=10)


def test_people_see_clocks_and_approve(site, gas):
    with call(site, timedelta(hours=2)):
        wait_until(lambda: clock(gas, gas.gas), 20, "a clock")
    seen = gas.get(f"/api/v1/meters/{gas.gas}/clock").json
    assert seen["state"] == "drifting" and abs(seen["offset_s"] - 7200) < 5
    assert (seen["verdict"], seen["reason"]) == ("approval", "beyond_limit")
    fleet = gas.get("/api/v1/clocks").json
    assert fleet["states"]["drifting"] == 1 and fleet["approvals"] == 1
    assert fleet["worst"][0]["meter_id"] == gas.gas
    assert [h["meters"] for h in fleet["histogram"] if h["below_s"] == 86400
            ] == [1]
    assert fleet["histogram"][-1] == {"below_s": None, "meters": 0}
    [waiting] = gas.get("/api/v1/clock-corrections",
                        state="approval").json["clock_corrections"]
    path = f"/api/v1/clock-corrections/{waiting['correction_id']}"
    approved = send(site.headend, "POST", path + "/approve", bearer(gas))
    assert approved.status == 200, approved.text
    assert approved.json["decided_by"] != "time service"
    again = send(site.headend, "POST", path + "/reject", bearer(gas))
    assert again.status == 409
    with call(site, timedelta(hours=2)) as meter:
        assert meter.receive()["op"] == "set_clock"
    shown = site.headend.cli("clock", "--tenant", gas.name)
    assert "24000123" in shown and "drifting" in shown
    assert site.headend.metric("headend_clock_corrections_sent_total") == 1


def test_a_policy_is_put_and_checked(site, demo):
    site.start()

    def put(body):
        return send(site.headend, "PUT", "/api/v1/clock-policies/0",
                    bearer(demo), body)

    assert put({"accepted_s": 5, "interval_s": 900}).json["accepted_s"] == 5
    assert put({"guard_s": 60}).json["accepted_s"] == 5
    assert put({"guard_s": 300}).status == 422
    assert put({"interval_s": 7}).status == 422
    listed = demo.get("/api/v1/clock-policies").json["clock_policies"]
    assert [p["guard_s"] for p in listed] == [60]


class TimeSource:
    """An NTP server whose clock is wrong by `offset` seconds."""

    def __init__(self, offset=0.0):
        self.offset = offset
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.name = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def stamp(self):
        return int((time.time() + self.offset + 2208988800) * 2 ** 32)

    def serve(self):
        try:
            while True:
                request, who = self.socket.recvfrom(1000)
                at = self.stamp()
                self.socket.sendto(struct.pack(
                    ">BBbbIIIQ8sQQ", 0x24, 1, 6, -20, 0, 0, 0, at,
                    request[40:48], at, self.stamp()), who)
        except OSError:  # closed
            pass

    def close(self):
        self.socket.close()


@pytest.fixture
def sources(site):
    sources = [TimeSource() for _ in range(3)]
    site.headend.configure(clock__sources=",".join(s.name for s in sources),
                           clock__poll="200")
    yield sources
    for source in sources:
        source.close()


def own(site, state):
    return site.headend.metrics()[f'headend_own_clock{{state="{state}"}}'] == 1


def test_our_own_clock_comes_first(site, gas, sources):
    site.headend.stop()
    site.start()
    wait_until(lambda: own(site, "ok"), 20, "an own clock that is right")
    sources[0].offset = 90  # one false ticker is outvoted
    wait_until(lambda: site.headend.metric(
        "headend_own_clock_sources_agreeing") == 2, 20, "a false ticker")
    assert own(site, "ok")
    for source in sources:
        source.offset = 0.4
    wait_until(lambda: own(site, "alarm"), 20, "the alarm")
    for source in sources:
        source.offset = 5
    wait_until(lambda: own(site, "unsure"), 20, "an unsure clock")
    with call(site, timedelta(minutes=5)) as meter:
        wait_until(lambda: clock(gas, gas.gas), 20, "a clock")
        at = now().replace(microsecond=0)
        meter.ask({"t": "data", "seq": 1, "kind": "hour", "unit": "m3",
                   "rows": [{"ts": at.isoformat(), "sum_v_work": "1"}]})
    assert clock(gas, gas.gas)[2:] == ("refused", "our_clock_unsure")
    wait_until(lambda: site.sql("SELECT 1 FROM capture WHERE meter_time = %s",
                                (at,)), 20, "a reading")
    for (quality,) in site.sql("SELECT quality FROM capture"):
        assert quality & 1 << 13
    for source in sources:
        source.close()
    assert corrections(gas) == []


def test_time_is_served_where_it_is_asked_for(site, demo, sources):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        name = "127.0.0.1:%d" % free.getsockname()[1]
    site.headend.configure(clock__listen=name)
    site.start()
    wait_until(lambda: own(site, "ok"), 20, "an own clock that is right")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        sent = b"01234567"
        client.sendto(bytes([0x23]) + bytes(39) + sent,
                      ("127.0.0.1", int(name.split(":")[1])))
        reply = client.recv(1000)
    assert (reply[0] & 7, reply[1], reply[24:32]) == (4, 3, sent)
    told = int.from_bytes(reply[40:48], "big") / 2 ** 32 - 2208988800
    assert abs(told - time.time()) < 1
