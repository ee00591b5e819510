"""The command line: configuration that is refused with a reason, codecs that
prove themselves, and following one frame."""

import re
import shutil
import subprocess

import pytest
from harness import GOLDEN, Uplink, wait_until

EUI = "94193a00000069fe"


@pytest.mark.parametrize("name, value, says", [
    ("journal.sync_interval", "0.5x", "journal.sync_interval"),
    ("journal.sync", "sometimes", "always"),
    ("database.connections", "0", "database.connections"),
    ("journal.segment_size", "1", "journal.segment_size"),
    ("tcp.depth_max", "ten", "tcp.depth_max"),
    ("log.level", "loud", "debug"),
])
def test_wrong_value_is_refused_with_place_and_bounds(site, name, value,
                                                      says):
    site.headend.settings[name] = value
    site.headend.configure()
    line = list(site.headend.settings).index(name) + 1
    done = site.headend.run("serve")
    assert done.returncode != 0
    assert f"headend.conf:{line}:" in done.stderr
    assert says in done.stderr and name in done.stderr


def test_unknown_option_is_refused(site):
    site.headend.settings["jurnal.dir"] = "x"
    site.headend.configure()
    done = site.headend.run("serve")
    assert done.returncode != 0 and "jurnal.dir" in done.stderr


def test_wrong_argument_is_refused(site):
    done = site.headend.run("serve", "--tcp.rate=-1")
    assert done.returncode != 0 and "tcp.rate" in done.stderr


def test_printed_reference_is_a_valid_configuration(site, tmp_path):
    text = site.headend.cli("config")
    assert "journal.segment_size" in text
    again = tmp_path / "again.conf"
    again.write_text(text)
    done = site.headend.run("config", "--current", "--config", again,
                            config=False)
    assert done.returncode == 0, done.stderr


def test_codecs_check_proves_the_install(site):
    done = site.headend.run("codecs", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+)", done.stdout).group(1)) > 0


def test_codecs_are_listed(site):
    text = site.headend.cli("codecs", "list")
    for name in ("mbus-records", "elvaco-cmi41", "heo-json"):
        assert name in text
    assert "69322582" in site.headend.cli("codecs", "show", "elvaco-cmi41")


def test_unknown_subcommand_and_help(site):
    assert site.headend.run("surve", config=False).returncode != 0
    help_text = site.headend.run("help", config=False)
    assert help_text.returncode == 0 and "serve" in help_text.stdout
    version = site.headend.run("version", config=False)
    assert version.returncode == 0 and re.search(r"\d+\.\d+", version.stdout)


def test_every_command_has_help_and_stands_in_the_man_page(site):
    def read(*args):
        done = site.headend.run("help", *args, config=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    names = [line[2:22].strip() for line in read().splitlines()
             if line.startswith("  ")]
    man = read("--man").replace("\\-", "-")
    assert {"serve", "meter import", "help"} < set(names)
    for name in names:
        usage, _, help_text = read(*name.split()).split("\n", 2)
        assert usage.startswith(f"usage: headend {name}") and help_text
        section = man.split(f".SS headend {name}\n")[1].split("\n.S")[0]
        for option in re.findall(r"--([a-z-]+)", usage):
            assert f"\\fB--{option}\\fR" in section, (name, option)
            assert f"\n  --{option} " in help_text, (name, option)
    for setting in re.findall(r"^#(\S+) =", site.headend.cli("config"), re.M):
        assert f"\\fB{setting}\\fR" in man, setting
    assert site.headend.run("meter", "add", "--help").returncode == 0
    assert site.headend.run("help", "surve").returncode == 2


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff here")
def test_man_page_is_formatted_without_a_warning(site):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], capture_output=True, text=True,
        input=site.headend.cli("help", "--man"), timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    assert "--dev-eui" in re.sub(".\x08", "", done.stdout)


def test_migrate_twice_changes_nothing(site):
    before = site.sql("SELECT count(*) FROM pg_class")
    site.headend.cli("migrate")
    assert site.sql("SELECT count(*) FROM pg_class") == before


