"""Payload codecs in JavaScript through headend decode: in the styles in which
they are published, with the mistakes they have, and with malice."""

import json
import os
import signal
import subprocess
import time

import pytest
from harness import BUILD

TS013 = """
function decodeUplink(input) {
  var d = { volume: (input.bytes[0] << 8 | input.bytes[1]) / 10, port: input.fPort,
            list: Array.isArray(input.bytes), leak: (input.bytes[2] & 1) === 1,
            history: [{ at: 1768478400, volume: 1.5 }, { at: 1768482000, volume: 1.7 }] };
  return { data: d, warnings: input.bytes.length > 3 ? ['long'] : [] };
}
function encodeDownlink(input) { return { bytes: [1, input.data.minutes], fPort: 7 }; }
function decodeDownlink(input) { return { data: { minutes: input.bytes[1] } }; }
function normalizeUplink(input) { return { data: { water: { total: input.data.volume } } }; }
"""
MAPPING = {
    "medium": "water",
    "registers": [{"field": "volume", "obis": "8-0:1.0.0", "kind": "cumulative", "unit": "l"}],
    "events": [{"field": "leak", "event": "gas.leak"}],
    "rows": [{"field": "history", "time": "at", "registers": [
        {"field": "volume", "obis": "8-0:1.0.0", "kind": "cumulative", "unit": "l"}]}],
}


