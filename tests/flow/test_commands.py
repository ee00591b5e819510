"""Commands to meters: kept before they leave, one at a time, every step seen."""

import base64
import json
import queue
import subprocess
import threading
import uuid
from datetime import datetime, timedelta, timezone

import paho.mqtt.client as mqtt
import pytest
from harness import BUILD, Uplink, signed_in, wait_equal, wait_until
from harness.api import send
from test_clock import call as dial_wrong, gas as clock_gas  # noqa: F401

EUI, SERIAL = "94193a00000069fe", "24000123"
ROOT = "/api/v1/commands"
SIM = BUILD / "tests/sim/headend-sim"


def now():
    return datetime.now(timezone.utc)


def in_(**span):
    return (now() + timedelta(**span)).isoformat()


@pytest.fixture
def world(site, demo):
    """A node, a gas meter that dials in, somebody with all rights."""
    site.headend.configure(tcp__bye_after="0")
    demo.gas = demo.meter(SERIAL, "heo-g4", zone="Europe/Moscow")
    site.start()
    wait_until(lambda: site.sql("SELECT 1 FROM codec_command"))
    site.anna = signed_in(site, "anna@example.org")
    return site


def add(site, path, body, who=None, status=201):
    got, made = (who or site.anna).call("POST", path, body)
    assert got == status, made
    return made


def valve(site, tenant, position, **more):
    return add(site, f"/api/v1/meters/{tenant.gas}/valve",
               {"position": position, **more})["command_id"]


def show(site, command):
    status, found = site.anna.call("GET", f"{ROOT}/{command}")
    assert status == 200
    return found


def state(site, command):
    return show(site, command)["state"]


def states(site, command):
    return [s["state"] for s in show(site, command)["steps"]]


def wait_state(site, command, wanted):
    wait_equal(lambda: state(site, command), wanted)


class Call:
    """One call of the gas meter: hello, then what it is told."""

    def __init__(self, site, answer=True):
        self.line = site.gas_meter(SERIAL)
        said = self.line.hello(now().astimezone(
            timezone(timedelta(hours=3))).isoformat(timespec="seconds"))
        assert said["t"] == "ack", said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()

    def told(self):
        said = self.line.receive()
        assert said["t"] == "cmd", said
        return said

    def answer(self, command, ok=True, **more):
        said = self.line.ask({"t": "res", "id": command["id"], "ok": ok,
                              **more})
        assert said == {"t": "ack", "ref": command["id"]}

    def data(self, seq):
        assert self.line.ask({"t": "data", "seq": seq, "cols": [
            "ts", "v_work"], "rows": [["2024-01-11T12:00:00+03:00", "1.5"]]
            })["seq"] == seq


# ---- meters that dial in ----


def test_a_valve_is_closed_in_the_meters_session(world, demo):
    command = valve(world, demo, "close")
    assert states(world, command) == ["queued"]
    with Call(world) as meter:
        meter.data(1)
        told = meter.told()
        assert told == {"t": "cmd", "id": f"c-{command}", "op": "valve",
                        "pos": "close"}
        wait_equal(lambda: states(world, command), ["queued", "sent", "sent"])
        meter.answer(told)
        wait_state(world, command, "done")
        assert meter.line.receive() == {"t": "bye"}
    whole = show(world, command)
    assert [s["actor"] for s in whole["steps"]][::3] == [
        "anna@example.org", "meter"]
    assert whole["settled_at"] and whole["attempts"] == 1
    trail = world.anna.call("GET", "/api/v1/audit?object=command")[1]["audit"]
    assert [(e["action"], e["actor"]) for e in trail] == [
        ("command.add", "anna@example.org")]
    with Call(world) as meter:  # nothing is left to do
        meter.data(2)
        assert meter.line.receive() == {"t": "bye"}


def test_commands_leave_one_by_one_the_urgent_first(world, demo):
    path = f"/api/v1/meters/{demo.gas}/commands"
    first = add(world, path, {"kind": "set_schedule", "period_h": 12})
    second = add(world, path, {"kind": "read_archive", "archive": "day",
                               "from": "2026-01-01T00:00:00+03:00",
                               "to": "2026-01-15T00:00:00Z"})
    urgent = valve(world, demo, "open", priority=9)
    with Call(world) as meter:
        told = []
        for _ in range(3):
            told.append(meter.told())
            meter.answer(told[-1])
    assert [t["op"] for t in told] == ["valve", "set_schedule",
                                       "read_archive"]
    assert told[1]["period_h"] == 12
    assert (told[2]["kind"], told[2]["from"]) == ("day",
                                                  "2025-12-31T21:00:00Z")
    for command in urgent, first["command_id"], second["command_id"]:
        wait_state(world, command, "done")


