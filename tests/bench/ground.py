"""What the benches of the journal and of growth stand on: a Release build, a
PostgreSQL with fsync, one node with a simulated fleet."""

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
os.environ["HEADEND_BUILD"] = str(BUILD)
sys.path.insert(0, str(ROOT / "tests" / "flow"))

from harness import Broker, Cluster, Site, wait_until  # noqa: E402

POSTGRES = """
listen_addresses = ''
shared_buffers = 512MB
max_wal_size = 4GB
max_connections = 60
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def build():
    say("building Release ...")
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja",
                    "-DCMAKE_BUILD_TYPE=Release"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD, "headend", "headend-sim"],
                   check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def alone(lock):
    """Holds the lock file, if there is one, while something is measured."""
    if not lock:
        yield
        return
    with open(lock, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class Simulator:
    """headend-sim in the background, or to its end with `done()`."""

    def __init__(self, *args):
        self._process = subprocess.Popen(
            [BUILD / "tests" / "sim" / "headend-sim", *map(str, args)],
            stdout=subprocess.PIPE, text=True)

    def end(self):
        """Begins nothing new, waits for its acknowledgements."""
        self._process.terminate()
        return self.done()

    def kill(self):
        self._process.kill()
        self._process.wait()

    def done(self):
        """{"published": n, ...}"""
        told, _ = self._process.communicate()
        assert self._process.returncode == 0, told
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", told)}


class Ground:
    """A cluster, a broker and a node with a fleet of heat meters."""

    def __init__(self, meters, bridges, **settings):
        self._ends = contextlib.ExitStack()
        try:
            folder = Path(self._ends.enter_context(
                tempfile.TemporaryDirectory(prefix="he-bench-")))
            self._begin(folder, meters, bridges, settings)
        except BaseException:
            self._ends.close()
            raise

    def _begin(self, folder, meters, bridges, settings):
        for name in ("node", "broker"):
            (folder / name).mkdir()
        self.cluster = Cluster(POSTGRES)
        self._ends.callback(self.cluster.remove)
        self.site = Site(self.cluster, folder / "node")
        self.node, self.sql = self.site.headend, self.site.sql
        self._ends.callback(self.site.finish)
        self.broker = Broker(folder / "broker",
                             ROOT / "deploy" / "mosquitto.conf")
        self.site.brokers.append(self.broker)
        self.bridges = bridges
        self.node.configure(log__level="info", journal__segment_size="64M",
                            **settings)
        self.demo = self.site.tenant("demo")
        self.fleet = ["--lorawan", meters, "--gas", 0]
        self.node.cli("meter", "import", "--tenant", "demo", "-",
                      stdin=subprocess.run(
                          [BUILD / "tests" / "sim" / "headend-sim",
                           *map(str, self.fleet), "--fleet-csv"], check=True,
                          capture_output=True, text=True).stdout)
        self.demo.integration("chirpstack", self.broker.url, None,
                              "--bridges", str(bridges))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ends.close()

    def start(self):
        """Seconds from the start of the process until it is serving."""
        seen = len(self.node.log())
        self.node.launch()
        wait_until(self.node._ready, 300, "the node to be ready")
        began, = re.findall(r"T([\d:.]+)Z info  headend starts",
                            self.node.log()[seen:])
        serving, = re.findall(r"T([\d:.]+)Z info  serving",
                              self.node.log()[seen:])
        return (seconds(serving) - seconds(began)) % 86400

    def simulate(self, *args):
        sim = Simulator(*self.fleet, "--no-faults", "--broker",
                        self.broker.url, *args)
        self._ends.callback(sim.kill)
        return sim

    def rss_mib(self):
        return self.node.memory_kib() / 1024

    def stored(self):
        """Frames, since the start of the node. Not from SQL: a sum over the
        minutes of a year, ten times a second, is a load of its own."""
        return self.node.metrics().get(
            f'headend_frames_total{{tenant="{self.demo.id}",fate="stored"}}', 0)


def seconds(clock):
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def timed(function):
    began = time.monotonic()
    function()
    return time.monotonic() - began
