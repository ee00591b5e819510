"""headend under measurement: one node with a database and a broker of its own,
made and removed; and the tools that all parts of the benchmark share."""

import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg2
from ground import BUILD, ROOT, Broker, Site, timed, wait_until

SUPPLIED = ROOT / "deploy" / "mosquitto.conf"


def simulator(*args, **how):
    return subprocess.run([BUILD / "tests" / "sim" / "headend-sim", *args],
                          check=True, text=True, stdout=subprocess.PIPE,
                          **how).stdout


def cpu_seconds(pid):
    """Of a process and the children it has waited for or has now."""
    def own(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
        return sum(map(int, fields.split()[11:15]))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = own(pid) + sum(own(int(child)) for child in children)
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmHWM")


class Fleet:
    """The simulated network server and its heat meters."""

    def __init__(self, meters):
        self.args = ["--lorawan", str(meters), "--gas", "0"]

    def csv(self):
        return simulator(*self.args, "--fleet-csv")

    def publish(self, broker, count, rate=0):
        """Until `count` uplinks are acknowledged by the broker (0: flat out);
        how many messages that were, joins included."""
        told = simulator(*self.args, "--no-faults", "--broker", broker.url,
                         "--rate", str(rate), "--count", str(count))
        return int(re.search(r"published=(\d+)", told)[1])


class Watch:
    """One connection that asks the same question again and again."""

    def __init__(self, url, question):
        self._url, self._question, self._connection = url, question, None

    def now(self):
        try:
            if not self._connection:
                self._connection = psycopg2.connect(self._url)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(self._question)
                return cursor.fetchone()[0]
        except psycopg2.OperationalError as e:  # PostgreSQL is away
            self.close()
            raise OSError(str(e)) from e

    def reaches(self, count, what):
        wait_until(lambda: self.now() >= count, 600, f"{count} {what}")

    def settles(self, seconds=4):
        """What it stays at."""
        last, since = self.now(), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.2)
            now = self.now()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None


class Run:
    def __init__(self, cluster, meters, bridges, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="he-bench-")
        node, broker = (Path(self.folder.name) / n for n in ("node", "broker"))
        node.mkdir()
        broker.mkdir()
        self.cluster, self.bridges = cluster, bridges
        self.late = self.turn = 0
        self.fleet = Fleet(meters)
        self.site = Site(cluster, node)
        self.headend = self.site.headend
        self.broker = Broker(broker, SUPPLIED)
        self.site.brokers.append(self.broker)
        self.headend.configure(log__level="info",
                               journal__segment_size="64M", **settings)
        self.demo = self.site.tenant("demo")
        self.headend.cli("meter", "import", "--tenant", "demo", "-",
                         stdin=self.fleet.csv())
        self.demo.integration("chirpstack", self.broker.url, None,
                              "--bridges", str(bridges))
        self.stored = Watch(cluster.url(self.site.database), "SELECT "
                            "coalesce(sum(stored), 0)::int FROM ledger")
        self.start()

    def start(self):
        self.site.start()
        self.site.wait_subscribed(self.bridges)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stored.close()
        self.site.finish()
        self.folder.cleanup()

    @property
    def pid(self):
        return self.headend.pid

    def metric(self, name):
        """As scraped; what the loop did is remembered at its worst."""
        seen = self.headend.metrics()
        self.late = max(self.late, seen["headend_loop_late_seconds"])
        self.turn = max(self.turn, seen["headend_loop_turn_cpu_seconds"])
        return sum(v for k, v in seen.items() if k.split("{")[0] == name)

    def rate(self, count):
        """Uplinks per second, published flat out."""
        before = self.stored.now()
        took = timed(lambda: self.stored.reaches(
            before + self.fleet.publish(self.broker, count), "frames stored"))
        self.metric("headend_loop_late_seconds")
        return count / took

    def latency(self, rate, seconds):
        """(p50, p99) in ms from the network server's time to the commit."""
        before = self.stored.now()
        self.stored.reaches(
            before + self.fleet.publish(self.broker, rate * seconds, rate),
            "frames stored")
        return self.site.sql(
            "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY "
            "extract(epoch FROM pg_xact_commit_timestamp(xmin) - frame_time) "
            "* 1000) FROM (SELECT xmin, frame_time FROM frame WHERE port = 2 "
            "ORDER BY received_at DESC LIMIT %s) f",
            (rate * seconds * 8 // 10,))[0][0]

    def drain(self, count):
        """Frames per second out of a full journal."""
        before = self.stored.now()
        self.cluster.stop()
        try:
            total = self.fleet.publish(self.broker, count)
            wait_until(lambda: self.metric("headend_frames_pending") >= total,
                       600, "a full journal")
        finally:
            self.cluster.start()
        took = timed(lambda: self.stored.reaches(before + total,
                                                 "frames stored"))
        self.metric("headend_loop_late_seconds")
        return total / took

    def lost(self, count):
        """Killed in the middle of a burst and started again: uplinks that the
        broker has acknowledged and nobody ever has."""
        known = Watch(self.cluster.url(self.site.database),
                      "SELECT count(*) FROM frame WHERE fate <> 2")
        before = known.now()
        told = []

        def kill_in_the_middle():
            known.reaches(before + count // 4, "frames stored")
            self.headend.kill()

        total = beside(lambda: told.append(
            self.fleet.publish(self.broker, count)), kill_in_the_middle, told)
        self.start()
        lost = before + total - known.settles()
        known.close()
        return lost


def beside(publish, meanwhile, told):
    """Publishes in a thread while `meanwhile` runs; what was told then."""
    thread = threading.Thread(target=publish)
    thread.start()
    meanwhile()
    thread.join()
    return told[0]