def test_a_refusal_of_the_meter_is_a_failure(world, demo):
    command = valve(world, demo, "close")
    with Call(world) as meter:
        meter.answer(meter.told(), ok=False, err="denied")
        wait_state(world, command, "failed")
    assert show(world, command)["detail"] == "the meter refuses: denied"


def test_one_that_listens_already_is_told_at_once(world, demo):
    with Call(world) as meter:
        command = valve(world, demo, "close")
        meter.answer(meter.told())
        wait_state(world, command, "done")


def impatient(site):
    """As if a minute had passed since commands left."""
    site.sql("UPDATE command SET due_at = now() WHERE state = 'sent' "
             "RETURNING 1")


def test_killed_between_sending_and_the_answer_nothing_is_lost(world, demo):
    command = valve(world, demo, "close")
    with Call(world) as meter:
        told = meter.told()
        world.headend.kill()
    assert world.sql("SELECT state FROM command") == [("sent",)]
    world.start()
    assert state(world, command) == "sent"  # nobody knows; it is seen
    impatient(world)
    wait_state(world, command, "queued")
    with Call(world) as meter:  # again, under the same name
        assert meter.told() == told
        meter.answer(told)
        wait_state(world, command, "done")
    whole = show(world, command)
    assert whole["attempts"] == 2
    assert any("may have" in (s["detail"] or "") for s in whole["steps"])


def test_an_answer_that_comes_late_counts(world, demo):
    command = valve(world, demo, "close")
    with Call(world) as meter:
        told = meter.told()
    impatient(world)
    wait_state(world, command, "queued")
    with Call(world) as meter:
        meter.answer(told)  # of the call before: it is not done twice
        wait_state(world, command, "done")
    assert show(world, command)["attempts"] <= 2


def test_what_must_not_come_twice_is_not_sent_again(world, demo):
    command = add(world, f"/api/v1/meters/{demo.gas}/commands",
                  {"kind": "reboot"})["command_id"]
    with Call(world) as meter:
        assert meter.told()["op"] == "reboot"
    impatient(world)
    wait_state(world, command, "failed")
    assert "may have carried it out" in show(world, command)["detail"]


def test_a_valve_that_shows_itself_is_an_answer(world, demo):
    command = valve(world, demo, "close")
    with Call(world) as meter:
        meter.told()
        meter.line.ask({"t": "alarm", "seq": 3, "items": [
            {"ts": now().isoformat(), "code": "valve_closed", "state": 1}]})
        wait_state(world, command, "done")
    assert show(world, command)["detail"] == "the meter reports valve.closed"


def test_what_is_not_sent_in_time_expires(world, demo):
    command = valve(world, demo, "close", not_after=in_(seconds=1))
    wait_state(world, command, "expired")
    with Call(world) as meter:
        meter.data(1)
        assert meter.line.receive() == {"t": "bye"}


def test_one_that_waits_is_cancelled_and_one_that_left_is_not(world, demo):
    first, second = valve(world, demo, "close"), valve(world, demo, "open")
    path = ROOT + "/%d/cancel"
    assert add(world, path % second, None, status=200)["state"] == "cancelled"
    with Call(world) as meter:
        told = meter.told()
        status, problem = world.anna.call("POST", path % first)
        assert status == 409 and "sent" in problem["detail"]
        meter.answer(told)
        wait_state(world, first, "done")
    actions = [e["action"] for e in world.anna.call(
        "GET", "/api/v1/audit?object=command")[1]["audit"]]
    assert actions == ["command.change", "command.add", "command.add"]
    viewer = signed_in(world, "vera@example.org", role="viewer")
    third = valve(world, demo, "open")
    assert viewer.call("POST", path % third)[0] == 403