class Desk:
    """A folder of scripts, and headend decode over them."""

    def __init__(self, path):
        self.path = path

    def script(self, text, name="codec.js"):
        (self.path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(self.path / name)

    def line(self, script, hex="2a01", port=2, **more):
        if "\n" in script or " " in script:
            script = self.script(script, f"s{abs(hash(script))}.js")
        return {"name": "x", "codec": "ts013", "script": script, "hex": hex, "port": port, **more}

    def ask(self, *lines, args=()):
        done = subprocess.run([BUILD / "headend", "decode", "--jsonl", *args], text=True,
                              input="".join(json.dumps(x) + "\n" for x in lines),
                              capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(x) for x in done.stdout.splitlines()]
        assert len(answers) == len(lines)
        return answers

    def one(self, script, **more):
        return self.ask(self.line(script, **more))[0]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.mark.parametrize("script", [
    "function decodeUplink(input) { return { data: { n: input.bytes.length, p: input.fPort } }; }",
    "const decodeUplink = (input) => ({ data: { n: input.bytes.length, p: input.fPort } });",
    "function Decoder(bytes, port) { n = bytes.length; return { n: n, p: port }; }",
    "function Decode(fPort, bytes, variables) { return { n: bytes.length, p: fPort }; }",
    "function f(i) { return { data: { n: i.bytes.length, p: i.fPort } }; }\nmodule.exports = { decodeUplink: f };",
    "exports.decodeUplink = function (i) { return { data: { n: i.bytes.length, p: i.fPort } }; };",
    "module.exports = function (i) { return { data: { n: i.bytes.length, p: i.fPort } }; };",
    "export function decodeUplink(i) { return { data: { n: i.bytes.length, p: i.fPort } }; }",
    "const decodeUplink = (i) => ({ data: { n: i.bytes.length, p: i.fPort } });\nexport default { decodeUplink };",
    "var Buffer2 = require('buffer').Buffer; function decodeUplink(i) {"
    " return { data: { n: Buffer2.from(i.bytes).length, p: i.fPort } }; }",
    "function decodeUplink(i) { console.log('x'); with (i) { return { data: { n: bytes.length, p: fPort } }; } }",
])
def test_published_styles_run_unmodified(desk, script):
    answer = desk.one(script)
    assert answer["error"] is None and answer["object"] == {"n": 2, "p": 2}


COUNTS = "function (i) { return { data: { n: i.bytes.length, p: i.fPort } }; }"


@pytest.mark.parametrize("script", [
    "const a = %s;export{a as decodeUplink};",
    "// a module of its own\n  export const decodeUplink = %s;",
    "var a = %s;\nexport { a as default };",
    "Object.defineProperty(exports, '__esModule', { value: true });\nexports.default = { decodeUplink: %s };",
    "global.decodeUplink = %s;",
    "!function (root, make) { root.driver = make(); }(self, function () { return { decodeUplink: %s }; });",
    "function Decoder(b, port) { return { n: new Buffer(b).slice(0, 2).length - 1 + new Buffer('2a', 'hex').length,"
    " p: port }; } /* %s */",
    "var driver = { decodeUplink: %s };",
    "(function (root, factory) { if (typeof exports === 'object' && typeof module === 'object')"
    " module.exports = factory(); else if (typeof define === 'function' && define.amd) define([], factory);"
    " else root.codecs = factory(); })(this, function () { return { decodeUplink: %s }; });",
    "'use strict'; Object.prototype.readUInt8 = function (at) { return this[at]; };"
    " function decodeUplink(i) { return { data: { n: i.bytes.readUInt8(0) - 40, p: i.fPort } }; } /* %s */",
    "function Buffer(n) { this.all = []; } Buffer.prototype.add = function (b) { this.all.push(b); };"
    " function Decoder(bytes, port) { var b = new Buffer(2); bytes.forEach(b.add, b);"
    " return { n: b.all.length, p: port }; } /* %s */",
    "decodeUplink = function (i) { var n = 0; for (const k in i.bytes) n++; return { data: { n: n, p: 02 } }; }; /* %s */",
])
def test_published_bundles_run_unmodified(desk, script):
    answer = desk.one(script % COUNTS)
    assert answer["error"] is None and answer["object"] == {"n": 2, "p": 2}


@pytest.mark.parametrize("file", [
    "// 20 °C\nfunction decodeUplink() { return { data: 'm³' }; }".encode("latin-1"),
    "function decodeUplink() { return { data: 'm³' }; } // ".encode() + b"\xb0C",
    "\ufefffunction decodeUplink() {\r\n return { data: 'm³' };\r\n}".encode(),
    "\ufeffexport function decodeUplink() { return { data: 'm³' }; }".encode(),
])
def test_files_run_in_whatever_encoding_they_are_published(desk, file):
    assert desk.one(desk.script(file))["object"] == "m³"


def test_what_a_bundle_gets_others_do_not_see(desk):
    script = desk.script("function decodeUplink() { return { data: typeof module + typeof global }; }")
    none, seen = desk.ask(desk.line(script, downlink={"a": 1}), desk.line(script))
    assert "no function encodeDownlink" in none["error"] and seen["object"] == "undefinedundefined"


def test_recv_time_is_there_for_who_does_not_look(desk):
    answers = desk.ask(
        desk.line("function decodeUplink(i) { return { data: i.recvTime.getTime() }; }"),
        desk.line("function decodeUplink(i) { return { data: typeof i.recvTime }; }"))
    assert abs(answers[0]["object"] / 1000 - time.time()) < 60
    assert answers[1]["object"] == "undefined"


def test_lines_stay_lines(desk):
    text = "\x85\u2028\u2029"
    assert desk.one("function decodeUplink() { return { data: '\\x85\\u2028\\u2029' }; }")["object"] == text


@pytest.mark.parametrize("errors", ["''", "null", "false", "undefined", "[]", "['']"])
def test_no_error_in_many_words(desk, errors):
    answer = desk.one("function decodeUplink() { return { data: 1, errors: %s }; }" % errors)
    assert answer["object"] == 1 and answer["error"] is None


def test_result_that_cannot_be_normalized_stays(desk):
    answer = desk.one("function decodeUplink() { return { data: 1, warnings: ['w'] }; }"
                      "function normalizeUplink(i) { return i.data.air.temperature; }", normalize=True)
    assert answer["object"] == 1 and answer["error"] is None and answer["warnings"][0] == "w"
    assert "normalizeUplink threw TypeError" in answer["warnings"][1]


def test_result_is_what_json_makes_of_it(desk):
    answer = desk.one("""function decodeUplink(i) { return { data: { a: undefined, n: NaN, i: -Infinity,
        z: -0, d: new Date(0), u: new Uint8Array([1, 2]), f: 0.1 + 0.2, e: 1e21, b: 2n ** 70n,
        s: 'a\\u0000', t: i.recvTime } }; }""", recvTime="2023-07-19T07:51:25.508306410Z")
    assert answer["object"] == {
        "n": None, "i": None, "z": 0, "d": "1970-01-01T00:00:00.000Z", "u": {"0": 1, "1": 2},
        "f": 0.30000000000000004, "e": 1e21, "b": 2 ** 70, "s": "a\0",
        "t": "2023-07-19T07:51:25.508306410Z"}


def test_what_codecs_take_for_granted_is_there(desk):
    answer = desk.one("""function decodeUplink(i) { var b = Buffer.from(i.bytes); return { data: {
        hex: b.toString('hex'), be: b.readInt16BE(0), le: b.readUInt16LE(0), f: b.readFloatLE(0),
        b64: btoa('hi'), un: atob('aGk='), td: new TextDecoder().decode(new Uint8Array([0xc3, 0xa9])),
        cat: Buffer.concat([b, Buffer.from('ff', 'hex')]).length, type: typeof module } }; }""",
                      hex="ff000000")
    assert answer["object"] == {"hex": "ff000000", "be": -256, "le": 255, "f": 3.57331108403e-43,
                                "b64": "aGk=", "un": "hi", "td": "é", "cat": 5, "type": "undefined"} | {
                                    "f": answer["object"]["f"]}
    assert 3.5e-43 < answer["object"]["f"] < 3.6e-43


def test_own_errors_and_warnings_stay(desk):
    answer = desk.one("function decodeUplink(i) { return { data: { a: 1 }, errors: ['one', 'two'], warnings: ['w'] }; }")
    assert answer["object"] == {"a": 1} and answer["errors"] == ["one", "two"]
    assert answer["warnings"] == ["w"] and answer["error"] == "one; two"


def test_one_frame_leaves_nothing_for_the_next(desk):
    script = "var n = 0, all = {}; function decodeUplink(i) { n++; all[i.bytes[0]] = 1; return { data: { n: n, all: all } }; }"
    first, second = desk.ask(desk.line(script, hex="01"), desk.line(script, hex="02"))
    assert first["object"] == {"n": 1, "all": {"1": 1}} and second["object"] == {"n": 1, "all": {"2": 1}}


def test_time_and_chance_are_the_frames_own(desk):
    script = ("function decodeUplink(i) { return { data: { now: Date.now(), iso: new Date().toISOString(),"
              " r: Math.random(), is: new Date(5) instanceof Date } }; }")
    first, second = (desk.one(script, recvTime="2026-01-15T12:00:00Z") for _ in range(2))
    assert first["object"] == second["object"]
    assert first["object"]["now"] == 1768478400000 and first["object"]["is"] is True


@pytest.mark.parametrize("script, says", [
    ("function decodeUplink(i) {\n  var x = ;\n}", "line 2"),
    ("function decodeUplink(i) {\n\n  throw new Error('bad thing');\n}", "bad thing, line 3"),
    ("function decodeUplink(i) { return i.nothing.at; }", "TypeError"),
    ("function decodeUplink(i) { return 5; }", "returned 5"),
    ("function decodeUplink(i) { return Promise.resolve({}); }", "promise"),
    ("var nothing = 1;", "no function decodeUplink"),
    ("require('fs'); function decodeUplink(i) { return {}; }", "Cannot find module 'fs'"),
    ("function decodeUplink(i) { return decodeUplink(i); }", "RangeError"),
    ("function decodeUplink(i) { var a = {}; a.a = a; return { data: a }; }", "cyclic"),
    ("function decodeUplink(i) { throw { toString() { throw 1; } }; }", "threw an exception"),
    ("function decodeUplink(i) { return { data: 'x'.repeat(400000) }; }", "larger than"),
])
def test_mistakes_are_told(desk, script, says):
    answer = desk.one(script)
    assert answer["object"] is None and says in answer["error"], answer["error"]


def test_missing_files_are_told(desk):
    script, absent = desk.script(TS013), str(desk.path / "absent")
    wrong = desk.path / "wrong.json"
    wrong.write_text('{"registers": [{"field": "v", "unit": "furlong", "quantity": "volume"}]}')
    no_script, no_mapping, bad_mapping = desk.ask(
        desk.line(absent), desk.line(script, mapping=absent), desk.line(script, mapping=str(wrong)))
    assert "cannot read" in no_script["error"] and "cannot read" in no_mapping["error"]
    assert 'unknown unit "furlong"' in bad_mapping["error"]


HOSTILE = [
    "function decodeUplink(i) { for (;;) try { for (;;); } catch (e) {} finally { continue; } }",
    "for (;;); function decodeUplink(i) { return {}; }",
    "function decodeUplink(i) { var a = []; for (;;) a.push(new Array(1000).fill(a)); }",
    "function decodeUplink(i) { var a = []; for (;;) a.push(new Uint8Array(50 << 20).fill(1)); }",
    "function decodeUplink(i) { return { data: { toJSON() { for (;;); } } }; }",
    "function decodeUplink(i) { throw { toString() { for (;;); } }; }",
    "function decodeUplink(i) { return /^(a+)+$/.test('a'.repeat(60) + 'b'); }",
]


def test_hostile_scripts_are_stopped_and_the_next_one_runs(desk):
    good = desk.line(TS013)
    lines = [x for script in HOSTILE for x in (desk.line(script), good)]
    began = time.monotonic()
    answers = desk.ask(*lines)
    assert time.monotonic() - began < 60
    for i in range(0, len(answers), 2):
        assert "stopped" in answers[i]["error"] or "killed" in answers[i]["error"], answers[i]
        assert answers[i + 1]["object"]["volume"] == 1075.3


def test_three_kills_quarantine_a_script(desk):
    answers = desk.ask(*[desk.line(HOSTILE[-1])] * 5, desk.line(TS013))
    assert all("killed" in a["error"] for a in answers[:3])
    assert all("quarantined" in a["error"] for a in answers[3:5])
    assert answers[5]["error"] is None


def test_a_script_disturbs_no_other(desk):
    evil = """Object.prototype.evil = 1; Array.prototype.toJSON = function () { return 'evil'; };
        JSON.stringify = JSON.parse = function () { return 'evil'; }; Array.prototype.push = null;
        Array.prototype[Symbol.iterator] = function () { return 'evil'; }; Date = Number = Math = null;
        globalThis.secret = 42; Symbol.for('x').y = 1;
        function decodeUplink(i) { return { data: {} }; }"""
    peek = """function decodeUplink(i) { return { data: { secret: typeof secret, evil: {}.evil === undefined,
        ok: JSON.stringify([1]) } }; }"""
    answers = desk.ask(desk.line(evil), desk.line(peek), desk.line(evil), desk.line(TS013))
    assert answers[1]["object"] == {"secret": "undefined", "evil": True, "ok": "[1]"}
    assert answers[3]["object"]["volume"] == 1075.3


def test_no_way_out_is_offered(desk):
    names = ["process", "require", "module", "fetch", "XMLHttpRequest", "WebSocket", "WebAssembly",
             "SharedArrayBuffer", "Atomics", "load", "read", "readFile", "run", "quit", "$vm", "Worker",
             "setTimeout", "importScripts", "Deno", "std", "os"]
    found = desk.one("function decodeUplink(i) { return { data: %s.filter(function (n) {"
                     " return typeof globalThis[n] !== 'undefined'; }) }; }" % json.dumps(names))
    assert found["error"] is None and found["object"] == []
    loads = desk.one("function decodeUplink(i) { import('/etc/passwd'); return { data: 1 }; }")
    assert loads["object"] in (1, None)


@pytest.fixture
def waiting(desk):
    """A decode command that waits for its next line, with its host."""
    command = subprocess.Popen([BUILD / "headend", "decode", "--jsonl"], text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ask(line):
        command.stdin.write(json.dumps(line) + "\n")
        command.stdin.flush()
        return json.loads(command.stdout.readline())

    def host():
        with open(f"/proc/{command.pid}/task/{command.pid}/children") as f:
            children = f.read().split()
        assert len(children) == 1
        return int(children[0])

    yield ask, host
    command.stdin.close()
    assert command.wait(timeout=30) == 0, command.stderr.read()


def test_host_killed_by_hand_costs_nothing(desk, waiting):
    ask, host = waiting
    line = desk.line(TS013)
    for _ in range(5):
        assert ask(line)["error"] is None
        os.kill(host(), signal.SIGKILL)
    assert ask(line)["error"] is None


def test_host_is_shut_in(desk, waiting):
    ask, host = waiting
    assert ask(desk.line(TS013))["error"] is None
    status = dict(x.split(":\t", 1) for x in open(f"/proc/{host()}/status").read().splitlines() if ":\t" in x)
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    maps = open(f"/proc/{host()}/maps").read().splitlines()
    assert not [m for m in maps if "w" in m.split()[1] and "x" in m.split()[1]]
    files = {os.readlink(f"/proc/{host()}/fd/{n}") for n in os.listdir(f"/proc/{host()}/fd")}
    assert all(f in ("/dev/null", "/dev/urandom") or f.endswith("/statm") or f.startswith(("socket:", "pipe:", "anon_inode:"))
               for f in files), files


def test_mapping_makes_readings_and_events(desk):
    mapping = desk.path / "mapping.json"
    mapping.write_text(json.dumps(MAPPING))
    answer = desk.one(TS013, hex="2a0101", mapping=str(mapping))
    assert answer["error"] is None
    rows = [(r["value"], r["unit"], r["obis"], r["time"]) for r in answer["readings"] if r["obis"]]
    assert rows == [("1.0753", "m3", "8-0:1.0.0", None),
                    ("0.0015", "m3", "8-0:1.0.0", "2026-01-15T12:00:00Z"),
                    ("0.0017", "m3", "8-0:1.0.0", "2026-01-15T13:00:00Z")]
    assert [e["code"] for e in answer["events"]] == ["gas.leak"]
    assert {r["text"] for r in answer["readings"] if not r["obis"]} >= {"port=2", "list=true"}


def test_downlinks_both_ways(desk):
    answers = desk.ask(desk.line(TS013, downlink={"minutes": 15}),
                       desk.line(TS013, hex="010f", function="decodeDownlink"))
    assert answers[0]["object"] == {"bytes": [1, 15], "fPort": 7}
    assert answers[1]["object"] == {"minutes": 15}


def test_normalized_output_is_shown_when_asked(desk):
    assert desk.one(TS013, normalize=True)["normalized"] == {"water": {"total": 1075.3}}


def test_table_for_a_person(desk):
    mapping = desk.path / "mapping.json"
    mapping.write_text(json.dumps(MAPPING))
    script = desk.script(TS013)

    def decode(*args):
        return subprocess.run([BUILD / "headend", "decode", *args], text=True, capture_output=True, timeout=60)

    done = decode("2a0101", "--codec", "ts013", "--script", script, "--mapping", str(mapping), "--port", "2")
    assert done.returncode == 0, done.stderr
    assert "1.0753 m3" in " ".join(done.stdout.split()) and "gas.leak" in done.stdout
    assert '"minutes":15' in decode("010f", "--script", script, "--decode-downlink").stdout
    assert '"bytes":[1,20]' in decode("--script", script, "--downlink", '{"minutes": 20}').stdout
    failed = decode("2a", "--script", str(desk.path / "absent.js"))
    assert failed.returncode == 1 and "cannot read" in failed.stderr
