"""Every operation of the API as every kind of caller against another tenant's
objects: denied, nothing seen, nothing changed. Operations, rights and objects
come from the OpenAPI document that the server itself serves; one that this file
does not know how to aim at another tenant's object fails it."""

import json

import pytest
from harness import GOOD, HeoMeter, Person, invite, signed_in, wait_until
from harness.api import body_for, operations, seeded, send

MARK = "zebra"  # stands in everything that is the victim's
SERIAL = "24000777"

# What {id} or {name} of a path is, by the path's first word. A value that is
# the caller's own namespace (a role's name) is no other tenant's object.
OBJECTS = {
    "meters": "SELECT meter_id FROM meter WHERE tenant_id = %s",
    "frames": "SELECT frame_id FROM frame WHERE tenant_id = %s "
              "AND fate = 1 LIMIT 1",
    "quarantine": "SELECT frame_id FROM quarantine WHERE tenant_id = %s "
                  "LIMIT 1",
    "accounts": "SELECT account_id FROM membership WHERE tenant_id = %s "
                "LIMIT 1",
    "models": "SELECT model_id FROM meter_model WHERE tenant_id = %s LIMIT 1",
    "metering-points": "SELECT metering_point_id FROM metering_point WHERE "
                       "tenant_id = %s",
    "installations": "SELECT installation_id FROM installation WHERE "
                     "tenant_id = %s",
    "groups": "SELECT group_id FROM meter_group WHERE tenant_id = %s",
    "webhooks": "SELECT webhook_id FROM webhook WHERE tenant_id = %s",
    "reports": "SELECT report_id FROM report WHERE tenant_id = %s",
    "report-runs": "SELECT run_id FROM report_run WHERE tenant_id = %s",
    "tenants": "SELECT tenant_id FROM tenant WHERE tenant_id = %s",
    "codecs": "SELECT name FROM codec WHERE tenant_id = %s",
    "meter-keys": "SELECT key_id FROM meter_key WHERE tenant_id = %s",
    "passports": "SELECT passport_id FROM passport WHERE tenant_id = %s",
    "integrations": "SELECT integration_id FROM integration WHERE "
                    "tenant_id = %s",
    "approvals": "SELECT approval_id FROM approval WHERE tenant_id = %s",
    "clock-corrections": "SELECT correction_id FROM clock_correction WHERE "
                         "tenant_id = %s LIMIT 1",
    "commands": "SELECT command_id FROM command WHERE tenant_id = %s LIMIT 1",
    "clock-policies": "SELECT model_id FROM meter_model WHERE tenant_id = %s "
                      "LIMIT 1",
    "api-keys": "SELECT api_key_id FROM api_key WHERE tenant_id = %s LIMIT 1",
}
NAMESPACES = {"roles": "clerk", "signups": 1}

# The operator of the platform knows which tenants there are, and who signed in.
PLATFORMS = ("audit_list", "tenants_list")
# What an operation needs in its query to say anything.
GIVEN = {"sums_get": {"register": "7-0:3.0.0", "from": "2024-01-10T00:00:00Z",
                      "to": "2024-01-12T00:00:00Z"}}
OPERATES = ("tenant_operate",)  # and suspends them


def tables(site):
    return [t for t, in site.sql(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = "
        "c.oid AND a.attname = 'tenant_id' AND NOT attisdropped WHERE "
        "c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace "
        "= 'public'::regnamespace ORDER BY 1")]


def digest(site, tenant):
    """All that a tenant has, but for what a sign-in leaves."""
    return {t: site.sql(
        "SELECT md5(string_agg(x::text, ',' ORDER BY x::text)) FROM (SELECT "
        f"to_jsonb(t) - '{{last_used_at,seen_at}}'::text[] AS x FROM {t} t "
        "WHERE tenant_id = %s) s", (tenant.id,))[0][0] for t in tables(site)}


def fill(site, tenant):
    """A meter, a stored and a quarantined frame, people, a key, a role."""
    tenant.meter(SERIAL, "heo-g4", zone="Europe/Berlin")
    site.sql("UPDATE meter_model SET maker = %s WHERE tenant_id = %s RETURNING 1",
             (f"{MARK} maker", tenant.id))
    with HeoMeter(site.headend.tcp_port, SERIAL) as meter:
        assert meter.hello()["t"] == "ack"
        assert meter.ask({"t": "data", "seq": 1, "cols": ["ts", "v_work"],
                          "rows": [["2024-01-11T12:00:00+03:00", "100.5"]]}
                         )["t"] == "ack"
        meter.ask({"t": "data", "seq": 2, "cols": ["ts", "v_work"],
                   "rows": [[MARK, "100.5"]]})
    wait_until(lambda: tenant.fates().get("quarantined", 0) >= 1
               and tenant.fates().get("stored", 0) >= 1)
    # Its clock is years behind: that waits for a person.
    wait_until(lambda: site.sql("SELECT 1 FROM clock_correction WHERE "
                                "tenant_id = %s", (tenant.id,)))