def test_a_second_person_says_yes_to_a_valve(world, demo):
    world.sql("UPDATE tenant SET critical = 'second_person' WHERE "
              "tenant_id = %s RETURNING 1", (demo.id,))
    anna = signed_in(world, "valve@example.org", role="valve control")
    asked = add(world, f"/api/v1/meters/{demo.gas}/valve",
                {"position": "close"}, anna, 202)
    assert world.sql("SELECT count(*) FROM command") == [(0,)]
    bella = signed_in(world, "bella@example.org", role="valve control")
    status, said = bella.call(
        "POST", f"/api/v1/approvals/{asked['approval_id']}/approve")
    assert status == 200 and said["answer"]["kind"] == "valve_close"
    assert said["answer"]["asked_by"] == (
        "bella@example.org (asked by valve@example.org)")
    with Call(world) as meter:
        assert meter.told()["pos"] == "close"


def test_what_a_meter_cannot_be_told_is_refused(world, demo):
    demo.heat = demo.meter("69322582", dev_eui=EUI)
    pulse = demo.meter("1", "vega-si11", dev_eui="94193a0000000001")

    def refused(path, body, *words, field=None):
        status, problem = world.anna.call("POST", path, body)
        assert status == 422, problem
        assert problem.get("field") == field, problem
        assert all(w in problem["detail"] for w in words), problem

    refused(f"/api/v1/meters/{demo.heat}/valve", {"position": "close"},
            "elvaco-cmi4160", "no commands", field="kind")
    refused(f"/api/v1/meters/{pulse}/commands",
            {"kind": "set_schedule", "period_h": 5}, "1, 6, 12, 24",
            field="period_h")
    refused(f"/api/v1/meters/{demo.gas}/downlinks",
            {"port": 2, "payload": "01"}, "dials in")
    refused(f"/api/v1/meters/{demo.gas}/commands", {"kind": "read_archive"},
            field="from")
    refused(f"/api/v1/meters/{demo.gas}/valve",
            {"position": "open", "not_after": in_(days=-1)},
            field="not_after")
    refused(f"/api/v1/meters/{demo.gas}/commands",
            {"kind": "reboot", "period_h": 5}, field="period_h")
    refused(f"/api/v1/meters/{demo.gas}/substitution",
            {"pressure_kpa": "0", "z": "1", "w": "1"}, field="pressure_kpa")
    made = add(world, f"/api/v1/meters/{demo.gas}/substitution",
               {"pressure_kpa": "101.3250", "z": "1", "w": "0.95"})
    with Call(world) as meter:
        told = meter.told()
        assert (told["op"], told["p_kpa"]) == ("set_subst", 101.325)
        meter.answer(told)
        wait_state(world, made["command_id"], "done")


def test_a_post_that_is_sent_again_is_one_command(world, demo):
    path = f"/api/v1/meters/{demo.gas}/valve"
    made = [world.anna.call("POST", path, {"position": "close"},
                            **{"Idempotency-Key": "k"})[1]["command_id"]
            for _ in range(2)]
    assert made[0] == made[1]
    listed = world.anna.call("GET", f"{ROOT}?meter_id={demo.gas}&state=queued"
                             "&kind=valve_close")[1]["commands"]
    assert [c["command_id"] for c in listed] == made[:1]


def test_steps_are_news_of_the_feed_and_figures_of_the_metrics(world, demo):
    from test_feed import Listener
    listener = Listener(demo, kinds="command")
    command = valve(world, demo, "close")
    with Call(world) as meter:
        meter.answer(meter.told())
        wait_equal(lambda: sorted({d["state"] for _, d in listener.events}),
                   ["done", "queued", "sent"])
    # in the order of their transactions; `step` tells them apart
    wait_equal(lambda: sorted(d["step"] for _, d in listener.events),
               [i + 1 for i in range(len(states(world, command)))])
    assert {d["command_id"] for _, d in listener.events} == {command}
    listener.close()
    valve(world, demo, "open")
    figures = world.headend.metrics
    wait_until(lambda: figures().get('headend_commands{state="queued"}') == 1)
    assert figures()["headend_commands_handed_total"] == 1


