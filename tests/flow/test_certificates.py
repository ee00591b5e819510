"""Machines that are known by a client certificate: on the HTTPS face itself,
and behind a proxy that has verified it."""

import base64
import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest
from harness import Authority, signed_in, wait_until
from harness.headend import Reply


class Machine:
    """A certificate of some authority, and its key."""

    def __init__(self, directory, authority, name, **how):
        self.pair = directory / f"{name}.pem", directory / f"{name}.key"
        authority.issue(*self.pair, name, **how)

    def openssl(self, *args):
        return subprocess.run(["openssl", "x509", "-in", self.pair[0], *args],
                              check=True, capture_output=True).stdout

    def sha256(self):
        return self.openssl("-noout", "-fingerprint", "-sha256").decode(
            ).strip().split("=")[1]

    def der(self):
        return self.openssl("-outform", "DER")


@pytest.fixture
def world(site, tmp_path):
    """An HTTPS node that takes certificates of site.machines; two tenants."""
    site.authority = Authority(tmp_path / "site")
    site.machines = Authority(tmp_path / "machines", "machines")
    pair = tmp_path / "site.pem", tmp_path / "site.key"
    site.authority.issue(*pair)
    site.headend.configure(http__tls_cert=pair[0], http__tls_key=pair[1],
                           http__client_ca=site.machines.cert)
    tenants = site.tenant("demo"), site.tenant("other")
    site.headend.launch()
    wait_until(lambda: ask(site, "/readyz").status == 200, 30)
    return tenants