def test_meter_import_names_the_wrong_line(site, demo):
    csv = ("serial,model,dev_eui,timezone\n"
           f"1,elvaco-cmi4160,{EUI},Europe/Berlin\n"
           "2,no-such-model,,\n")
    done = site.headend.run("meter", "import", "--tenant", "demo", "-",
                            stdin=csv)
    assert done.returncode != 0 and "3" in done.stderr
    assert "no-such-model" in done.stderr


def test_meter_import_is_all_or_nothing(site, demo):
    csv = ("serial,model,dev_eui,timezone\n"
           f"1,elvaco-cmi4160,{EUI},Europe/Berlin\n2,heo-g4,,\n")
    contrary = csv + f"3,heo-g4,,\n4,elvaco-cmi4160,{EUI},\n"
    refused = site.headend.run("meter", "import", "--tenant", "demo", "-",
                               stdin=contrary)
    assert refused.returncode != 0 and "line 5" in refused.stderr
    assert "meter 1" in refused.stderr
    meters = site.headend.cli_json("meter", "list", "--tenant", "demo")
    assert meters["meters"] == []


def test_meter_import_runs_again_and_adds_what_is_new(site, demo):
    csv = ("serial,model,dev_eui,timezone\n"
           f"1,elvaco-cmi4160,{EUI},Europe/Berlin\n2,heo-g4,,\n")
    for text, said in ((csv, "2 meters registered, 0 were there already"),
                       (csv + "3,heo-g4,,\n",
                        "1 meters registered, 2 were there already")):
        assert said in site.headend.cli("meter", "import", "--tenant", "demo",
                                        "-", stdin=text)


def test_tenant_list_shows_no_secret(site, demo):
    text = site.headend.cli("tenant", "list")
    assert "demo" in text and demo.token not in text


def frame_id(site, fate=1):
    return site.sql("SELECT frame_id FROM frame WHERE fate = %s", (fate,))[0][0]


@pytest.fixture
def heat(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    site.start()
    site.wait_subscribed()
    return demo


def test_trace_follows_a_frame_to_its_readings(site, broker, heat):
    heat.meter("69322582", dev_eui=EUI)
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    broker.publish(*Uplink(EUI).chirpstack4())
    heat.wait_fates(stored=1)
    text = site.headend.cli("trace", frame_id(site))
    for words in ("stored", "elvaco-cmi41", "6-0:1.0.0", "106895", EUI,
                  GOLDEN.hex()[:16]):
        assert words in text
    trace = site.headend.cli_json("trace", frame_id(site))
    assert trace["fate"] == "stored"


def test_replay_after_registering_the_meter_stores_the_frame(site, broker,
                                                            heat):
    broker.publish(*Uplink(EUI).chirpstack4())
    heat.wait_fates(quarantined=1)
    site.headend.stop()  # running, it would replay by itself
    meter = heat.meter("69322582", dev_eui=EUI)
    said = site.headend.cli("replay", "--tenant", "demo", "--all", "--dry-run")
    assert f"{frame_id(site, fate=3)}: unknown_meter -> stored, 8 readings" \
        in said
    assert heat.fates() == {"quarantined": 1}
    site.headend.cli("replay", "--tenant", "demo", "--frame",
                     frame_id(site, fate=3))
    heat.wait_fates(stored=1)
    assert len(heat.readings(meter)) == 8
    assert site.sql("SELECT count(*) FROM quarantine") == [(0,)]
    site.headend.cli("replay", "--tenant", "demo", "--all")
    assert len(heat.readings(meter)) == 8
    site.start()
    site.check_balance()


def test_replay_by_reason_leaves_the_rest(site, broker, heat):
    heat.meter("1", dev_eui="94193a0000000001")
    wait_until(lambda: site.headend.metric("headend_meters") == 1)
    broker.publish(*Uplink(EUI).chirpstack4())
    broker.publish(*Uplink("94193a0000000001", payload=GOLDEN[:5])
                   .chirpstack4())
    heat.wait_fates(quarantined=2)
    heat.meter("69322582", dev_eui=EUI)
    site.headend.cli("replay", "--tenant", "demo", "--reason",
                     "unknown_meter")
    heat.wait_fates(stored=1, quarantined=1)
