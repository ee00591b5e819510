"""Accounts, sessions, rights, API keys and the audit trail, as people and
machines use them."""

import json
import re

import psycopg2
import pytest
from harness import GOOD, Person, invite, signed_in
from harness.api import operations


@pytest.fixture
def demo(site):
    tenant = site.tenant("demo")
    site.start()
    return tenant


def test_a_generated_password_opens_nothing_but_its_change(site, demo):
    person = Person(site)
    first = invite(site, "anna@example.org")
    status, who = person.login("anna@example.org", first)
    assert status == 200 and who["must_change"]
    for word in ("HttpOnly", "Secure", "SameSite=Strict"):
        assert word in person.attributes
    assert person.call("GET", "/api/v1/meters")[0] == 403
    status, why = person.call("POST", "/api/v1/password",
                              {"current": first, "password": "password1234"})
    assert status == 422 and why["field"] == "password"
    assert person.call("POST", "/api/v1/password",
                       {"current": "wrong", "password": GOOD})[0] == 403
    assert person.call("POST", "/api/v1/password",
                       {"current": first, "password": GOOD})[0] == 204
    assert person.call("GET", "/api/v1/meters")[0] == 200
    assert Person(site).login("anna@example.org", first)[0] == 401


def test_wrong_passwords_slow_the_account_down(site, demo):
    signed_in(site, "anna@example.org")
    person = Person(site)
    statuses = [person.login("anna@example.org", f"no {i}")[0]
                for i in range(6)]
    assert statuses == [401] * 5 + [429]
    assert person.login("anna@example.org", GOOD)[0] == 429
    # Who does not exist is told the same.
    assert person.login("nobody@example.org", "x")[0] == 401


def test_a_cookie_without_the_csrf_word_changes_nothing(site, demo):
    person = signed_in(site, "anna@example.org")
    person.csrf = None
    status, why = person.call("PUT", "/api/v1/roles/odd", {"rights": ["view"]})
    assert (status, why["field"]) == (403, "X-CSRF-Token")
    assert person.call("GET", "/api/v1/roles")[0] == 200


def test_a_session_ends_when_it_is_idle_or_old(site):
    site.tenant("demo")
    site.headend.configure(session__idle=60, session__longest=300)
    site.start()

    def status_after(**ages):
        """Of a session that is moved back in time."""
        person = Person(site)
        assert person.login("anna@example.org", GOOD)[0] == 200
        for column, seconds in ages.items():
            site.sql(f"UPDATE session SET {column} = now() - %s * interval "
                     "'1 second' RETURNING 1", (seconds,))
        return person.call("GET", "/api/v1/meters")[0]
    signed_in(site, "anna@example.org")
    assert status_after() == 200
    assert status_after(seen_at=50) == 200
    assert status_after(seen_at=61) == 401
    assert status_after(created_at=290) == 200
    assert status_after(created_at=301) == 401


def test_signing_out_ends_the_session_at_once(site, demo):
    person = signed_in(site, "anna@example.org")
    cookie = person.cookie
    assert person.call("DELETE", "/api/v1/session")[0] == 204
    person.cookie = cookie
    assert person.call("GET", "/api/v1/meters")[0] == 401


def test_rights_are_bits_and_nobody_gives_what_he_lacks(site, demo):
    admin = signed_in(site, "anna@example.org")
    assert admin.call("PUT", "/api/v1/roles/clerk",
                      {"rights": ["view", "users"]})[0] == 200
    status, made = admin.call("POST", "/api/v1/accounts", {
        "email": "bob@example.org", "role": "clerk"})
    assert status == 201 and made["password"]
    bob = Person(site)
    bob.login("bob@example.org", made["password"])
    bob.call("POST", "/api/v1/password",
             {"current": made["password"], "password": GOOD})
    assert bob.call("GET", "/api/v1/meters")[0] == 200
    assert bob.call("GET", "/api/v1/audit")[0] == 403
    for method, path, body in (
            ("POST", "/api/v1/accounts",
             {"email": "eve@example.org", "role": "tenant admin"}),
            ("PATCH", f"/api/v1/accounts/{made['account_id']}",
             {"role": "tenant admin"}),
            ("POST", "/api/v1/api-keys", {"name": "x", "rights": ["valve"]}),
            ("PUT", "/api/v1/roles/clerk", {"rights": ["view", "audit"]})):
        status, why = bob.call(method, path, body)
        assert (status, why.get("field")) == (403, "rights"), (path, why)
    assert bob.call("PUT", "/api/v1/roles/viewer",
                    {"rights": ["view"]})[0] == 409


