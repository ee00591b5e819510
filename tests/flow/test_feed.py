"""The live feed: what becomes new, once, in order, across interruptions."""

import http.client
import json
import threading

import pytest
from harness import Uplink, signed_in, wait_until

EUI, SERIAL = "94193a00000069fe", "69322582"


class Listener:
    """Reads server-sent events until it is closed."""

    def __init__(self, tenant, after=None, kinds=None):
        headers = {"Authorization": f"Bearer {tenant.token}"}
        if after:
            headers["Last-Event-ID"] = after
        self.line = http.client.HTTPConnection(
            "127.0.0.1", tenant.site.headend.http_port, timeout=60)
        self.line.request("GET", "/api/v1/feed" +
                          (f"?kinds={kinds}" if kinds else ""),
                          headers=headers)
        self.reply = self.line.getresponse()
        self.status, self.events, self.last = self.reply.status, [], after
        if self.status == 200:
            self.thread = threading.Thread(target=self.read, daemon=True)
            self.thread.start()
            wait_until(lambda: after or self.last, what="the feed to begin")

    def read(self):
        event = {}
        try:
            for line in self.reply:
                line = line.decode().rstrip("\n")
                if not line and event:
                    self.took(event)
                    event = {}
                elif line and line[0] != ":":
                    name, _, value = line.partition(": ")
                    event[name] = value
        except (OSError, ValueError, AttributeError):
            pass

    def took(self, event):
        if event["event"] != "ready":
            self.events.append((event["event"], json.loads(event["data"])))
        self.last = event["id"]

    def close(self):
        self.line.sock.shutdown(2)
        self.thread.join(10)

    def counters(self):
        return [d["time"] for kind, d in self.events if kind == "readings"]


def uplinks(first, n):
    return [Uplink(EUI, counter=i, time=f"2026-01-15T{12 + i // 60:02d}:"
                   f"{i % 60:02d}:00+00:00").chirpstack4()
            for i in range(first, first + n)]


@pytest.fixture
def heat(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.meter(SERIAL, dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    return demo


def test_readings_and_events_arrive_as_they_are_stored(site, broker, heat):
    listener = Listener(heat)
    broker.publish_all(uplinks(1, 3))
    wait_until(lambda: len(listener.counters()) == 3)
    _, data = [e for e in listener.events if e[0] == "readings"][0]
    assert data["registers"]["6-0:1.0.0"] == {"value": "106895", "unit": "kWh"}
    broker.publish_all(uplinks(10, 1))
    wait_until(lambda: [d for k, d in listener.events
                        if k == "event" and d["code"] == "frame.gap"])
    heat.meter("24000123", "heo-g4")
    wait_until(lambda: [d for k, d in listener.events if k == "meter"
                        and d["serial"] == "24000123"])
    listener.close()


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(
        site, broker, heat):
    first = Listener(heat, kinds="readings")
    broker.publish_all(uplinks(1, 5))
    wait_until(lambda: len(first.events) == 5)
    first.close()
    broker.publish_all(uplinks(6, 5))
    heat.wait_fates(stored=10)
    second = Listener(heat, after=first.last, kinds="readings")
    broker.publish_all(uplinks(11, 5))
    wait_until(lambda: len(second.events) == 10)
    second.close()
    assert sorted(first.counters() + second.counters()) == [
        f"2026-01-15T12:{i:02d}:00+00:00" for i in range(1, 16)]


def test_who_was_away_too_long_is_told_to_begin_anew(site, heat):
    listener = Listener(heat, after="5-5")
    wait_until(lambda: ("reset", {}) in listener.events)
    listener.close()
    assert Listener(heat, after="nonsense").status == 400


def test_a_tenant_hears_only_its_own(site, broker, heat):
    other = site.tenant("other")
    theirs = wait_until(lambda: (lambda l: l.status == 200 and l)(
        Listener(other)))
    mine = Listener(heat)
    broker.publish_all(uplinks(1, 3))
    wait_until(lambda: len(mine.counters()) == 3)
    other.meter("1", "heo-g4")
    wait_until(lambda: theirs.events)
    assert [k for k, _ in theirs.events] == ["meter"]
    mine.close()
    theirs.close()


def test_a_session_may_listen_and_the_server_still_stops(site, heat):
    person = signed_in(site, "anna@example.org")
    line = http.client.HTTPConnection("127.0.0.1", site.headend.http_port)
    line.request("GET", "/api/v1/feed",
                 headers={"Cookie": f"headend_session={person.cookie}"})
    reply = line.getresponse()
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    site.headend.stop()
    assert b"event: ready" in reply.read()
