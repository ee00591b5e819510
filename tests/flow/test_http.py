"""The HTTP face on the open net: HTTPS, proxies, headers, slow clients."""

import os
import resource
import signal
import socket
import ssl
import time
import urllib.request

import pytest
from harness import Authority, wait_until


@pytest.fixture
def secure(site, demo, tmp_path):
    """A node that speaks HTTPS; `site.ask(path)` trusts its authority."""
    site.authority = Authority(tmp_path / "authority")
    site.cert, site.key = tmp_path / "cert.pem", tmp_path / "key.pem"
    site.authority.issue(site.cert, site.key)
    site.headend.configure(http__tls_cert=site.cert, http__tls_key=site.key)
    site.headend.launch()

    def ready():
        assert site.headend.running(), site.headend.log()
        return ask(site, "/readyz").status == 200
    wait_until(ready, 30)
    return demo


def ask(site, path, token=None, trust=None, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return urllib.request.urlopen(urllib.request.Request(
        f"https://localhost:{site.headend.http_port}{path}", headers=headers),
        timeout=10, context=trust or site.authority.client())


def shown(site):
    """The certificate that the server shows now."""
    return ssl.get_server_certificate(("127.0.0.1", site.headend.http_port))


def test_api_over_https_tells_browsers_to_stay_with_it(site, secure):
    reply = ask(site, "/api/v1/meters", secure.token)
    assert reply.status == 200 and b'"meters"' in reply.read()
    assert reply.headers["Strict-Transport-Security"].startswith("max-age=")


def test_https_is_tls_1_2_or_later(site, secure):
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        trust = site.authority.client()
        trust.minimum_version = trust.maximum_version = version
        assert ask(site, "/healthz", trust=trust).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_refused(site, secure):
    trust = site.authority.client()
    trust.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    trust.maximum_version = ssl.TLSVersion.TLSv1_1
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(urllib.error.URLError):
        ask(site, "/healthz", trust=trust)


def test_https_certificate_is_renewed_without_a_restart(site, secure):
    first = shown(site)
    site.authority.issue(site.cert, site.key)
    os.kill(site.headend.pid, signal.SIGHUP)
    wait_until(lambda: shown(site) != first)
    assert ask(site, "/healthz").status == 200


@pytest.mark.parametrize("spoil", ["cert", "key", "mixed"])
def test_unusable_pair_keeps_the_older_one(site, secure, tmp_path, spoil):
    first = shown(site)
    if spoil == "mixed":  # a key of another certificate
        site.authority.issue(tmp_path / "other.pem", site.key)
    else:
        getattr(site, spoil).write_text("nonsense")
    os.kill(site.headend.pid, signal.SIGHUP)
    wait_until(lambda: "https certificate not renewed" in site.headend.log())
    assert shown(site) == first


def test_server_does_not_start_with_a_pair_that_cannot_be_used(site, tmp_path):
    site.headend.configure(http__tls_cert=tmp_path / "none.pem",
                           http__tls_key=tmp_path / "none.key")
    done = site.headend.run("serve")
    assert done.returncode == 1
    assert "https certificate cannot be used" in done.stderr
    assert "none.pem" in done.stderr


def test_garbage_on_the_https_port_ends_that_connection_alone(site, secure):
    for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096),
                  b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10) as s:
            s.sendall(noise)
    assert ask(site, "/healthz").status == 200


# ---- headers, proxies ----

def test_every_answer_is_closed_to_frames_scripts_and_sniffing(site, demo):
    site.start()
    for path in "/healthz", "/metrics", "/nothing", "/api/v1/meters":
        headers = site.headend.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("forwarded, seen", [
    ("192.0.2.7", "192.0.2.7"),
    ("203.0.113.9, 192.0.2.7", "192.0.2.7"),  # the first is hearsay
    ("203.0.113.9, 192.0.2.7, 10.1.2.3", "192.0.2.7"),  # two proxies
    ("2001:db8::7", "2001:db8::7"),
    ("nonsense", "127.0.0.1"),
    ("192.0.2.7, nonsense", "127.0.0.1")])
def test_trusted_proxy_says_who_asks(site, demo, forwarded, seen):
    site.headend.configure(http__trusted_proxies="127.0.0.1, 10.0.0.0/8")
    site.start()
    site.headend.get("/api/v1/meters", "hdk_wrong",
                     {"X-Forwarded-For": forwarded})
    wait_until(lambda: f"address={seen} " in site.headend.log())


def test_https_proxy_is_believed_and_others_are_not(site, demo):
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    site.headend.configure(http__trusted_proxies="127.0.0.1")
    site.start()
    reply = site.headend.get("/healthz", headers=said)
    assert "Strict-Transport-Security" in reply.headers
    site.headend.stop()
    site.headend.configure(http__trusted_proxies="192.0.2.0/24")
    site.start()
    reply = site.headend.get("/healthz", headers=said)
    assert "Strict-Transport-Security" not in reply.headers
    site.headend.get("/api/v1/meters", "hdk_wrong", said)
    wait_until(lambda: "address=127.0.0.1 " in site.headend.log())


# ---- too many, too slow ----

def test_slowloris_of_2000_connections_leaves_the_api_answering(site, demo):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    site.headend.configure(http__connections=500)
    site.start()
    slow = []
    try:
        for i in range(2000):
            s = socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10)
            slow.append(s)
            try:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
            except OSError:
                pass  # others wanted its place
            if i % 100 == 99:
                assert demo.get("/api/v1/meters").status == 200
        for s in slow:  # another byte each, to look alive
            try:
                s.sendall(b"b")
            except OSError:
                pass
        assert demo.get("/api/v1/meters").status == 200
        assert "http connection cut, too many" in site.headend.log()
    finally:
        for s in slow:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_request_that_dribbles_in_is_cut(site, demo):
    site.headend.configure(http__idle=2)
    site.start()
    with socket.create_connection(
            ("127.0.0.1", site.headend.http_port), 10) as s:
        s.settimeout(0.2)
        began = time.monotonic()
        while time.monotonic() - began < 15:
            try:
                s.sendall(b"G")
                if not s.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("a request of one letter a time still goes on")
        assert time.monotonic() - began < 10


def test_one_key_that_asks_too_often_is_put_off_and_others_are_not(
        site, demo):
    other = site.tenant("other")
    site.headend.configure(http__rate=1)
    site.start()
    replies = [demo.get("/api/v1/meters") for _ in range(15)]
    refused = [r for r in replies if r.status == 429]
    assert refused and replies[0].status == 200
    assert int(refused[-1].headers["Retry-After"]) >= 1
    assert refused[-1].json["status"] == 429
    assert other.get("/api/v1/meters").status == 200
    wait_until(lambda: demo.get("/api/v1/meters").status == 200)
