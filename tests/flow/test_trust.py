"""What goes beyond a password: second factors, second persons, secrets through
the API."""

import csv
import json
import signal
import subprocess
import time
import urllib.parse

import pytest
from harness import BUILD, GOOD, Person, signed_in, wait_until
from harness.api import send
from harness.totp import totp
from test_matrix import digest, tables
from test_secrets import everything

ANNA = "anna@example.org"


@pytest.fixture
def demo(site):
    tenant = site.tenant("demo")
    site.headend.cli("keys", "init")
    site.start()
    return tenant


def guarded(person):
    """Sets a second factor up; its seed and recovery codes. The code of the
    step before this one is used, so that those of now are left."""
    status, begun = person.call("POST", "/api/v1/totp")
    assert status == 200, begun
    for _ in range(2):  # the second time if a step ended in between
        status, done = person.call("PUT", "/api/v1/totp",
                                   {"code": totp(begun["secret"], -1)})
        if status == 200:
            break
    assert status == 200, done
    return begun["secret"], done["recovery_codes"]


def login(site, code=None, password=GOOD, email=ANNA):
    body = {"email": email, "password": password}
    status, said = Person(site).call(
        "POST", "/api/v1/login", body | ({"code": code} if code else {}))
    return status, said.get("field")


def test_a_second_factor_is_asked_for_and_its_code_works_once(site, demo):
    person = signed_in(site, ANNA)
    elsewhere = Person(site)
    elsewhere.login(ANNA, GOOD)
    begun = person.call("POST", "/api/v1/totp")[1]
    uri = urllib.parse.urlsplit(begun["uri"])
    assert uri.path == "/headend:anna%40example.org"
    assert urllib.parse.parse_qs(uri.query)["secret"] == [begun["secret"]]
    assert login(site) == (200, None)  # not confirmed yet: nothing is asked
    wrong = person.call("PUT", "/api/v1/totp", {"code": "000000"})
    assert (wrong[0], wrong[1]["field"]) == (422, "code")
    secret, recovery = guarded(person)
    assert len(set(recovery)) == 10
    assert person.call("GET", "/api/v1/session")[1]["second_factor"]
    assert elsewhere.call("GET", "/api/v1/session")[0] == 401
    assert login(site) == (401, "code")
    code = totp(secret)
    assert login(site, code, "not the password") == (401, None)
    assert login(site, code) == (200, None)
    assert login(site, code) == (401, "code")  # replayed
    assert login(site, totp(secret, 3)) == (401, "code")
    assert login(site, recovery[0].lower().replace("-", " ")) == (200, None)
    assert login(site, recovery[0]) == (401, "code")
    stored = str(site.sql("SELECT * FROM account, secret"))
    assert secret not in stored and recovery[1] not in stored
    trail = str(site.sql("SELECT * FROM audit_entry")) + site.headend.log()
    assert secret not in trail and recovery[1] not in trail
    assert site.sql("SELECT after FROM audit_entry WHERE action = 'login' "
                    "ORDER BY at DESC LIMIT 1") == [
                        ({"recovery_codes_left": 9},)]


def test_wrong_codes_slow_the_account_down_like_wrong_passwords(site, demo):
    secret, _ = guarded(signed_in(site, ANNA))
    assert [login(site, "000000")[0] for _ in range(6)] == [401] * 5 + [429]
    assert login(site, totp(secret))[0] == 429


