"""A short run of tests/chaos: twenty kills with other faults beside them."""

import subprocess
import sys

from harness import ROOT


def test_nothing_acknowledged_is_lost_in_twenty_kills():
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "chaos" / "run", "--kills", "20",
         "--minutes", "4"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    try:
        told, _ = process.communicate(timeout=360)
    finally:
        if process.poll() is None:
            process.terminate()  # it ends its own servers
            process.wait(60)
    assert process.returncode == 0, told