@pytest.fixture
def world(site):
    site.headend.cli("keys", "init")
    site.headend.configure(http__trusted_proxies="127.0.0.1",
                           http__client_header="X-Certificate")
    victim = site.tenant(MARK)
    other = site.tenant("other")
    site.start()
    fill(site, victim)
    owner = signed_in(site, f"{MARK}@example.org", MARK)
    assert owner.call("PUT", "/api/v1/roles/clerk",
                      {"rights": ["view"]})[0] == 200
    point = owner.call("POST", "/api/v1/metering-points", {
        "moid": f"{MARK} 1"})[1]["metering_point_id"]
    meter = owner.call("GET", "/api/v1/meters")[1]["meters"][0]["meter_id"]
    assert owner.call("POST", "/api/v1/installations", {
        "metering_point_id": point, "meter_id": meter})[0] == 201
    assert owner.call("POST", "/api/v1/groups", {
        "name": f"{MARK} group", "meter_ids": [meter]})[0] == 201
    assert owner.call("POST", "/api/v1/webhooks", {
        "url": f"https://{MARK}.example/", "enabled": False})[0] == 201
    report = owner.call("POST", "/api/v1/reports", {
        "name": MARK, "holds": "missing"})[1]["report_id"]
    assert owner.call("POST", f"/api/v1/reports/{report}/runs", {})[0] == 202
    wait_until(lambda: site.sql("SELECT 1 FROM report_run WHERE state = "
                                "'done'"))
    assert owner.call("POST", "/api/v1/codecs", {
        "name": f"{MARK}-codec", "script": f"function Decoder() {{}} // {MARK}"
        })[0] == 201
    assert owner.call("POST", "/api/v1/meter-keys", {
        "key": "0f" * 16, "address": MARK})[0] == 201
    assert owner.call("POST", "/api/v1/passports", {
        "model": "heo-g6", "serial": f"{MARK} 1", "appkey": "0f" * 16})[0] == 201
    assert owner.call("POST", "/api/v1/integrations", {
        "name": MARK, "kind": "tts", "url": f"mqtt://{MARK}.invalid",
        "password": MARK, "enabled": False})[0] == 201
    site.sql("INSERT INTO approval (tenant_id, operation, title, needs, path, "
             "body, asked_by, asked_actor) SELECT %s, 'tenant_protect', %s, "
             "right_bits('{settings}'), '{}', '{}', min(account_id), %s FROM "
             "account RETURNING 1", (victim.id, MARK, MARK))
    return site, victim, other, owner


def key(site, tenant, rights):
    return {"Authorization": "Bearer " + site.headend.cli_json(
        "api-key", "add", tenant.name, "--rights", ",".join(rights))[
            "api_key"]}


def cookie(person):
    return {"Cookie": f"headend_session={person.cookie}",
            "X-CSRF-Token": person.csrf}


def callers(site, other):
    """Everybody who is not of the victim: name, headers."""
    rights = site.sql("SELECT right_list()")[0][0]
    ours = [r for r in rights if r != "platform"]
    yield "nobody", {}
    yield "wrong key", {"Authorization": "Bearer hdk_" + "0" * 48}
    yield "key of another tenant", key(site, other, ours)
    site.headend.cli("api-key", "add", "other", "--rights", ",".join(ours),
                     "--certificate-subject", "CN=machine")
    site.sql("UPDATE api_key SET certificate_subject = NULL, "
             "certificate_sha256 = %s WHERE certificate_subject = 'CN=machine' "
             "RETURNING 1", ("5a" * 32,))
    machine = {"X-Certificate": "5a" * 32}
    yield "certificate of another tenant", {**machine, "X-Tenant": "other"}
    yield "the same that names this one", {**machine, "X-Tenant": MARK}
    yield "admin of another tenant", cookie(
        signed_in(site, "admin@other.example", "other"))
    yield "viewer of another tenant", cookie(
        signed_in(site, "viewer@other.example", "other", "viewer"))
    fresh = Person(site)
    fresh.login("fresh@other.example",
                invite(site, "fresh@other.example", "other"))
    yield "password not yet changed", cookie(fresh)
    yield "platform operator", cookie(signed_in(
        site, "root@example.org", "platform", "platform operator"))


def aim(site, victim, operation):
    """Path values that name the victim's objects; whether they are one."""
    word = operation.path.split("/")[3]
    names = operation.names("path")
    if not names:
        return {}, False
    if word in NAMESPACES:
        return {names[0]: NAMESPACES[word]}, False
    assert word in OBJECTS, (
        f"{operation.path}: say in OBJECTS what its {{{names[0]}}} is")
    found = site.sql(OBJECTS[word], (victim.id,))
    assert found, f"the victim has nothing for {operation.path}"
    return {names[0]: found[0][0], **{n: 1 for n in names[1:]}}, True