def test_the_command_line_does_it_too(world, demo):
    cli = world.headend.cli_json
    made = cli("command", "send", str(demo.gas), "valve_close", "--tenant",
               "demo")
    shown = cli("command", "show", str(made["command_id"]), "--tenant", "demo")
    assert shown["state"] == "queued" and len(shown["steps"]) == 1
    assert "valve_close" in world.headend.cli("command", "list", "--tenant",
                                              "demo")
    cli("command", "cancel", str(made["command_id"]), "--tenant", "demo")
    assert state(world, made["command_id"]) == "cancelled"
    wrong = world.headend.run("command", "send", str(demo.gas), "raw",
                              "--tenant", "demo", "--port", "2", "--payload",
                              "00")
    assert wrong.returncode == 1 and "dials in" in wrong.stderr


# ---- states ----


def test_every_event_in_every_state(site, demo):
    """The rules, whole: what is not named changes nothing."""
    rules = {
        "waiting": {"done": "done", "cancel": "cancelled"},
        "queued": {"take": "sent", "done": "done", "failed": "failed",
                   "expire": "expired", "cancel": "cancelled"},
        "sent": {"unsent": "queued", "refused": "failed", "done": "done",
                 "radiated": "acknowledged", "failed": "failed",
                 "lost": ("queued", "failed"), "expire": "expired"},
        "acknowledged": {"done": "done", "failed": "failed",
                         "lost": ("queued", "failed"), "expire": "expired"},
        "done": {}, "failed": {"done": "done"}, "expired": {"done": "done"},
        "cancelled": {"done": "done"}}
    events = ["take", "handed", "unsent", "refused", "radiated", "done",
              "failed", "lost", "expire", "cancel", "note"]
    for before, known in rules.items():
        for event in events:
            for again in True, False:
                after = known.get(event)
                if isinstance(after, tuple):
                    after = after[0 if again else 1]
                assert site.sql("SELECT command_after(%s, %s, %s)",
                                (before, event, again)) == [(after,)], (
                    before, event, again)


def test_two_nodes_send_nothing_twice(site, demo):
    """Both look for the same meters at the same moment."""
    meters = [demo.meter(str(i), "heo-g4") for i in range(8)]
    site.sql("INSERT INTO command (tenant_id, meter_id, kind, not_after, "
             "attempts_most, radio, asked_by) SELECT %s, m, 'reboot', now() + "
             "interval '1 day', 1, false, 'a test' FROM unnest(%s) m, "
             "generate_series(1, 5) RETURNING 1", (demo.id, meters))
    taken, gate = [], threading.Barrier(2)

    def node(name):
        for _ in range(5):
            gate.wait(20)
            taken.extend((m, c, name) for m, c in site.sql(
                "SELECT meter_id, command_id FROM commands_for(%s, %s, %s) "
                "WHERE NOT busy", (name, [demo.id] * 8, meters)))
            gate.wait(20)
            if name == "a":
                site.sql("UPDATE command SET state = 'done' WHERE state = "
                         "'sent' RETURNING 1")

    nodes = [threading.Thread(target=node, args=(n,)) for n in "ab"]
    for n in nodes:
        n.start()
    for n in nodes:
        n.join(60)
    assert len(taken) == len({c for _, c, _ in taken}) >= 8
    # one at a time, in their order
    for m in meters:
        mine = [c for x, c, _ in taken if x == m]
        assert mine == sorted(mine)


# ---- behind network servers ----


