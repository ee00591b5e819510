"""A fleet that remembers what was acknowledged to it. What a meter told is
known by (device, number): DevEUI and frame counter, or serial and sequence;
the number is also the value of its main register."""

import collections
import threading
from datetime import datetime, timedelta, timezone

import paho.mqtt.client as mqtt
from harness import GOLDEN, HeoMeter, Uplink, wait_until

HEAT, GAS = 6, 3
RATE = 120            # uplinks/s, all heat meters together
DECODED = 4000        # bytes that the network server adds to each: the journal
                      # then begins a new segment every few seconds
PATIENCE_S = 4        # of a gas meter for an answer
SESSION = 25          # messages of one call
START = datetime(2026, 1, 15, 12, tzinfo=timezone.utc)


class Ledger:
    """Who holds what, as far as the fleet and the taps know."""

    def __init__(self):
        self.sent = set()    # the broker said PUBACK to the publisher
        self._acked = set()  # headend said that it is safe
        self.naks = {}
        self._lock = threading.Lock()

    def acknowledged(self, identity):
        with self._lock:
            self._acked.add(identity)

    def acked(self):
        with self._lock:
            return set(self._acked)

    def count(self):
        """Acknowledged to (heat meters, gas meters)."""
        acked = self.acked()
        heat = sum(device.startswith("9419") for device, _ in acked)
        return heat, len(acked) - heat


class Gas(threading.Thread):
    """One gas meter: calls, tells rows one by one, repeats what was not
    acknowledged on its next call."""

    def __init__(self, serial, port, ledger, stop):
        super().__init__(daemon=True)
        self._serial, self._port = serial, port
        self._ledger, self._stop_event = ledger, stop

    def _message(self, n):
        at = START + timedelta(minutes=n)
        return {"t": "data", "seq": n, "cols": ["ts", "v_work"],
                "rows": [[at.isoformat(), f"{n}.0000"]]}

    def _call(self, n):
        """Returns the first number that is not acknowledged."""
        with HeoMeter(self._port, self._serial, PATIENCE_S) as meter:
            answer = meter.hello()
            for n in range(n, n + SESSION):
                if not answer or answer["t"] != "ack":
                    break
                answer = meter.ask(self._message(n))
                if answer == {"t": "ack", "seq": n, "n": 1}:
                    self._ledger.acknowledged((self._serial, n))
                elif answer:
                    code = answer.get("code", str(answer))
                    self._ledger.naks[code] = (
                        self._ledger.naks.get(code, 0) + 1)
                if self._stop_event.wait(0.02) or not answer:
                    break
        return n

    def _first_open(self, n):
        while (self._serial, n) in self._ledger._acked:
            n += 1
        return n

    def run(self):
        n = 1
        while not self._stop_event.is_set():
            try:
                self._call(n)
            except (OSError, ValueError):
                pass
            n = self._first_open(n)
            self._stop_event.wait(0.1)


class Publisher(threading.Thread):
    """The network server: uplinks of all heat meters in turn, QoS 1; what the
    broker did not acknowledge goes again (paho does that)."""

    WAITING_MAX = 600

    def __init__(self, euis, port, ledger, stop):
        super().__init__(daemon=True)
        self._euis, self._ledger = euis, ledger
        self._stop_event = stop
        self._n = 0
        self._waiting = {}  # message id -> identity
        self._answered = collections.deque()  # message ids, by paho's thread
        self._client = mqtt.Client(client_id="chaos-network-server")
        self._client.max_inflight_messages_set(100)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = lambda _c, _d, mid: \
            self._answered.append(mid)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _publish(self, eui, n):
        payload = GOLDEN[:3] + n.to_bytes(4, "little") + GOLDEN[7:]
        at = START + timedelta(seconds=n)
        topic, text = Uplink(eui, payload, n,
                             time=at.isoformat()).chirpstack4()
        text = f'{text[:-1]}, "object": {{"text": "{"x" * DECODED}"}}}}'
        mid = self._client.publish(topic, text, 1).mid
        self._waiting[mid] = (eui, n)

    def newest(self):
        """The last uplink of each meter. When all of them are acknowledged
        none is under way: each bridge had some of them, in order."""
        return {(eui, self._n) for eui in self._euis}

    def waiting(self):
        """How many the broker has not acknowledged."""
        while self._answered:
            identity = self._waiting.pop(self._answered.popleft(), None)
            self._ledger.sent.add(identity)
        return len(self._waiting)

    def run(self):
        while not self._stop_event.wait(len(self._euis) / RATE):
            if self.waiting() < self.WAITING_MAX:
                self._n += 1
                for eui in self._euis:
                    self._publish(eui, self._n)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Fleet:
    def __init__(self, tenant):
        self.ledger = Ledger()
        self.stop = threading.Event()
        self.devices = {}  # meter id -> device
        self.euis = [f"9419{i:012x}" for i in range(1, HEAT + 1)]
        self.serials = [f"2400{i:04d}" for i in range(1, GAS + 1)]
        for i, eui in enumerate(self.euis):
            self.devices[tenant.meter(f"7000{i:04d}", dev_eui=eui)] = eui
        for serial in self.serials:
            self.devices[tenant.meter(serial, "heo-g4")] = serial

    def start(self, broker_port, tcp_port):
        self.publisher = Publisher(self.euis, broker_port, self.ledger,
                                   self.stop)
        self._threads = [self.publisher] + [
            Gas(serial, tcp_port, self.ledger, self.stop)
            for serial in self.serials]
        for thread in self._threads:
            thread.start()

    def end(self):
        """Tells nothing new; what the broker owes the publisher still comes."""
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
        wait_until(lambda: self.publisher.waiting() == 0, 30,
                   "the broker to acknowledge all uplinks")
        self.publisher.close()