def test_one_account_in_two_tenants_sees_one_at_a_time(site, demo):
    other = site.tenant("other")
    person = signed_in(site, "anna@example.org")
    assert invite(site, "anna@example.org", "other", "viewer") is None
    mine = demo.meter("24000123", "heo-g4")
    theirs = other.meter("24000124", "heo-g4")
    assert person.call("GET", f"/api/v1/meters/{mine}")[0] == 200
    assert person.call("GET", f"/api/v1/meters/{theirs}")[0] == 404
    status, who = person.call("POST", "/api/v1/session", {"tenant": "other"})
    assert status == 200 and who["tenant"]["rights"] == ["view"]
    assert person.call("GET", f"/api/v1/meters/{theirs}")[0] == 200
    assert person.call("GET", f"/api/v1/meters/{mine}")[0] == 404
    assert person.call("GET", "/api/v1/accounts")[0] == 403
    assert person.call("POST", "/api/v1/session", {"tenant": "nope"})[0] == 404


def test_api_keys_have_scopes_networks_and_an_end(site, demo):
    admin = signed_in(site, "anna@example.org")

    def made(**body):
        status, key = admin.call("POST", "/api/v1/api-keys", body)
        assert status == 201, key
        return key

    def status_with(key, path):
        return site.headend.get(path, key["key"]).status

    reads = made(name="reads", rights=["view"])
    assert status_with(reads, "/api/v1/meters") == 200
    assert status_with(reads, "/api/v1/accounts") == 403
    far = made(name="far", rights=["view"], networks=["192.0.2.0/24"])
    assert status_with(far, "/api/v1/meters") == 401
    near = made(name="near", rights=["view"], networks=["127.0.0.0/8"])
    assert status_with(near, "/api/v1/meters") == 200
    old = made(name="old", rights=["view"], expires_at="2020-01-01T00:00:00Z")
    assert status_with(old, "/api/v1/meters") == 401
    listed = admin.call("GET", "/api/v1/api-keys")[1]["api_keys"]
    assert "reads" in [k["name"] for k in listed]
    assert reads["key"] not in json.dumps(listed)
    assert admin.call("DELETE",
                      f"/api/v1/api-keys/{reads['api_key_id']}")[0] == 204
    assert admin.call("POST", "/api/v1/api-keys", {
        "name": "n", "rights": ["view"], "networks": ["nonsense"]})[0] == 422


def test_a_post_sent_again_is_done_once(site, demo):
    admin = signed_in(site, "anna@example.org")
    put = ("PUT", "/api/v1/roles/clerk", {"rights": ["view"]})
    first = admin.call(*put, **{"Idempotency-Key": "k1"})
    assert first[0] == 200
    admin.call("PUT", "/api/v1/roles/clerk", {"rights": ["view", "export"]})
    assert admin.call(*put, **{"Idempotency-Key": "k1"}) == first
    now = [r for r in admin.call("GET", "/api/v1/roles")[1]["roles"]
           if r["name"] == "clerk"]
    assert now[0]["rights"] == ["view", "export"]
    assert admin.call("PUT", "/api/v1/roles/clerk", {"rights": ["users"]},
                      **{"Idempotency-Key": "k1"})[0] == 422


# Posts that make nothing that a second one would make again: they sign in or
# out, show something, decide what can be decided once, decode again.
WITHOUT_KEY = {"login", "session_switch", "session_confirm", "session_factor",
               "password_change",
               "totp_begin", "totp_confirm", "totp_remove", "signup",
               "approval_approve", "approval_reject", "meter_key_reveal",
               "quarantine_replay"}


def test_every_post_that_makes_something_takes_an_idempotency_key(site, demo):
    posts = {o.name: "Idempotency-Key" in o.names("header")
             for o in operations(site.headend) if o.method == "POST"}
    assert {n for n, takes in posts.items() if not takes} == WITHOUT_KEY & set(
        posts)