class NetworkServer:
    """Hears downlinks, says what becomes of them."""

    def __init__(self, broker):
        self.broker, self.heard = broker, queue.Queue()
        self.client = mqtt.Client(client_id=f"lns-{uuid.uuid4()}")
        ready = queue.Queue()
        self.client.on_message = lambda _, __, m: self.heard.put(
            (m.topic, json.loads(m.payload)))
        self.client.on_subscribe = lambda *_: ready.put(1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.client.subscribe([("application/+/device/+/command/down", 1),
                               ("v3/+/devices/+/down/push", 1)])
        ready.get(timeout=10)

    def next(self):
        return self.heard.get(timeout=20)

    def says(self, topic, event, **more):
        self.broker.publish(topic.replace("command/down", f"event/{event}"),
                            json.dumps({"deviceInfo": {"devEui": EUI}, **more}))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def lns(broker):
    server = NetworkServer(broker)
    yield server
    server.close()


@pytest.fixture
def radio(world, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.integration("tts", broker.url)
    demo.pulse = demo.meter("1", "vega-si11", dev_eui=EUI)
    world.wait_subscribed(2)
    return world


def heard_once(site, broker, demo, form=Uplink.chirpstack4, counter=1):
    broker.publish(*form(Uplink(EUI, bytes.fromhex(
        "015F4640D66869F601000000FFFFFFFF0000000039300000"), counter)))
    wait_until(lambda: site.sql("SELECT 1 FROM meter_way"))


def raw(site, demo, **more):
    return add(site, f"/api/v1/meters/{demo.pulse}/downlinks",
               {"port": 9, "payload": "0aFF", **more})["command_id"]


def test_a_schedule_goes_through_chirpstack_and_is_confirmed(
        radio, broker, demo, lns):
    command = add(radio, f"/api/v1/meters/{demo.pulse}/commands",
                  {"kind": "set_schedule", "period_h": 6})["command_id"]
    assert states(radio, command) == ["queued"]  # it was never heard yet
    heard_once(radio, broker, demo)
    topic, document = lns.next()
    assert topic == f"application/app/device/{EUI}/command/down"
    assert document["confirmed"] is True and document["fPort"] == 3
    assert base64.b64decode(document["data"]) == bytes.fromhex("0010000102")
    assert datetime.fromisoformat(document["expiresAt"]) > now()
    name = document["id"]
    assert str(uuid.UUID(name)) == name
    frames = radio.headend.metric("headend_frames_received_total")
    lns.says(topic, "txack", queueItemId=str(uuid.uuid4()))  # somebody else's
    lns.says(topic, "txack", queueItemId=name, gatewayId="0016c001f153a14c")
    wait_state(radio, command, "acknowledged")
    lns.says(topic, "ack", queueItemId=name, acknowledged=True)
    wait_state(radio, command, "done")
    # what a network server says of downlinks is no frame of a meter
    assert radio.headend.metric("headend_frames_received_total") == frames
    assert show(radio, command)["steps"][-1]["actor"] == "network server"


def test_what_was_not_confirmed_by_radio_is_sent_again(radio, broker, demo,
                                                       lns):
    heard_once(radio, broker, demo)
    command = add(radio, f"/api/v1/meters/{demo.pulse}/commands",
                  {"kind": "set_schedule", "period_h": 6})["command_id"]
    topic, first = lns.next()
    lns.says(topic, "txack", queueItemId=first["id"], gatewayId="1")
    lns.says(topic, "ack", queueItemId=first["id"], acknowledged=False)
    _, again = lns.next()
    assert again["data"] == first["data"] and again["id"] != first["id"]
    # an old receipt is not taken for one of the second attempt
    lns.says(topic, "ack", queueItemId=first["id"], acknowledged=False)
    broker.publish(f"application/app/device/{EUI}/event/join", json.dumps({
        "deduplicationId": str(uuid.uuid4()), "time": in_(seconds=1),
        "deviceInfo": {"devEui": EUI}, "devAddr": "01ab23ce"}))
    _, third = lns.next()  # the network server forgets what it kept: again
    lns.says(topic, "ack", queueItemId=third["id"], acknowledged=True)
    wait_state(radio, command, "done")
    assert show(radio, command)["attempts"] == 3


def test_bytes_go_out_as_they_are_and_once(radio, broker, demo, lns):
    heard_once(radio, broker, demo)
    command = raw(radio, demo)
    topic, document = lns.next()
    assert base64.b64decode(document["data"]) == b"\x0a\xff"
    assert document["fPort"] == 9
    lns.says(topic, "ack", queueItemId=document["id"], acknowledged=False)
    wait_state(radio, command, "failed")
    second = raw(radio, demo, confirmed=False)
    topic, document = lns.next()
    assert document["confirmed"] is False
    lns.says(topic, "txack", queueItemId=document["id"])
    wait_state(radio, second, "done")


def test_the_things_stack_carries_commands_too(radio, broker, demo, lns):
    heard_once(radio, broker, demo, Uplink.the_things_stack)
    command = raw(radio, demo)
    topic, document = lns.next()
    base = f"v3/app@tenant/devices/eui-{EUI}/down/"
    down = document["downlinks"][0]
    assert topic == base + "push" and down["confirmed"] is True
    sent = {"correlation_ids": ["as:downlink:01", *down["correlation_ids"]],
            "end_device_ids": {"dev_eui": EUI}}
    broker.publish(base + "sent", json.dumps(sent))
    wait_state(radio, command, "acknowledged")
    broker.publish(base + "ack", json.dumps(
        {"downlink_ack": {"correlation_ids": down["correlation_ids"]}}))
    wait_state(radio, command, "done")
    failed = raw(radio, demo)
    down = lns.next()[1]["downlinks"][0]
    broker.publish(base + "failed", json.dumps({"downlink_failed": {
        "downlink": {"correlation_ids": down["correlation_ids"]},
        "error": {"message_format": "no gateway"}}}))
    wait_state(radio, failed, "failed")
    assert "no gateway" in show(radio, failed)["detail"]


def test_the_next_one_waits_until_the_one_before_is_settled(radio, broker,
                                                            demo, lns):
    heard_once(radio, broker, demo)
    first, second = raw(radio, demo), raw(radio, demo)
    topic, document = lns.next()
    wait_state(radio, first, "sent")
    assert state(radio, second) == "queued"
    lns.says(topic, "ack", queueItemId=document["id"], acknowledged=True)
    assert lns.next()[1]["id"] != document["id"]
    wait_state(radio, second, "sent")


def test_another_tenants_receipt_changes_nothing(radio, broker, demo, lns):
    other = radio.tenant("other")
    other.integration("chirpstack", broker.url, None, "--topic-prefix", "o/")
    radio.wait_subscribed(3)
    heard_once(radio, broker, demo)
    command = raw(radio, demo)
    topic, document = lns.next()
    wait_equal(lambda: len(states(radio, command)), 3)
    lns.says("o/" + topic, "ack", queueItemId=document["id"],
             acknowledged=True)
    lns.says(topic, "txack", queueItemId=document["id"])
    wait_state(radio, command, "acknowledged")
    assert len(states(radio, command)) == 4


def test_killed_before_it_left_it_leaves_again(radio, broker, demo, lns):
    """Marked as sent, and the server dies before it has said that it left."""
    heard_once(radio, broker, demo)
    radio.headend.kill()
    radio.sql("INSERT INTO command (tenant_id, meter_id, integration_id, kind,"
              " state, arguments, not_after, due_at, attempts, attempts_most,"
              " radio, asked_by) SELECT tenant_id, meter_id, integration_id,"
              " 'set_schedule', 'sent', '{\"period_h\": 6}', now() + interval"
              " '1 day', now(), 1, 5, true, 'a test' FROM meter_way RETURNING 1")
    radio.start()
    assert lns.next()[1]["fPort"] == 3
    steps = radio.sql("SELECT state, detail FROM command_step ORDER BY step")
    assert steps[0] == ("queued", "who sent it has gone; it may have left")


# ---- the simulator's meters ----


@pytest.fixture
def fleet(site, demo):
    """Gas meters that dial every two seconds; the last one is an hour off."""
    from test_clock import no_guards
    no_guards(demo)
    site.headend.configure(tcp__bye_after="1")
    csv = subprocess.run([SIM, "--fleet-csv", "--lorawan", "0", "--gas", "18"],
                         capture_output=True, text=True, check=True).stdout
    site.headend.cli("meter", "import", "-", "--tenant", "demo", stdin=csv)
    site.start()
    sim = subprocess.Popen(
        [SIM, "--lorawan", "0", "--gas", "18", "--period", "2", "--no-faults",
         "--tcp", f"127.0.0.1:{site.headend.tcp_port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield [m for m, in site.sql("SELECT meter_id FROM meter ORDER BY serial")]
    sim.terminate()
    assert sim.wait(15) is not None


def test_simulated_meters_do_what_they_are_told(site, demo, fleet):
    cli = site.headend.cli_json

    def told(meter, *what):
        return cli("command", "send", str(meter), *what, "--tenant",
                   "demo")["command_id"]

    def states_of(command):
        shown = cli("command", "show", str(command), "--tenant", "demo")
        return shown["state"]

    # its clock waits for a person's word; then it is set, and a sample shows it
    wait_until(lambda: site.sql("SELECT 1 FROM command WHERE state = 'waiting'"
                                " AND meter_id = %s", (fleet[-1],)), 30)
    clock = told(fleet[-1], "set_clock")
    valve = told(fleet[0], "valve_close")
    archive = told(fleet[1], "read_archive", "--from", in_(hours=-60), "--to",
                   in_(hours=-40))
    for command in valve, archive, clock:
        wait_equal(lambda c=command: states_of(c), "done", 40)
    wait_until(lambda: site.sql("SELECT 1 FROM event WHERE meter_id = %s AND "
                                "code = 'valve.closed'", (fleet[0],)))
    wait_until(lambda: site.sql(
        "SELECT count(*) FROM capture WHERE meter_id = %s AND time < now() - "
        "interval '39 hours'", (fleet[1],))[0][0] >= 20)


# ---- clocks ----


def test_a_correction_is_a_command(site, clock_gas):
    gas = clock_gas
    with dial_wrong(site, timedelta(minutes=5)) as meter:
        command = meter.receive()
        meter.ask({"t": "res", "id": command["id"], "ok": True, "seq": 9})

        def seen():
            return gas.get(ROOT, meter_id=gas.gas).json["commands"]

        wait_until(lambda: seen()[0]["state"] == "acknowledged")
    [told] = seen()
    assert told["kind"] == "set_clock" and told["correction_id"]
    assert told["asked_by"] == "time service"
    assert abs(float(told["arguments"]["by_s"]) + 300) < 5
    with dial_wrong(site, timedelta(0)):
        wait_until(lambda: seen()[0]["state"] == "done")
    steps = gas.get(f"{ROOT}/{told['command_id']}").json["steps"]
    assert [s["state"] for s in steps] == ["sent", "acknowledged", "done"]


def test_what_waits_for_a_person_is_a_command_that_waits(site, clock_gas):
    gas = clock_gas

    def seen():
        return gas.get(ROOT, meter_id=gas.gas).json["commands"]

    with dial_wrong(site, timedelta(hours=1)):
        wait_until(lambda: seen() and seen()[0]["state"] == "waiting")
    bearer = {"Authorization": f"Bearer {gas.token}"}
    asked = send(site.headend, "POST", f"/api/v1/meters/{gas.gas}/commands",
                 bearer, {"kind": "set_clock"})
    assert asked.status == 201 and asked.json["state"] == "queued"
    with dial_wrong(site, timedelta(hours=1)) as meter:
        assert meter.receive()["op"] == "set_clock"
    wait_until(lambda: seen()[0]["state"] == "sent")
    assert [s["state"] for s in gas.get(
        f"{ROOT}/{asked.json['command_id']}").json["steps"]] == [
            "waiting", "queued", "sent"]


def test_a_correction_that_cannot_leave_is_seen_and_tried_again(site,
                                                                clock_gas):
    gas = clock_gas

    def steps():
        return site.sql("SELECT s.state, s.detail FROM command_step s JOIN "
                        "command c USING (tenant_id, command_id) WHERE "
                        "c.meter_id = %s ORDER BY s.step", (gas.gas,))

    with dial_wrong(site, timedelta(hours=1)):
        wait_until(lambda: [s for s, _ in steps()] == ["waiting"])
    site.sql("UPDATE clock_correction SET state = 'approved', decided_by = "
             "'anna' RETURNING 1")
    hello = {"t": "hello", "v": 1, "sn": SERIAL, "clk": in_(hours=1)}
    with site.gas_meter(SERIAL) as meter:  # gone before it can be told
        meter.send(b"%s\n%s\n" % (json.dumps(hello).encode(), b'{"t":"bye"}'))
        assert [meter.receive()["t"], meter.receive()["t"]] == ["ack", "bye"]
        wait_equal(lambda: [s for s, _ in steps()],
                   ["waiting", "queued", "sent", "sent", "queued"])
    assert "did not leave" in steps()[3][1]
    with dial_wrong(site, timedelta(hours=1)) as meter:
        assert meter.receive()["op"] == "set_clock"
    wait_until(lambda: steps()[-1][0] == "sent")


def test_a_right_clock_is_not_set(site, clock_gas):
    bearer = {"Authorization": f"Bearer {clock_gas.token}"}
    path = f"/api/v1/meters/{clock_gas.gas}/commands"

    def wish():
        return send(site.headend, "POST", path, bearer, {"kind": "set_clock"})

    assert "Nothing is known" in wish().json["detail"]
    with dial_wrong(site, timedelta(0)):
        wait_until(lambda: site.sql("SELECT 1 FROM meter_clock WHERE "
                                    "offset_us IS NOT NULL"))
    refused = wish()
    assert refused.status == 409 and "clock is" in refused.json["detail"]
