"""All that a run of chaos stands on: PostgreSQL, broker and node, with a wire
between each two of them that can be cut."""

import contextlib
import os
import signal
from pathlib import Path

import psycopg2
from faults import Faults
from fleet import Fleet
from harness import ROOT, Broker, Cluster, Site, free_port, wait_until
from harness.postgres import BIN
from wires import MqttTap, Wire, Wires


class Database(Cluster):
    def crash(self):
        """SIGQUIT to all: nothing is written out."""
        self._run(BIN / "pg_ctl", "-D", self.data, "-m", "immediate", "-w",
                  "stop")


class World:
    def __init__(self, directory):
        self._ends = contextlib.ExitStack()  # all of them, whatever fails
        try:
            self._begin(directory)
        except BaseException:
            self.close()
            raise

    def _begin(self, directory):
        for name in ("node", "broker", "wire", "faults"):
            (directory / name).mkdir()
        self.wires = Wires()
        self._ends.callback(self.wires.close)
        self.database = Database()
        self._ends.callback(self.database.remove)
        self.site = Site(self.database, directory / "node")
        self.node = self.site.headend
        self.broker = Broker(directory / "broker",
                             ROOT / "deploy" / "mosquitto.conf")
        self._ends.callback(self.broker.stop)
        self._ends.callback(self.node.check_sanitizers)
        self._ends.callback(self.node.stop)
        self.faults = Faults(self.node, directory / "faults")
        self._lay_wires(directory / "wire")
        demo = self.site.tenant("demo")
        self.fleet = Fleet(demo)
        demo.integration("chirpstack",
                         f"mqtt://127.0.0.1:{self._broker_port}", None,
                         "--bridges", "2")

    def _lay_wires(self, directory):
        """Node to database, bridges to broker, meters to node."""
        self._broker_port, self._tcp_port = free_port(), free_port()
        socket = ".s.PGSQL.5432"
        self.wire = {
            "database": Wire(self.wires, str(directory / socket),
                             str(self.database.dir / socket)),
            "broker": Wire(self.wires, self._broker_port, self.broker.port,
                           lambda: MqttTap(self.fleet.ledger)),
            "meters": Wire(self.wires, self._tcp_port, self.node.tcp_port)}
        self.node.configure(
            database__url=f"postgresql://headend_server@/{self.site.database}"
                          f"?host={directory}",
            journal__segment_size="1M", log__level="info")

    def start(self):
        self.node.start()
        self.site.wait_subscribed(2)
        self.fleet.start(self.broker.port, self._tcp_port)

    def wait_acknowledged(self, more, timeout=60):
        """Until `more` further messages of each kind are acknowledged."""
        heat, gas = self.fleet.ledger.count()

        def grown():
            now = self.fleet.ledger.count()
            return now[0] >= heat + more and now[1] >= gas + more

        wait_until(grown, timeout, f"{more} more acknowledgements (was "
                                   f"{heat}, {gas})")

    def wait_dead(self):
        """Until a fault has ended the node."""
        wait_until(lambda: not self.node.running(), 20,
                   "the node to die of its fault")
        self.node.kill()

    def repair(self):
        """Whatever was broken works again, and the server is up."""
        self.faults.clear()
        for wire in self.wire.values():
            wire.flow()
        if not self.node.running():
            self.node.start()

    def bridges(self):
        """Process ids of the node's children."""
        children = f"/proc/{self.node.pid}/task/{self.node.pid}/children"
        return [int(pid) for pid in Path(children).read_text().split()]

    def sql(self, query, args=None):
        """Waits for a database that is still recovering."""
        def ask():
            try:
                return [self.site.sql(query, args)]
            except psycopg2.OperationalError:
                return None

        return wait_until(ask, 30, "the database")[0]

    def kill_bridge(self, rng):
        os.kill(rng.choice(wait_until(self.bridges)), signal.SIGKILL)

    def kill_backend(self, rng):
        """One of PostgreSQL's processes for this node; it then restarts all
        the others."""
        pids = wait_until(lambda: [pid for pid, in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE usename = "
            "'headend_server'")])
        os.kill(rng.choice(pids), signal.SIGKILL)

    def close(self):
        """The server must end cleanly, as in every test."""
        self._ends.close()