def test_a_second_factor_is_taken_away_by_its_owner_or_by_a_reset(site, demo):
    person = signed_in(site, ANNA)
    assert person.call("DELETE", "/api/v1/totp")[0] == 404
    guarded(person)
    assert person.call("POST", "/api/v1/totp")[0] == 409
    site.sql("UPDATE session SET confirmed_at = now() - interval '1 hour'")
    person.call("POST", "/api/v1/session", {"tenant": "demo"})  # seen anew
    for method, body in (("DELETE", None), ("POST", None),
                         ("PUT", {"code": "000000"})):
        status, why = person.call(method, "/api/v1/totp", body)
        assert (status, why["field"]) == (403, "confirm")
    assert person.call("POST", "/api/v1/session/confirm",
                       {"password": GOOD})[0] == 204
    assert person.call("DELETE", "/api/v1/totp")[0] == 204
    assert login(site) == (200, None)
    guarded(person)
    assert site.sql("SELECT count(*) FROM secret") == [(1,)]
    fresh = site.headend.cli("account", "reset", ANNA).split()[-1]
    assert login(site, password=fresh) == (200, None)
    assert site.sql("SELECT count(*) FROM secret") == [(0,)]


def test_a_tenant_may_demand_a_second_factor(site, demo):
    person = signed_in(site, ANNA)
    assert person.call("PATCH", "/api/v1/tenant/protection",
                       {"second_factor": True})[0] == 200
    person.call("POST", "/api/v1/session", {"tenant": "demo"})  # seen anew
    status, why = person.call("GET", "/api/v1/meters")
    assert (status, why["field"]) == (403, "second_factor")
    assert person.call("GET", "/api/v1/session")[0] == 200
    guarded(person)
    assert person.call("GET", "/api/v1/meters")[0] == 200
    assert demo.get("/api/v1/meters").status == 200  # machines have none


def test_without_a_master_key_a_second_factor_says_what_to_do(site):
    site.tenant("demo")
    site.start()
    person = signed_in(site, ANNA)
    status, why = person.call("POST", "/api/v1/totp")
    assert status == 409 and "headend keys init" in why["detail"]
    site.headend.cli("keys", "init")
    wait_until(lambda: person.call("POST", "/api/v1/totp")[0] == 200)
    guarded(person)


# ---- critical acts ----

PROTECTION = ("PATCH", "/api/v1/tenant/protection")


def test_a_critical_act_asks_for_the_password_again(site, demo):
    person = signed_in(site, ANNA)
    assert person.call(*PROTECTION, {"critical": "password"})[0] == 200
    site.sql("UPDATE session SET confirmed_at = now() - interval '1 hour'")
    person.call("POST", "/api/v1/session", {"tenant": "demo"})  # seen anew
    status, why = person.call(*PROTECTION, {"second_factor": True})
    assert (status, why["field"]) == (403, "confirm")
    assert person.call("POST", "/api/v1/api-keys", {
        "name": "k", "rights": ["view"], "critical": True})[0] == 403
    person.call("POST", "/api/v1/session/confirm", {"password": GOOD})
    assert person.call(*PROTECTION, {"second_factor": False})[0] == 200


def test_a_key_does_critical_acts_only_if_it_was_made_for_them(site, demo):
    def act(key):
        return send(site.headend, *PROTECTION, {
            "Authorization": f"Bearer {key}"}, {"second_factor": False}).status

    person = signed_in(site, ANNA)
    keys = [person.call("POST", "/api/v1/api-keys", {
        "name": "k", "rights": ["settings", "users"], **more})[1]["key"]
        for more in ({}, {"critical": True})]
    assert [act(key) for key in keys] == [403, 200]
    made = send(site.headend, "POST", "/api/v1/api-keys",
                {"Authorization": f"Bearer {keys[0]}"},
                {"name": "k", "rights": ["settings"], "critical": True})
    assert made.status == 403  # nor does it make one
    cli = site.headend.cli_json("api-key", "add", "demo", "--critical")
    assert act(cli["api_key"]) == 200


@pytest.fixture
def four_eyes(site, demo):
    """Anna and Bob, admins of a tenant that asks for a second person."""
    anna, bob = signed_in(site, ANNA), signed_in(site, "bob@example.org")
    assert anna.call(*PROTECTION, {"critical": "second_person"})[0] == 200
    for person in (anna, bob):
        person.call("POST", "/api/v1/session", {"tenant": "demo"})
    return anna, bob


