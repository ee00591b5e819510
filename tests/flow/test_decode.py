"""headend decode: a person's table, a program's lines, and - where the corpora
of real telegrams are at hand - every one of them."""

import json
import re
import subprocess
import sys

import pytest
from harness import BUILD, ROOT

CORPORA = ROOT.parent / "shared" / "corpora"
KEY = "000102030405060708090a0b0c0d0e0f"
CLEAR = "18442D2C785634121B167A2A0000000413181E0000025B1500"
MODE_5 = "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E"
FULL = "1C442D2C785634121B167A2A0000000413181E0000025B150001FD1700"
COMPACT = "19442D2C785634121B167B2B00000098BCB8E701000000020000"


def decode(*args, stdin=None):
    return subprocess.run([BUILD / "headend", "decode", *args], input=stdin,
                          text=True, capture_output=True, timeout=60)


def answers(*asked):
    done = decode("--jsonl", stdin="".join(
        (a if isinstance(a, str) else json.dumps(a)) + "\n" for a in asked))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(asked)
    return lines


def test_table_shows_register_value_and_place():
    done = decode(CLEAR, "--codec", "wmbus")
    assert done.returncode == 0, done.stderr
    assert re.search(r"serial +12345678", done.stdout)
    assert re.search(r" 15 +0413181e0000 +volume +7\.704 +m3 +8-0:1\.0\.0", done.stdout)


def test_table_shows_the_bytes_and_never_control_characters():
    telegram = ("/LGZ4ZMF\r\n\r\nC.1.0(12\x1b[31m3)\r\n"
                "1.8.0(00012.3*kWh)\r\n!\r\n").encode().hex()
    done = decode(telegram, "--codec", "iec62056-21")
    assert done.returncode == 0
    assert re.search(r"^ +18  12\.\[31m3\) +text", done.stdout, re.M)
    assert re.search(r"^ +35  00012\.3\*kWh\) +energy +12\.3 kWh +1-0:1\.8\.0",
                     done.stdout, re.M)
    assert "\x1b" not in done.stdout


def test_kind_is_recognised():
    assert "wmbus" in decode(CLEAR).stdout
    assert "heo-json" in decode('{"t":"hello"}', "--text").stdout


@pytest.mark.parametrize("length", [0x1B, 0x2F, 0x68, 0x7B, 0x7E, 0xE5])
def test_radio_frame_is_recognised_whatever_its_length(length):
    frame = bytes([length]) + bytes.fromhex(CLEAR)[1:]
    done = decode((frame + b"\x2f" * (length + 1 - len(frame))).hex())
    assert done.returncode == 0, done.stderr
    assert "7.704" in done.stdout


def test_failure_names_byte_and_clause():
    done = decode(CLEAR[:-2])
    assert done.returncode == 1
    assert "EN 13757-4" in done.stderr and "byte 24" in done.stderr


@pytest.mark.parametrize("args", [
    [], [CLEAR, "--jsonl"], [CLEAR, "--port", "x"], [CLEAR, "--key", "00"],
    ["zz"], [CLEAR, "--codec", "nonesuch"]])
def test_wrong_use_is_refused(args):
    done = decode(*args)
    assert done.returncode != 0 and done.stderr.startswith("headend: ")


def test_lines_are_answered_one_by_one():
    clear, broken, unknown, keyed, keyless = answers(
        {"name": "a", "codec": "wmbus", "hex": CLEAR},
        "{",
        {"name": "b", "codec": "nonesuch", "hex": "00"},
        {"name": "c", "codec": "wmbus", "hex": MODE_5, "key": KEY},
        {"name": "d", "codec": "wmbus", "hex": MODE_5, "key": None})
    assert clear["name"] == "a" and clear["error"] is None
    assert clear["identity"]["id"] == "12345678"
    assert clear["readings"][0] == {
        "quantity": "volume", "obis": "8-0:1.0.0", "value": "7.704",
        "unit": "m3", "storage": 0, "tariff": 0, "function": "inst",
        "time": None, "quality": [], "offset": 15}
    assert broken["error"] and unknown["error"]
    assert keyed["readings"][0]["value"] == "7.704"
    assert keyless["error"] and keyless["readings"] == []


def test_earlier_lines_teach_compact_frames():
    first, _, second = answers({"name": "1", "codec": "wmbus", "hex": COMPACT},
                               {"name": "2", "codec": "wmbus", "hex": FULL},
                               {"name": "3", "codec": "wmbus", "hex": COMPACT})
    assert first["error"] and second["error"] is None
    assert [r["value"] for r in second["readings"]] == ["0.001", "2", "0"]


@pytest.mark.parametrize("name", [
    "mbus", "wmbus", "wmbus-stored-plain", "wmbus-encrypted", "wmbus-compact"])
def test_all_of_the_corpus_is_found(name):
    if not CORPORA.exists():
        pytest.skip("the corpora of real telegrams are not beside the tree")
    done = subprocess.run(
        [sys.executable, CORPORA / "score.py", "--strict", "--corpus",
         CORPORA / f"{name}.jsonl", "--cmd",
         f"{BUILD / 'headend'} decode --jsonl"],
        text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
