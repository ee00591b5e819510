"""The journal's files, read and harmed from outside (layout: segment.h)."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

HEAD, RECORD_HEAD = 64, 16


@dataclass
class Record:
    path: Path
    offset: int    # in the file
    position: int  # in the journal
    bytes: bytes

    @property
    def behind(self):
        return self.offset + (RECORD_HEAD + len(self.bytes) + 7 & ~7)

    def identity(self):
        """(device, number) of an uplink or a gas meter's rows, or None."""
        eui = re.search(rb'"devEui": "([0-9a-f]{16})"', self.bytes)
        counter = re.search(rb'"fCnt": (\d+)', self.bytes)
        if eui and counter:
            return eui.group(1).decode(), int(counter.group(1))
        serial = re.search(rb"2400\d{4}", self.bytes)
        sequence = re.search(rb'"t": "data", "seq": (\d+)', self.bytes)
        if serial and sequence:
            return serial.group().decode(), int(sequence.group(1))
        return None


def _segment(path, size):
    """What was written as a record for its place, damaged stretches apart."""
    data = path.read_bytes()
    words = memoryview(data[:len(data) & ~7]).cast("Q")
    salt, start = words[4], int(path.stem) * size
    heads = [8 * i for i, word in enumerate(words[1:])
             if word ^ salt == start + 8 * i]
    for at, following in zip(heads, heads[1:] + [size - HEAD]):
        length, = struct.unpack_from("<I", data, at)
        if at + RECORD_HEAD + length <= following and length > 0:
            yield Record(path, at, start + at,
                         data[at + RECORD_HEAD:at + RECORD_HEAD + length])


def records(directory):
    """All records that lie in the journal, oldest first."""
    size = int((directory / "format").read_text().split()[3])
    return [record for path in sorted(directory.glob("*.seg"))
            for record in _segment(path, size)]


def proven(record):
    """An end mark stands behind it: it was synced."""
    with open(record.path, "rb") as f:
        f.seek(record.behind)
        return f.read(4) == b"\xff" * 4


def flip(record, rng):
    """One bit of it: of its head or of its bytes."""
    at = record.offset + rng.randrange(RECORD_HEAD + len(record.bytes))
    with open(record.path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << rng.randrange(8)]))


def litter(last, rng):
    """Behind the last record: rubbish, as a torn write may leave it."""
    size = last.path.stat().st_size
    n = min(rng.randrange(8, 3000), size - HEAD - last.behind)
    with open(last.path, "r+b") as f:
        f.seek(last.behind)
        f.write(rng.randbytes(max(n, 0)))


def shorten(last, rng):
    """The file ends somewhere behind the last record."""
    size = last.path.stat().st_size
    with open(last.path, "r+b") as f:
        f.truncate(rng.randrange(last.behind, size))