def asked(person, body=None):
    status, kept = person.call(*PROTECTION, body or {"second_factor": True})
    assert status == 202, kept
    return f"/api/v1/approvals/{kept['approval_id']}"


def demands(site, demo):
    return site.sql("SELECT second_factor FROM tenant WHERE tenant_id = %s",
                    (demo.id,))[0][0]


def test_a_second_person_runs_what_the_first_one_asked(site, demo, four_eyes):
    anna, bob = four_eyes
    path = asked(anna)
    assert asked(anna) == path  # sent again, it is the same
    assert not demands(site, demo)
    waiting = bob.call("GET", "/api/v1/approvals?state=waiting")[1]["approvals"]
    assert [(a["asked_by"], a["operation"], a["body"]) for a in waiting] == [
        (ANNA, "tenant_protect", {"second_factor": True})]
    assert anna.call("POST", path + "/approve")[0] == 403  # nobody his own
    status, done = bob.call("POST", path + "/approve")
    assert status == 200 and done["approval"]["state"] == "done"
    assert done["answer"]["second_factor"] and demands(site, demo)
    assert bob.call("POST", path + "/approve")[0] in (403, 409)
    acts = site.sql("SELECT action, actor FROM audit_entry WHERE tenant_id = "
                    "%s ORDER BY seq DESC LIMIT 3", (demo.id,))
    both = f"bob@example.org (asked by {ANNA})"
    assert sorted(acts) == [("approval.approve", both), ("approval.ask", ANNA),
                            ("tenant.change", both)]


def test_an_approval_needs_the_right_and_ends(site, demo, four_eyes):
    anna, bob = four_eyes
    viewer = signed_in(site, "eve@example.org", role="viewer")
    path = asked(anna)
    assert viewer.call("GET", path)[0] == 404
    assert viewer.call("POST", path + "/approve")[0] == 404
    site.sql("UPDATE approval SET expires_at = now()")
    assert bob.call("POST", path + "/approve")[0] == 409
    assert bob.call("GET", path)[1]["state"] == "expired"
    other = asked(anna)
    assert other != path
    assert bob.call("POST", other + "/reject")[0] == 200
    assert bob.call("POST", other + "/approve")[0] == 409
    last = asked(anna)
    site.sql("UPDATE account SET disabled = true WHERE email = %s RETURNING 1",
             (ANNA,))
    assert bob.call("POST", last + "/approve")[0] == 409
    site.sql("UPDATE account SET disabled = false RETURNING 1")
    third = asked(anna)
    assert anna.call("POST", third + "/reject")[0] == 200  # taken back
    assert not demands(site, demo)
    assert anna.call("POST", "/api/v1/api-keys", {
        "name": "k", "rights": ["view"], "critical": True})[0] == 409


# ---- secrets through the API ----

KEY = "000102030405060708090a0b0c0d0eff"


def nowhere(site, *secrets):
    """In clear in no table, no trail, no log."""
    found = everything(site) + site.headend.log().encode()
    for secret in secrets:
        text = secret.encode()
        assert text not in found.lower(), secret
        assert text.hex().encode() not in found, secret


