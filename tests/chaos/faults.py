"""Calls of headend that fail on the n-th time: fail.c, built here, preloaded
into one node, steered through shared memory."""

import errno
import mmap
import re
import struct
import subprocess
from pathlib import Path

from harness import BUILD, wait_until

SOURCE = Path(__file__).parent / "fail.c"

# As in fail.c.
CALLS = ("write", "pwrite", "fdatasync", "fsync", "fallocate", "connect")
HALF, DIE_BEFORE, DIE_TORN, DIE_AFTER = -1, -2, -3, -4
FOREVER = 2**31 - 1
_RULE = struct.Struct("=iiii")  # skip, times, what, hits
_STEP_AT = -(-len(CALLS) * _RULE.size // 8) * 8


class Faults:
    """Applies to the node it is given, from its next start on."""

    def __init__(self, headend, directory):
        self._library = directory / "fail.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra",
                        "-Werror", "-o", self._library, SOURCE, "-ldl"],
                       check=True, timeout=60)
        control = directory / "control"
        control.write_bytes(bytes(4096))
        with open(control, "r+b") as f:
            self._memory = mmap.mmap(f.fileno(), 4096)
        environment = headend._environment()
        environment.update(LD_PRELOAD=self._preload(),
                           CHAOS_CONTROL=str(control), CHAOS_PATH="/journal")
        headend._environment = lambda: environment

    def _preload(self):
        """gcc's AddressSanitizer is a library and must come first."""
        needs = subprocess.run(["ldd", BUILD / "headend"], check=True,
                               capture_output=True, text=True).stdout
        first = re.findall(r"/\S*libasan\.so\S*", needs)
        return " ".join([*first, str(self._library)])

    def set(self, call, what, skip=0, times=1):
        """`what`: an errno's name or number, HALF, or one of DIE_*."""
        if isinstance(what, str):
            what = getattr(errno, what)
        at = CALLS.index(call) * _RULE.size
        _RULE.pack_into(self._memory, at, 0, 0, what, 0)
        _RULE.pack_into(self._memory, at, skip, times, what, 0)

    def hits(self, call):
        return _RULE.unpack_from(self._memory, CALLS.index(call) *
                                 _RULE.size)[3]

    def wait_hit(self, call, times=1, timeout=20):
        wait_until(lambda: self.hits(call) >= times, timeout,
                   f"{times} hits on {call}")

    def clear(self):
        """No more failing calls; a stepped clock stays where it is."""
        for call in CALLS:
            self.set(call, 0, times=0)

    def step_clock(self, seconds):
        struct.pack_into("=q", self._memory, _STEP_AT, seconds * 10**9)