def test_what_is_shown_once_is_not_kept_for_a_post_sent_again(site):
    site.headend.cli("keys", "init")
    site.tenant("demo")
    site.start()
    admin = signed_in(site, "anna@example.org")
    for path, body, shown in (
            ("accounts", {"email": "b@example.org", "role": "viewer"},
             "password"),
            ("api-keys", {"name": "x", "rights": ["view"]}, "key"),
            ("webhooks", {"url": "https://a.example/", "enabled": False},
             "secret"),
            ("integrations", {"name": "i", "kind": "tts", "enabled": False,
                              "url": "mqtt://x.invalid",
                              "password": "hunter2"}, None),
            ("meter-keys", {"key": "0f" * 16, "address": "1"}, None)):
        post = ("POST", f"/api/v1/{path}", body)
        status, first = admin.call(*post, **{"Idempotency-Key": path})
        assert status == 201, first
        again = admin.call(*post, **{"Idempotency-Key": path})
        assert again == (201, {**first, **({shown: None} if shown else {})})
        assert shown is None or first[shown]
        assert admin.call(*post, **{"Idempotency-Key": "x" * 201})[0] == 400
        many = [v for v in admin.call("GET", f"/api/v1/{path}")[1].values()
                if isinstance(v, list)][0]
        # Anna herself, and the key that "tenant add" printed, are there too.
        assert len(many) == (2 if path in ("accounts", "api-keys") else 1)
        if shown:
            kept = site.sql("SELECT count(*) FROM idempotency WHERE answer "
                            "LIKE %s", (f"%{first[shown]}%",))
            assert kept == [(0,)], path
    person = admin.call("GET", "/api/v1/accounts")[1]["accounts"][1]
    reset = ("POST", f"/api/v1/accounts/{person['account_id']}/reset", None)
    first = admin.call(*reset, **{"Idempotency-Key": "r"})
    assert first[0] == 200 and first[1]["password"]
    assert admin.call(*reset, **{"Idempotency-Key": "r"})[1]["password"] is None


@pytest.mark.parametrize("body,field", [
    ({"email": "x@example.org"}, "role"),
    ({"email": "x@example.org", "role": "viewer", "odd": 1}, "odd"),
    ({"email": 5, "role": "viewer"}, "email"),
    ({"email": "x@example.org", "role": "nobody"}, "role")])
def test_a_wrong_body_names_its_field(site, demo, body, field):
    admin = signed_in(site, "anna@example.org")
    status, why = admin.call("POST", "/api/v1/accounts", body)
    assert (status, why["field"]) == (422, field)


def test_the_trail_says_who_did_what_and_finds_tampering(site, demo):
    admin = signed_in(site, "anna@example.org")
    admin.call("PUT", "/api/v1/roles/clerk", {"rights": ["view"]})
    admin.call("POST", "/api/v1/api-keys", {"name": "k", "rights": ["view"]})
    trail = admin.call("GET", "/api/v1/audit")[1]["audit"]
    newest = trail[0]
    assert (newest["action"], newest["actor"], newest["address"]) == (
        "api_key.add", "anna@example.org", "127.0.0.1")
    assert newest["after"]["hash"] == "(secret)"
    heads = site.headend.cli("audit", "verify")
    assert " 0 broken" in heads and "demo: " in heads
    saved = site.headend.dir / "heads"
    saved.write_text(heads)
    assert site.headend.run("audit", "verify", "--head", saved).returncode == 0
    with pytest.raises(psycopg2.Error):
        site.sql("DELETE FROM audit_entry")

    def tampered(statement):
        site.sql("ALTER TABLE audit_entry DISABLE TRIGGER append_only")
        site.sql(statement)
        done = site.headend.run("audit", "verify", "--tenant", "demo",
                                "--head", saved)
        return done.returncode, done.stdout

    where = f"tenant_id = {demo.id} AND seq = {newest['seq'] - 1}"
    status, said = tampered("UPDATE audit_entry SET actor = 'nobody' WHERE "
                            + where)
    assert status == 1 and f"entry {newest['seq'] - 1}:" in said
    status, said = tampered("DELETE FROM audit_entry WHERE " + where)
    assert status == 1 and "missing" in said
    status, said = tampered("DELETE FROM audit_entry WHERE tenant_id = "
                            f"{demo.id} AND seq >= {newest['seq'] - 1}")
    assert status == 1 and "not what it was" in said


def test_every_answer_is_described(site, demo):
    document = site.headend.get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith("."), (path, method)
            named = set(re.findall(r"{(\w+)}", path))
            given = {p["name"] for p in operation["parameters"]
                     if p.get("in") == "path"}
            assert named == given, path