def test_meter_keys_are_added_listed_without_and_shown_with_a_trace(site, demo):
    anna = signed_in(site, ANNA)
    meter = demo.meter("69322582")
    status, made = anna.call("POST", "/api/v1/meter-keys", {
        "key": KEY, "address": "0012345678", "manufacturer": "elv"})
    assert status == 201 and made["added"]
    assert anna.call("POST", "/api/v1/meter-keys", {
        "key": KEY, "address": "12345678", "manufacturer": "ELV"})[1] == {
            "key_id": made["key_id"], "added": False}
    status, own = anna.call("POST", "/api/v1/meter-keys", {
        "key": KEY, "meter": "69322582", "purpose": "appkey"})
    listed = anna.call("GET", "/api/v1/meter-keys")[1]["meter_keys"]
    assert [(k["key_id"], k["address"], k["manufacturer"], k["meter_id"])
            for k in listed] == [(made["key_id"], "12345678", "ELV", None),
                                 (own["key_id"], None, None, meter)]
    shown = anna.call("POST", f"/api/v1/meter-keys/{own['key_id']}/reveal")
    assert shown == (200, {"key_id": own["key_id"], "key": KEY})
    assert site.sql("SELECT actor, object_id FROM audit_entry WHERE action = "
                    "'meter_key.reveal'") == [(ANNA, str(own["key_id"]))]
    assert anna.call("DELETE",
                     f"/api/v1/meter-keys/{own['key_id']}")[0] == 204
    assert anna.call("POST",
                     f"/api/v1/meter-keys/{own['key_id']}/reveal")[0] == 404
    for body, field in (({"key": KEY[:-1] + "x"}, "key"),
                        ({"key": KEY, "meter": "nobody"}, "meter"),
                        ({"key": KEY, "meter": "69322582", "version": 1},
                         "meter"),
                        ({"key": KEY, "manufacturer": "E1V"},
                         "manufacturer")):
        status, why = anna.call("POST", "/api/v1/meter-keys", body)
        assert (status, why["field"]) == (422, field), why
    nowhere(site, KEY)


def test_meter_keys_are_imported_with_a_result_for_each(site, demo):
    anna = signed_in(site, ANNA)
    rows = [{"key": KEY, "address": "1"}, {"key": KEY, "address": "1"},
            {"key": KEY, "address": "2", "device_type": "7", "version": None},
            {"key": "nonsense"}, {"key": KEY, "odd": 1}, 5,
            {"key": KEY, "device_type": 256}]

    def imported(**more):
        status, said = anna.call("POST", "/api/v1/meter-keys/import",
                                 {"keys": rows, **more})
        assert status == 200, said
        return [(r["result"], r.get("field")) for r in said["results"]]

    bad = [("refused", "key"), ("refused", "odd"), ("refused", "key"),
           ("refused", "device_type")]
    first = [("added", None), ("unchanged", None), ("added", None), *bad]
    assert imported(dry_run=True) == first
    assert site.sql("SELECT count(*) FROM meter_key") == [(0,)]
    assert imported() == first
    assert imported() == [("unchanged", None)] * 3 + bad
    assert site.sql("SELECT count(*) FROM meter_key") == [(2,)]
    opened = site.headend.run("keys", "rotate", "--tenant", "demo")
    assert "2 secrets" in opened.stdout, opened.stderr


def test_two_people_show_a_key_and_only_who_asked_sees_it(site, demo,
                                                          four_eyes):
    anna, bob = four_eyes
    made = anna.call("POST", "/api/v1/meter-keys", {"key": KEY})[1]
    reveal = ("POST", f"/api/v1/meter-keys/{made['key_id']}/reveal")
    status, kept = anna.call(*reveal)
    assert status == 202
    path = f"/api/v1/approvals/{kept['approval_id']}"
    assert bob.call(*reveal)[1]["approval_id"] != kept["approval_id"]
    status, done = bob.call("POST", path + "/approve")
    assert status == 200 and done["approval"]["state"] == "approved"
    assert KEY not in str(done)
    assert anna.call(*reveal)[1]["key"] == KEY
    assert anna.call("GET", path)[1]["state"] == "done"
    assert anna.call(*reveal)[0] == 202  # once


