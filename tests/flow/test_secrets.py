"""Secrets at rest: sealed under the tenant's key, that under a master key that
the database never sees; rotated, interrupted, and never in clear."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import BUILD, Uplink, wait_until

PASSWORD = "s3cret broker wörd"
EUI = "94193a00000069fe"


@pytest.fixture
def sealed(site):
    """A site with a master key."""
    site.master = site.headend.dir / "master.key"
    site.headend.cli("keys", "init")
    return site


@pytest.fixture
def guarded(sealed, broker, tmp_path):
    """The broker lets nobody in without that password."""
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "lns", PASSWORD],
                   check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", users, "test", "test"],
                   check=True, capture_output=True)
    users.chmod(0o644)
    broker.demand(users, "test", "test")
    return broker


def add_integration(tenant, broker, tmp_path, name="lns"):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    tenant.integration("chirpstack", broker.url, name, "--username", "lns",
                       "--password-file", str(file))


def names_of_masters(site):
    return [n for n, in site.sql("SELECT master FROM master_key")]


def everything(site):
    """The whole database as text, and as it lies in the tables."""
    return subprocess.run(["/usr/lib/postgresql/15/bin/pg_dump", "-d",
                           site.cluster.url(site.database)], check=True,
                          capture_output=True).stdout


def test_master_key_is_made_once_and_for_its_owner_alone(sealed):
    assert sealed.master.stat().st_mode & 0o777 == 0o600
    before = sealed.master.read_text()
    done = sealed.headend.run("keys", "init")
    assert done.returncode == 1 and "left as it is" in done.stderr
    assert sealed.master.read_text() == before
    sealed.master.chmod(0o644)
    for command in (["serve"], ["keys", "rotate"]):
        done = sealed.headend.run(*command)
        assert done.returncode == 1 and "chmod 600" in done.stderr


def test_password_reaches_the_bridge_and_stands_nowhere_in_clear(
        sealed, guarded, demo, tmp_path):
    add_integration(demo, guarded, tmp_path)
    sealed.start()
    sealed.wait_subscribed()
    demo.meter("69322582", dev_eui=EUI)
    guarded.publish(*Uplink(EUI).chirpstack4())
    demo.wait_fates(stored=1)
    needles = [PASSWORD.encode(), PASSWORD.encode().hex().encode()]
    seen = [everything(sealed), sealed.headend.log().encode(),
            sealed.headend.cli("integration", "list").encode(),
            sealed.headend.cli("config", "--current").encode()]
    for text in seen:
        assert not [n for n in needles if n in text]
    key = [l for l in sealed.master.read_text().splitlines() if l[0] != "#"]
    assert len(key) == 1 and key[0].encode() not in b"".join(seen)


def test_password_without_a_master_key_is_refused_and_nothing_is_left(
        site, broker, demo, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    done = site.headend.run(
        "integration", "add", "--tenant", "demo", "--name", "x", "--kind",
        "chirpstack", "--url", broker.url, "--password-file", file)
    assert done.returncode == 1 and "headend keys init" in done.stderr
    assert site.sql("SELECT count(*) FROM integration") == [(0,)]
    demo.integration("chirpstack", broker.url)
    site.start()  # nothing needs a secret
    site.wait_subscribed()


def test_clear_password_of_an_earlier_version_is_sealed_at_the_start(
        sealed, guarded, demo, tmp_path):
    def leave_clear(name):
        sealed.sql("INSERT INTO integration (tenant_id, name, kind, url, "
                   "username, password) VALUES (%s, %s, 'chirpstack', %s, "
                   "'lns', %s)", (demo.id, name, guarded.url, PASSWORD))
    leave_clear("a")
    assert "1 secrets sealed" in sealed.headend.cli("keys", "seal")
    leave_clear("b")
    sealed.start()
    wait_until(lambda: sealed.sql(
        "SELECT count(password), count(*) FROM integration") == [(0, 2)])
    wait_until(lambda: sealed.sql(
        "SELECT count(*) FROM secret") == [(2,)])
    sealed.wait_subscribed(2)
    sealed.headend.stop()
    assert PASSWORD.encode() not in everything(sealed)
    sealed.start()
    sealed.wait_subscribed(2)


def test_secret_of_another_row_does_not_open(sealed, guarded, demo, tmp_path):
    add_integration(demo, guarded, tmp_path, "a")
    add_integration(demo, guarded, tmp_path, "b")
    sealed.sql("UPDATE secret s SET sealed = (SELECT o.sealed FROM secret o "
               "WHERE o.row_id <> s.row_id)")
    done = sealed.headend.run("keys", "rotate", "--tenant", "demo")
    assert done.returncode == 1 and "does not open" in done.stderr
    sealed.start()
    wait_until(lambda: "secret does not open" in sealed.headend.log())
    assert PASSWORD not in sealed.headend.log()


def test_master_key_rotates_under_a_running_server(sealed, guarded, demo,
                                                   tmp_path):
    add_integration(demo, guarded, tmp_path, "before")
    sealed.start()
    sealed.wait_subscribed()
    old, before = names_of_masters(sealed), sealed.master.read_text()
    assert "1 tenant keys" in sealed.headend.cli("keys", "rotate")
    new = names_of_masters(sealed)
    assert len(new) == 1 and new != old
    assert len(sealed.master.read_text().splitlines()) == len(
        before.splitlines()) and sealed.master.read_text() != before
    other = sealed.tenant("other")
    add_integration(other, guarded, tmp_path, "after")
    sealed.wait_subscribed(2)  # it has read the new key by itself
    sealed.master.write_text(before)
    done = sealed.headend.run("keys", "rotate")
    assert done.returncode == 1 and "which is not here" in done.stderr


def test_master_key_from_the_environment_is_inherited_by_nobody(
        sealed, guarded, demo, tmp_path):
    key = [l for l in sealed.master.read_text().splitlines() if l[0] != "#"][0]
    add_integration(demo, guarded, tmp_path)
    sealed.master.unlink()
    sealed.headend.environment["HEADEND_MASTER_KEY"] = key
    sealed.start()
    sealed.wait_subscribed()
    pids = [sealed.headend.pid] + [int(p) for p in Path(
        f"/proc/{sealed.headend.pid}/task/{sealed.headend.pid}/children")
        .read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        assert key.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


def test_rotation_killed_anywhere_is_finished_by_the_next(sealed, demo):
    tenants = [demo] + [sealed.tenant(f"t{i}") for i in range(5)]
    for t in tenants:
        sealed.sql("INSERT INTO integration (tenant_id, name, kind, url, "
                   "password) SELECT %s, 'i' || n, 'chirpstack', 'mqtt://x', "
                   "%s FROM generate_series(1, 100) n", (t.id, PASSWORD))
    sealed.sql("UPDATE integration SET enabled = false")
    assert "600 secrets" in sealed.headend.cli("keys", "seal")
    for i in range(12):
        what = [["keys", "rotate"],
                ["keys", "rotate", "--tenant", "demo"]][i % 2]
        process = subprocess.Popen(
            [BUILD / "headend", *what, "--config", sealed.headend.conf],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.02 * (i // 2 + 1))  # somewhere inside, another each time
        process.send_signal(signal.SIGKILL)
        process.wait()
    sealed.headend.cli("keys", "rotate")
    done = sealed.headend.cli("keys", "rotate", "--tenant", "demo")
    assert re.search(r"tenant demo: \d+ secrets", done)
    assert len(names_of_masters(sealed)) == 1
    assert sealed.sql("SELECT count(*), count(DISTINCT tenant_id) FROM "
                      "tenant_key") == [(6, 6)]
    assert sealed.sql("SELECT count(*) FROM secret s LEFT JOIN tenant_key k "
                      "USING (tenant_id, key_no) WHERE k IS NULL") == [(0,)]
    for t in tenants:  # each secret opens once more
        assert "100 secrets" in sealed.headend.cli("keys", "rotate",
                                                   "--tenant", t.name)
    assert not os.path.exists(f"{sealed.master}.new")
