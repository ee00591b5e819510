"""What a user would otherwise pick: a Python script in two ways, and Node-RED.
Each stores one row per uplink, undecoded, in a table with a key."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ground import BUILD, Broker, say, wait_until
from harness import free_port, stop_process
from node import SUPPLIED, Fleet, Watch, beside

TABLE = """CREATE TABLE uplink (dev_eui text, time timestamptz, counter bigint,
    port int, payload bytea, PRIMARY KEY (dev_eui, time, counter))"""
NODES = BUILD.parent / "node-red"  # kept from run to run
INSERT = """
const u = JSON.parse(msg.payload);
global.get('pool').query({name: 'put', text: 'INSERT INTO uplink VALUES ' +
    '($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING', values: [u.deviceInfo.devEui,
    u.time, u.fCnt, u.fPort, Buffer.from(u.data, 'base64')]})
    .catch(e => node.error(e));
return null;
"""


def node_red_there():
    """Installs it once; False, with a word, where that fails."""
    if (NODES / "node_modules" / "node-red" / "red.js").exists():
        return True
    NODES.mkdir(parents=True, exist_ok=True)
    say("installing Node-RED ...")
    told = subprocess.run(["npm", "install", "--no-audit", "--no-fund",
                           "--prefix", NODES, "node-red@4", "pg@8"],
                          capture_output=True, text=True)
    if told.returncode:
        say("Node-RED is left out, npm install failed: "
            + told.stderr.strip().splitlines()[-1])
    return told.returncode == 0


def node_red_command(folder, port, database, http):
    """A flow of two nodes: mqtt in, and a function that calls a pool of ten
    connections with a prepared statement."""
    host = database.split("host=")[1]
    name = database.split("@/")[1].split("?")[0]
    (folder / "settings.js").write_text(f"""
const pg = require('{NODES}/node_modules/pg');
module.exports = {{uiPort: {http}, uiHost: '127.0.0.1', userDir: '{folder}',
    flowFile: 'flows.json', httpAdminRoot: false,
    functionGlobalContext: {{pool: new pg.Pool({{max: 10, host: '{host}',
        database: '{name}', user: 'postgres'}})}},
    logging: {{console: {{level: 'info'}}}}}};
""")
    (folder / "flows.json").write_text(json.dumps([
        {"id": "t", "type": "tab", "label": "t"},
        {"id": "b", "type": "mqtt-broker", "broker": "127.0.0.1",
         "port": str(port), "clientid": "rival", "autoConnect": True,
         "protocolVersion": "4", "keepalive": "60", "cleansession": False},
        {"id": "i", "type": "mqtt in", "z": "t", "broker": "b", "qos": "1",
         "topic": "application/+/device/+/event/up", "datatype": "utf8",
         "x": 1, "y": 1, "wires": [["f"]]},
        {"id": "f", "type": "function", "z": "t", "func": INSERT,
         "outputs": 1, "x": 2, "y": 1, "wires": [[]]}]))
    return ["node", NODES / "node_modules" / "node-red" / "red.js",
            "--settings", folder / "settings.js"], "Connected to broker"


def python_command(way, port, database):
    script = Path(__file__).parent / "rival.py"
    return [sys.executable, script, str(port), database, way], "ready"


class Rival:
    def __init__(self, cluster, meters, way):
        self._tmp = tempfile.TemporaryDirectory(prefix="he-rival-")
        self._folder = Path(self._tmp.name)
        database = cluster.url(cluster.new_database())
        cluster.query(database.split("@/")[1].split("?")[0], TABLE)
        self.broker = Broker(self._folder, SUPPLIED)
        self._command, self._ready = (
            node_red_command(self._folder, self.broker.port, database,
                             free_port()) if way == "node-red"
            else python_command(way, self.broker.port, database))
        self._fleet = Fleet(meters)
        self._rows = Watch(database, "SELECT count(*) FROM uplink")
        self._process = None
        self._start()

    def _start(self):
        log = self._folder / "rival.log"
        log.write_text("")
        with open(log, "w") as out:
            self._process = subprocess.Popen(self._command, stdout=out,
                                             stderr=out)
        wait_until(lambda: self._ready in log.read_text(), 60, self._ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop_process(self._process)
        self._rows.close()
        self.broker.stop()
        self._tmp.cleanup()

    def rate(self, count):
        before, began = self._rows.now(), time.monotonic()
        self._fleet.publish(self.broker, count)
        self._rows.reaches(before + count, "rows")
        return count / (time.monotonic() - began)

    def lost(self, count):
        before, told = self._rows.now(), []

        def kill_in_the_middle():
            self._rows.reaches(before + count // 4, "rows")
            self._process.kill()
            self._process.wait()

        beside(lambda: told.append(self._fleet.publish(self.broker, count)),
               kill_in_the_middle, told)
        self._start()
        return before + count - self._rows.settles()
