"""deploy/quickstart on a folder of its own: it comes up, answers, ends what it
started, keeps its data, and refuses to run twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import pytest
from harness import BUILD, ROOT, free_port, wait_until


def default_interrupt():
    """What runs in the background inherits an ignored Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Quickstart:
    def __init__(self, directory, *options):
        self.dir = directory
        self.port = free_port()
        self.out = directory.parent / "quickstart.out"
        self._process = self._run("--port", str(self.port), *options)
        wait_until(lambda: self._alive() and "Ctrl-C" in self.text(), 90,
                   "quickstart to be up")

    def _run(self, *options):
        with open(self.out, "w") as out:
            return subprocess.Popen(
                [ROOT / "deploy/quickstart", "--dir", self.dir, *options],
                stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, "HEADEND_BUILD": str(BUILD)},
                preexec_fn=default_interrupt)

    def _alive(self):
        assert self._process.poll() is None, self.text()
        return True

    def text(self):
        return self.out.read_text()

    def children(self):
        return {int(p.read_text()) for p in (self.dir / "run").glob("*.pid")
                if p.stem != "quickstart"}

    def get(self, path):
        token = (self.dir / "demo.key").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read())

    def end(self):
        """Ctrl-C reaches the script alone."""
        children = self.children()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(40)
        finally:
            self._process.terminate()
            self._process.wait(40)
        assert "All stopped" in self.text()
        alive = [p for p in children if os.path.exists(f"/proc/{p}")]
        assert not alive, self.text()


@pytest.fixture(params=["open", "closed"])
def place(request):
    """Where user postgres can go, and where it cannot (as under /root)."""
    parent = Path(tempfile.mkdtemp(prefix="he-quick-"))
    parent.chmod(0o755 if request.param == "open" else 0o700)
    yield parent / "var"
    if (parent / "var/.quickstart").exists():
        for link in (parent / "var").iterdir():
            if link.is_symlink():
                shutil.rmtree(link.resolve().parent, ignore_errors=True)
    shutil.rmtree(parent)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "var"


def addresses(pids):
    """Where these processes listen for TCP."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return {line.split()[3] for line in lines
            if pids & {int(p) for p in re.findall(r"pid=(\d+)", line)}}


def test_quickstart_comes_up_and_keeps_its_data(place):
    first = Quickstart(place)
    try:
        assert len(first.children()) == 4
        wait_until(lambda: first.get("/api/v1/frames")["frames"], 30,
                   "frames of the fleet")
        meters = first.get("/api/v1/meters?limit=1000")["meters"]
        assert len(meters) == 330
        listening = addresses(first.children())
        assert len(listening) == 3  # HTTP, meters, broker
        assert all(a.startswith("127.0.0.1:") for a in listening), listening
        again = subprocess.run(
            [ROOT / "deploy/quickstart", "--dir", place, "--reset"],
            capture_output=True, text=True, timeout=60)
        assert again.returncode == 1 and "already running" in again.stderr
        token = (place / "demo.key").read_text()
        assert (place / "demo.key").stat().st_mode & 0o77 == 0
    finally:
        first.end()
    second = Quickstart(place, "--no-sim")
    try:
        assert (place / "demo.key").read_text() == token
        assert len(second.get("/api/v1/meters?limit=1000")["meters"]) == 330
    finally:
        second.end()


def test_wrong_option_is_refused(folder):
    done = subprocess.run([ROOT / "deploy/quickstart", "--nosim"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "--nosim" in done.stderr


def test_reset_wipes_only_what_quickstart_made(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    done = subprocess.run(
        [ROOT / "deploy/quickstart", "--dir", folder, "--reset"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "not wiped" in done.stderr
    assert (folder / "thesis.txt").exists()