def test_a_broker_is_connected_through_the_api_and_its_password_kept(
        site, broker, demo, tmp_path):
    secret = "s3cret broker word"
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "lns", secret],
                   check=True, capture_output=True)
    users.chmod(0o644)
    broker.demand(users, "lns", secret)
    anna = signed_in(site, ANNA)
    status, made = anna.call("POST", "/api/v1/integrations", {
        "name": "lns", "kind": "chirpstack", "url": broker.url,
        "username": "lns", "password": secret})
    assert status == 201 and made["has_password"], made
    site.wait_subscribed()
    path = f"/api/v1/integrations/{made['integration_id']}"
    assert secret not in str(anna.call("GET", path))
    status, now = anna.call("PATCH", path, {"enabled": False,
                                            "revision": made["revision"]})
    assert status == 200 and not now["enabled"] and now["has_password"]
    assert anna.call("PATCH", path, {"enabled": True, "revision":
                                     made["revision"]})[0] == 412
    wait_until(lambda: site.headend.metric("headend_bridges_connected") == 0)
    assert anna.call("PATCH", path, {"password": None})[1][
        "has_password"] is False
    assert anna.call("DELETE", path)[0] == 204
    assert anna.call("GET", path)[0] == 404
    for body, field in (({"url": "mqtt://a:b@c"}, "url"),
                        ({"url": "http://broker"}, "url"),
                        ({"kind": "heo-tcp"}, "kind")):
        status, why = anna.call("POST", "/api/v1/integrations", {
            "name": "x", "kind": "tts", "url": "mqtt://c"} | body)
        assert (status, why["field"]) == (422, field)
    nowhere(site, secret)


# ---- a tenant leaves ----

def known(site, serial):
    with site.gas_meter(serial) as meter:
        return meter.hello()["t"] == "ack"


def fill(site, tenant, serial):
    tenant.meter(serial, "heo-g4")
    wait_until(lambda: known(site, serial))
    with site.gas_meter(serial) as meter:
        assert meter.hello()["t"] == "ack"
        assert meter.ask({"t": "data", "seq": 1, "cols": ["ts", "v_work"],
                          "rows": [["2024-01-11T12:00:00+03:00", "100.5"]]}
                         )["t"] == "ack"
    wait_until(lambda: "100.5" in str(tenant.readings()))
    wait_until(site.drained)
    owner = signed_in(site, f"{tenant.name}@example.org", tenant.name)
    assert owner.call("POST", "/api/v1/meter-keys", {"key": KEY})[0] == 201
    return owner


def left(site, tenant):
    return {t: n for t in tables(site) if t != "tenant" for n, in site.sql(
        f"SELECT count(*) FROM {t} WHERE tenant_id = %s", (tenant.id,)) if n}


def remove(site, directory):
    return ["tenant", "remove", "demo", "--yes", "demo", "--export", directory]


def test_a_tenant_leaves_with_all_that_is_its_own(site, demo, tmp_path):
    other = site.tenant("other")
    owner = fill(site, demo, "24000123")
    fill(site, other, "24000124")
    before = digest(site, other)
    wrong = site.headend.run("tenant", "remove", "demo", "--yes", "other")
    assert wrong.returncode == 1
    assert "--export" in site.headend.run("tenant", "remove", "demo", "--yes",
                                          "demo").stderr
    assert "keys shredded" in site.headend.cli(*remove(site, tmp_path / "x"))
    assert left(site, demo) == {}
    assert digest(site, other) == before
    assert site.sql("SELECT email FROM account") == [("other@example.org",)]
    exported = {f["file"]: f["rows"] for f in json.loads(
        (tmp_path / "x" / "manifest.json").read_text())["files"]}
    assert {"meter.csv", "frame.csv", "audit_entry.csv", "people.csv",
            "meter_key.csv", "api_key.csv"} <= set(exported)
    for file, rows in exported.items():
        with open(tmp_path / "x" / file, newline="") as f:
            assert len(list(csv.DictReader(f))) == rows, file
    with open(tmp_path / "x" / "reading.csv", newline="") as f:
        assert "100.5" in {r["value"].rstrip("0") for r in csv.DictReader(f)}
    whole = b"".join(f.read_bytes() for f in (tmp_path / "x").iterdir())
    secrets = [h for h, in site.sql("SELECT hash FROM session")] + [KEY]
    assert not [s for s in secrets if s.encode() in whole]
    assert "secret.csv" not in exported and "tenant_key.csv" not in exported
    # Neither its machines nor its people nor its meters come in any more.
    wait_until(lambda: demo.get("/api/v1/meters").status == 401)
    wait_until(lambda: owner.call("GET", "/api/v1/session")[0] == 401)
    wait_until(lambda: not known(site, "24000123"))
    trail = site.sql("SELECT action, before ->> 'name' FROM audit_entry WHERE "
                     "tenant_id = 0 ORDER BY seq DESC LIMIT 1")
    assert trail == [("tenant.remove", "demo")]
    assert " 0 broken" in site.headend.cli("audit", "verify")
    assert site.headend.run(*remove(site, tmp_path / "y")).returncode == 1
    site.tenant("demo")  # its name is free