def aimed_body(operation, rng):
    return operation.body and body_for(operation.body, rng, wild=False)


def test_nobody_reaches_another_tenant(world):
    site, victim, other, _ = world
    rng, pairs = seeded(1), 0
    found = [o for o in operations(site.headend)
             if o.name != "session_end" and not o.stream]
    crowd = list(callers(site, other))
    before = digest(site, victim)
    for who, headers in crowd:
        for o in found:
            if who == "platform operator" and o.name in OPERATES:
                continue
            values, theirs = aim(site, victim, o)
            reply = send(site.headend, o.method, o.url(values), headers,
                         aimed_body(o, rng))
            pairs += 1
            told = f"{who}: {o.method} {o.path} -> {reply.status}"
            assert reply.status < 500, told
            o.check(reply)
            if not o.public:
                # 202: a second person would have to say yes to what then is a
                # 404; one of these operations may have made that the rule.
                denied = (401, 403, 404, 422) + (202,) * o.critical
                assert not theirs or reply.status in denied, told
                if who != "platform operator" or o.name not in PLATFORMS:
                    assert MARK.encode() not in reply.body, told
    assert digest(site, victim) == before
    print(f"\n{pairs} pairs of operation and caller "
          f"({len(found)} x {len(crowd)})")


def test_each_operation_needs_its_own_right(world):
    """A key with every other right is refused; a key with that one is not."""
    site, victim, _, owner = world
    rights = [r for r in site.sql("SELECT right_list()")[0][0]
              if r != "platform"]
    keys = {r: (key(site, victim, [r]),
                key(site, victim, [x for x in rights if x != r]))
            for r in rights}
    rng = seeded(2)
    for o in operations(site.headend):
        if o.public or o.people_only or o.right == "platform" or o.stream:
            continue
        assert o.right in rights, f"{o.name} needs no right"
        values, _ = aim(site, victim, o)
        alone, others = keys[o.right]
        body = aimed_body(o, rng)
        query = GIVEN.get(o.name, {})
        refused = send(site.headend, o.method, o.url(values), others, body)
        assert refused.status == 403, (o.name, refused.status)
        if o.method == "GET":
            reply = send(site.headend, "GET", o.url(values, **query), alone)
            assert reply.status == 200, (o.name, reply.text)
            o.check(reply)


def test_every_table_shows_one_tenant_at_a_time(world):
    site, victim, other, _ = world
    for t in tables(site):
        allowed = site.sql("SELECT has_table_privilege('headend_server', %s, "
                           "'SELECT')", (t,))[0][0]
        if not allowed:
            continue
        for tenant in (victim, other):
            seen = site.sql(f"SELECT DISTINCT tenant_id FROM {t}",
                            role="headend_server", tenants=f"{{{tenant.id}}}")
            assert seen in ([], [(tenant.id,)]), t
        assert site.sql(f"SELECT count(*) FROM {t}", role="headend_server",
                        tenants="{}") == [(0,)], t


def test_requests_by_the_document_and_against_it_give_no_5xx(world):
    """A few thousand, some malformed; every answer is a described one."""
    site, victim, other, owner = world
    rng, sent = seeded(7), 0
    admin = signed_in(site, "fuzz@other.example", "other")
    found = [o for o in operations(site.headend)
             if o.name not in ("session_end", "password_change", "login",
                               "account_add", "account_reset",
                               "session_confirm") and not o.stream]
    before = digest(site, victim)
    for _ in range(2500):
        o = rng.choice(found)
        wild = rng.random() < 0.6
        values = {n: rng.choice([1, 2, 999999, "x", "%2e%2e", "-1", "1" * 40,
                                 "ä b"]) for n in o.names("path")}
        query = {n: rng.choice(["1", "x", "2026-01-15T12:00:00Z", "ä", "",
                                "json", "9" * 30])
                 for n in o.names("query") if wild and rng.random() < 0.3}
        body = raw = None
        if o.body:
            body = body_for(o.body, rng, wild)
            if wild and rng.random() < 0.15:
                raw = rng.choice([b"", b"{", b"[]", b"\xff", b'{"a":1}{',
                                  b'{"a":' * 50, json.dumps(body).encode()[:-1]])
        headers = dict(cookie(admin))
        if rng.random() < 0.2:
            headers["Idempotency-Key"] = rng.choice(["a", "b", "x" * 300])
        reply = send(site.headend, o.method, o.url(values, **query), headers,
                     body, raw)
        sent += 1
        assert reply.status < 500, (o.name, values, query, body, raw,
                                    reply.text)
        o.check(reply)
        assert MARK.encode() not in reply.body, o.name
    assert digest(site, victim) == before
    print(f"\n{sent} requests")
