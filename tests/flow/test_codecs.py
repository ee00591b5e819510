"""Codecs that are loaded from a directory: one that fits works like a built-in
one; whatever else lies there is refused by name, and the rest goes on."""

import subprocess

import pytest
from harness import BUILD, ROOT, Uplink

SOURCE = ROOT / "tests" / "flow" / "codec" / "acme_wm1.c"
FRAME = "671200003930000001"


def build(directory, *defines, name="acme"):
    subprocess.run(["cc", "-std=gnu17", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{ROOT}",
                    *defines, "-o", directory / f"{name}.so", SOURCE],
                   check=True, timeout=60)
    return directory / f"{name}.so"


def headend(directory, *args):
    return subprocess.run([BUILD / "headend", f"--codecs.dir={directory}", *args],
                          text=True, capture_output=True, timeout=60)


def test_loaded_codec_decodes_and_tells_its_file(tmp_path):
    path = build(tmp_path)
    done = headend(tmp_path, "decode", FRAME, "--codec", "acme-wm1")
    assert done.returncode == 0, done.stderr
    assert "12.345 m3" in " ".join(done.stdout.split()) and "water.leak" in done.stdout
    for args in (["list"], ["show", "acme-wm1"]):
        done = headend(tmp_path, "codecs", *args)
        assert done.returncode == 0 and str(path) in done.stdout
    assert headend(tmp_path, "codecs", "check").returncode == 0


@pytest.mark.parametrize("defines, says", [
    (["-DACME_ABI=99"], "ABI 99"),
    (["-DACME_SYMBOL=other"], "headend_codec"),
    (["-DACME_NAME=\"Acme WM1\""], "Acme WM1"),
    (["-DACME_NAME=\"\""], "name"),
    (["-DACME_NAME=\"sml\""], "taken (built in)"),
    (["-DACME_NAME=\"acme-wm2\"", "-DACME_EXPECT=\"water; serial 4711; volume 1 l\""], "vector \"a reading\" fails"),
    (["-DACME_CALLS"], "a_function_that_headend_does_not_export"),
])
def test_codec_that_does_not_fit_is_refused_by_name(tmp_path, defines, says):
    path = build(tmp_path, *defines, name="bad")
    build(tmp_path)
    done = headend(tmp_path, "codecs", "list")
    assert done.returncode == 1
    refused = [line for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    assert len(refused) == 1 and str(path) in refused[0] and says in refused[0], refused
    assert "codec refused" in done.stderr and says in done.stderr.replace("\\\"", "\"")
    assert headend(tmp_path, "codecs", "check").returncode == 1
    assert headend(tmp_path, "decode", FRAME, "--codec", "acme-wm1").returncode == 0


def test_files_that_are_no_codecs_are_refused(tmp_path):
    (tmp_path / "rubbish.so").write_bytes(b"\0" * 64)
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "readme.txt").write_text("not looked at")
    build(tmp_path, name="open").chmod(0o777)
    build(tmp_path, name="first")
    build(tmp_path, name="second")
    done = headend(tmp_path, "codecs", "list")
    refused = [line for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    assert [line.split()[1].rsplit("/", 1)[1] for line in refused] == [
        "folder.so:", "open.so:", "rubbish.so:", "second.so:"]
    assert "first.so" in refused[3]


def test_directory_that_cannot_be_read_is_a_wrong_setting(tmp_path):
    done = headend(tmp_path / "none", "codecs", "list")
    assert done.returncode == 1 and "codecs.dir" in done.stderr


def test_server_stores_what_a_loaded_codec_reads(site, broker, demo, tmp_path):
    build(tmp_path)
    build(tmp_path, "-DACME_ABI=99", name="old")
    site.headend.settings["codecs.dir"] = tmp_path
    site.headend.configure()
    site.sql("INSERT INTO meter_model (tenant_id, name, maker, medium, codec) "
             "VALUES (%s, 'acme-wm1', 'ACME', 'water', 'acme-wm1')", (demo.id,))
    eui = "94193a0000006a01"
    meter = demo.meter("4711", model="acme-wm1", dev_eui=eui)
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    broker.publish(*Uplink(eui, payload=bytes.fromhex(FRAME), port=9).chirpstack4())
    demo.wait_fates(stored=1)
    (reading,) = demo.readings(meter).values()
    assert str(reading[0]) == "12.345" and reading[1] == "m3"
    assert site.sql("SELECT code FROM event WHERE meter_id = %s", (meter,)) == [("water.leak",)]
    assert "codec refused" in site.headend.log()