def test_a_removal_killed_anywhere_is_finished_by_the_next(site, demo, tmp_path):
    fill(site, demo, "24000123")
    site.sql("INSERT INTO audit_entry SELECT tenant_id, seq + n * 1000, at, "
             "actor, address, action, object, object_id, before, after, hash "
             "FROM audit_entry, generate_series(1, 3000) n WHERE tenant_id = "
             "%s RETURNING 1", (demo.id,))
    directory = tmp_path / "x"
    for i in range(12):
        process = subprocess.Popen(
            [BUILD / "headend", *remove(site, directory), "--config",
             site.headend.conf], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        time.sleep(0.03 * (i + 1))  # somewhere inside, another each time
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = site.headend.run(*remove(site, directory))
    assert done.returncode == 0 or "no tenant" in done.stderr
    assert left(site, demo) == {}
    rows = {f["file"]: f["rows"] for f in json.loads(
        (directory / "manifest.json").read_text())["files"]}
    assert rows["audit_entry.csv"] > 3000  # of the whole tenant, not the rest
    assert rows["meter.csv"] == 1 and rows["people.csv"] == 1


# ---- self-service ----

def test_nobody_signs_up_unless_the_operator_opened_it(site, demo):
    assert Person(site).call("POST", "/api/v1/signup", {
        "tenant": "new", "email": "new@example.org"})[0] == 403


def test_who_signs_up_waits_for_the_operator(site):
    site.headend.configure(signup__open="on")
    site.tenant("demo")
    site.start()

    def ask(tenant, email):
        return Person(site).call("POST", "/api/v1/signup", {
            "tenant": tenant, "email": email, "timezone": "Europe/Berlin"})

    waits = (202, {"state": "waiting"})
    assert ask("new", "new@example.org") == waits
    assert ask("demo", "other@example.org") == waits  # tells nobody it is there
    assert ask("new", "new@example.org") == waits  # the same again
    assert ask("new 2", "x@example.org")[0] == 422
    assert ask("third", "third@example.org") == waits
    assert ask("fourth", "fourth@example.org")[0] == 429
    root = signed_in(site, "root@example.org", "platform", "platform operator")
    found = root.call("GET", "/api/v1/signups")[1]["signups"]
    assert [s["tenant"] for s in found] == ["new", "demo", "third"]
    new, taken, third = (f"/api/v1/signups/{s['signup_id']}" for s in found)
    status, made = root.call("POST", new + "/approve")
    assert status == 201 and made["tenant"]["timezone"] == "Europe/Berlin"
    person = Person(site)
    assert person.login("new@example.org", made["password"])[0] == 200
    assert person.call("GET", "/api/v1/session")[1]["tenant"]["role"] == (
        "tenant admin")
    assert root.call("POST", taken + "/approve")[0] == 409
    assert root.call("DELETE", taken)[0] == 204
    assert root.call("DELETE", third)[0] == 204
    assert root.call("GET", "/api/v1/signups")[1]["signups"] == []
    anna = signed_in(site, ANNA)
    assert anna.call("GET", "/api/v1/signups")[0] == 403