def ask(site, path, machine=None, tenant=None, key=None, body=None):
    headers = {"X-Tenant": tenant} if tenant else {}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"https://localhost:{site.headend.http_port}{path}", headers=headers,
        data=body)
    trust = site.authority.client(*(machine.pair if machine else ()))
    try:
        with urllib.request.urlopen(request, timeout=10, context=trust) as r:
            return Reply(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        return Reply(e.code, e.headers, e.read())


def let_in(site, tenant, *how):
    return site.headend.cli_json("api-key", "add", tenant.name, "--rights",
                                 "view", *how)


def meters(site, *who, **how):
    return ask(site, "/api/v1/meters", *who, **how)


def test_certificate_alone_opens_the_tenant_that_it_names(
        site, world, tmp_path):
    demo, other = world
    demo.meter("24000123", "heo-g4")
    billing = Machine(tmp_path, site.machines, "billing")
    assert let_in(site, demo, "--certificate", billing.pair[0])[
        "api_key"] is None
    reply = meters(site, billing, "demo")
    assert reply.status == 200 and len(reply.json["meters"]) == 1
    assert ask(site, "/api/v1/audit", billing, "demo").status == 403
    # Not for who does not name it, names another, or has another one.
    assert meters(site, billing).status == 401
    assert "X-Tenant" in meters(site, billing).json["detail"]
    for tenant in "other", "none", "demo'", "x" * 5000:
        assert meters(site, billing, tenant).status == 401
    stranger = Machine(tmp_path, site.machines, "stranger")
    assert meters(site, stranger, "demo").status == 401
    assert meters(site, None, "demo").status == 401
    # One machine of several utilities.
    let_in(site, other, "--certificate", billing.pair[0])
    assert meters(site, billing, "other").json["meters"] == []
    assert len(meters(site, billing, "demo").json["meters"]) == 1
    assert site.sql("SELECT count(*) FROM api_key WHERE last_used_at IS NOT "
                    "NULL AND certificate_sha256 IS NOT NULL") == [(2,)]


def test_certificate_that_is_taken_back_opens_nothing(site, world, tmp_path):
    demo, _ = world
    billing = Machine(tmp_path, site.machines, "billing")
    let_in(site, demo, "--certificate", billing.pair[0])
    assert meters(site, billing, "demo").status == 200
    key_id = site.sql("SELECT api_key_id FROM api_key WHERE "
                      "certificate_sha256 IS NOT NULL")[0][0]
    assert site.sql("SELECT after ->> 'certificate_sha256' FROM audit_entry "
                    "WHERE action = 'api_key.add' AND object_id = %s",
                    (str(key_id),)) == [(billing.sha256().replace(
                        ":", "").lower(),)]
    site.headend.cli("api-key", "remove", "demo", key_id)
    wait_until(lambda: meters(site, billing, "demo").status == 401, 10)


def test_key_that_needs_its_certificate_opens_nothing_without(
        site, world, tmp_path):
    demo, _ = world
    billing = Machine(tmp_path, site.machines, "billing")
    stranger = Machine(tmp_path, site.machines, "stranger")
    key = let_in(site, demo, "--certificate", billing.pair[0], "--secret")[
        "api_key"]
    assert meters(site, billing, key=key).status == 200
    assert meters(site, key=key).status == 401  # not from memory either
    assert meters(site, stranger, key=key).status == 401
    assert meters(site, billing, "demo").status == 401
    assert meters(site, stranger, key=demo.token).status == 200  # needs none


def test_subject_fits_renewed_certificates(site, world, tmp_path):
    demo, _ = world
    let_in(site, demo, "--certificate-subject", "CN=reader")
    for days in 2, 3:
        reader = Machine(tmp_path, site.machines, "reader", days=days)
        said = reader.openssl("-noout", "-subject", "-nameopt", "RFC2253")
        assert said.decode().strip() == "subject=CN=reader"
        assert meters(site, reader, "demo").status == 200
    assert meters(site, Machine(tmp_path, site.machines, "reader2"),
                  "demo").status == 401


def refused(site, machine):
    """In the handshake, or (TLS 1.3) as soon as it is learnt."""
    with pytest.raises((urllib.error.URLError, OSError)):
        meters(site, machine, "demo")
    return True


def test_only_good_certificates_of_the_authority_are_taken(
        site, world, tmp_path):
    demo, _ = world
    forger = Authority(tmp_path / "forger", "machines")
    for machine in (Machine(tmp_path, forger, "forged"),
                    Machine(tmp_path, site.machines, "ended", days=-1),
                    Machine(tmp_path, site.authority, "servers")):
        let_in(site, demo, "--certificate", machine.pair[0])
        assert refused(site, machine)
    assert "https connection refused" in site.headend.log()
    assert meters(site, key=demo.token).status == 200


def test_authorities_are_read_anew(site, world, tmp_path):
    demo, _ = world
    old = Machine(tmp_path, site.machines, "old")
    let_in(site, demo, "--certificate", old.pair[0])
    assert meters(site, old, "demo").status == 200
    after = Authority(tmp_path / "after", "after")
    site.machines.cert.write_text(after.cert.read_text())
    os.kill(site.headend.pid, signal.SIGHUP)
    wait_until(lambda: "certificate renewed" in site.headend.log())
    assert refused(site, old)
    new = Machine(tmp_path, after, "new")
    let_in(site, demo, "--certificate", new.pair[0])
    assert meters(site, new, "demo").status == 200


def test_nobody_is_asked_where_no_authority_is_set(site, world, tmp_path):
    demo, _ = world
    billing = Machine(tmp_path, site.machines, "billing")
    let_in(site, demo, "--certificate", billing.pair[0])
    site.headend.stop()
    site.headend.configure(http__client_ca="")
    site.headend.launch()
    wait_until(lambda: ask(site, "/readyz").status == 200, 30)
    assert meters(site, billing, "demo").status == 401


# ---- behind a proxy ----

def told(machine):
    """The same certificate in the words of several proxies."""
    pem = machine.pair[0].read_text()
    inner = "".join(pem.splitlines()[1:-1])
    return [f":{base64.b64encode(machine.der()).decode()}:",  # RFC 9440
            urllib.parse.quote(pem, safe=""),                  # nginx
            urllib.parse.quote(inner, safe=""), inner,         # Traefik
            machine.sha256(), machine.sha256().replace(":", "").lower()]


@pytest.mark.parametrize("trusted", [True, False])
def test_only_trusted_proxies_are_believed(site, demo, tmp_path, trusted):
    site.headend.configure(
        http__trusted_proxies="127.0.0.1" if trusted else "192.0.2.0/24",
        http__client_header="X-Client-Cert")
    billing = Machine(tmp_path, Authority(tmp_path / "ca"), "billing")
    let_in(site, demo, "--certificate", billing.pair[0])
    site.start()

    def status(*said):
        return site.headend.get("/api/v1/meters", headers={
            "X-Tenant": "demo", "X-Client-Cert": ",".join(said)}).status
    for said in told(billing):
        assert status(said) == (200 if trusted else 401), said
    one = told(billing)[0]
    for said in ([one, one], [one[:-9] + ":"], [""], ["x"], ["%"], [":" * 99],
                 ["-----BEGIN CERTIFICATE-----"], ["a" * 20000]):
        assert status(*said) in (401, 431), said


def test_settings_that_make_no_sense_are_refused(site, demo):
    for setting, says in (({"http__client_ca": "x.pem"}, "http.tls_cert"),
                          ({"http__client_header": "X-C"},
                           "http.trusted_proxies")):
        site.headend.configure(http__client_ca="", http__client_header="")
        site.headend.configure(**setting)
        done = site.headend.run("serve")
        assert done.returncode == 1 and says in done.stderr


# ---- through the API ----

def test_admin_binds_certificates_through_the_api(site, demo, tmp_path):
    site.start()
    admin = signed_in(site, "anna@example.org")
    billing = Machine(tmp_path, Authority(tmp_path / "ca"), "billing")

    def post(**body):
        return admin.call("POST", "/api/v1/api-keys",
                          {"name": "billing", "rights": ["view"], **body})
    status, made = post(certificate_sha256=billing.sha256())
    assert status == 201 and made["key"] is None and not made["secret"]
    assert made["certificate_sha256"] == \
        billing.sha256().replace(":", "").lower()
    assert post(certificate_sha256=billing.sha256())[0] == 409
    status, both = post(certificate_subject="CN=billing", secret=True)
    assert status == 201 and both["key"].startswith("hdk_") and both["secret"]
    for body, field in (({"certificate_sha256": "0" * 63 + "g"},
                         "certificate_sha256"), ({"secret": False}, "secret")):
        status, why = post(**body)
        assert status == 422 and why["field"] == field
    listed = admin.call("GET", "/api/v1/api-keys")[1]["api_keys"]
    assert [k["secret"] for k in listed] == [True, False, True]
    assert admin.call("DELETE",
                      f"/api/v1/api-keys/{made['api_key_id']}")[0] == 204
