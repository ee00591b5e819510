"""The real binary: its subcommands, its server, its HTTP face."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .tools import free_port, stop_process, wait_until

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("HEADEND_BUILD", ROOT / "build" / "debug"))
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|"
                       r"SUMMARY: \w+Sanitizer")


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Headend:
    """One node: a folder with configuration, journal and log."""

    def __init__(self, directory, settings):
        self.dir = directory
        self.log_path = directory / "headend.log"
        self.http_port = free_port()
        self.tcp_port = free_port()
        self._process = None
        self.environment = {}  # beside the inherited
        self.settings = {
            "http.listen": f"127.0.0.1:{self.http_port}",
            "tcp.listen": f"127.0.0.1:{self.tcp_port}",
            "journal.dir": str(directory / "journal"),
            "journal.segment_size": "4M",
            "keys.master_file": str(directory / "master.key"),
            "log.level": "debug",
            **settings}
        self.conf = directory / "headend.conf"
        self.configure()

    def configure(self, **settings):
        """Names with "__" for the dot: journal__quota="64M"."""
        self.settings.update(
            {k.replace("__", "."): v for k, v in settings.items()})
        self.conf.write_text("".join(
            f"{name} = {value}\n" for name, value in self.settings.items()))

    def _environment(self):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("HEADEND_") and not k.startswith("PG")}
        env["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        return {**env, **self.environment}

    def run(self, *args, stdin=None, config=True):
        """Any subcommand; the completed process, whatever its status."""
        command = [BUILD / "headend", *map(str, args)]
        if config:
            command += ["--config", self.conf]
        done = subprocess.run(command, input=stdin, text=True, timeout=60,
                              capture_output=True, env=self._environment())
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    def cli(self, *args, stdin=None):
        """Output of a subcommand that must succeed."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def cli_json(self, *args):
        return json.loads(self.cli(*args, "--json"))

    def start(self):
        self.launch()
        wait_until(self._ready, 30, "headend to be ready")

    def launch(self):
        """Without waiting for it to be ready."""
        with open(self.log_path, "a") as log:
            self._process = subprocess.Popen(
                [BUILD / "headend", "serve", "--config", self.conf],
                stdout=log, stderr=log, cwd=self.dir, env=self._environment())

    def _ready(self):
        if self._process.poll() is not None:
            raise AssertionError(
                f"serve ended with {self._process.returncode}:\n{self.log()}")
        return self.get("/readyz").status == 200

    @property
    def pid(self):
        return self._process.pid

    def running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self):
        """SIGTERM; a clean end is part of every test."""
        status = stop_process(self._process)
        self._process = None
        assert status in (None, 0), f"serve ended with {status}"

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def check_sanitizers(self):
        found = SANITIZER.search(self.log())
        assert not found, self.log()[max(0, found.start() - 200):][:8000]

    def memory_kib(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def get(self, path, token=None, headers=None, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}", headers=headers or {})
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as e:
            return Reply(e.code, e.headers, e.read())

    def metrics(self):
        """{"name{label=\\"x\\"}": value}"""
        lines = self.get("/metrics").text.splitlines()
        pairs = [l.rsplit(" ", 1) for l in lines if l and l[0] != "#"]
        return {name: float(value) for name, value in pairs}

    def metric(self, name):
        """The sum over all labels; ValueError while there is none."""
        found = [v for k, v in self.metrics().items()
                 if k.split("{")[0] == name]
        if not found:
            raise ValueError(f"no metric {name} yet")
        return sum(found)
