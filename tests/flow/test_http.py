"""The HTTP face on the open net: proxies, headers, clients that are too many,
too slow, too eager."""

import socket
import time

import pytest
from harness import GOOD, Person, many_files, signed_in, wait_until


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


def test_errors_are_as_closed_as_answers(site, demo):
    site.start()
    long = "POST /api/v1/meters HTTP/1.1\r\nHost: x\r\nContent-Length: "
    for request, status in (
            ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /api/v1/meters HTTP/1.1\r\nHost: x\r\n\r\n", 401),
            ("GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            # Refused before it comes: nothing of the body is sent.
            (long + "67108865\r\n\r\n", 413),
            (long + "9" * 19 + "\r\n\r\n", 413),
            (long + "67108865\r\nExpect: 100-continue\r\n\r\n", 413)):
        with socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10) as s:
            s.sendall(request.encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(4096)
        text = head.decode().lower()
        assert text.startswith(f"http/1.1 {status} "), text
        for said in ("content-security-policy: default-src 'none'",
                     "x-content-type-options: nosniff", "x-frame-options: deny",
                     "content-type: application/problem+json"):
            assert said in text, (request, text)


# ---- too many, too slow ----

def dribble(s, byte=b"b"):
    try:
        s.sendall(byte)
    except OSError:
        pass  # others wanted its place


def test_slowloris_of_2000_connections_leaves_the_api_answering(site, demo):
    site.headend.configure(http__connections=500)
    site.start()
    slow = []
    with many_files():
        for i in range(2000):
            slow.append(socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10))
            dribble(slow[-1], b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
            if i % 100 == 99:
                assert demo.get("/api/v1/meters").status == 200
        for s in slow:
            dribble(s)
        assert demo.get("/api/v1/meters").status == 200
        assert "http connection cut, too many" in site.headend.log()
        for s in slow:
            s.close()


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


def put_off(replies):
    """The answers that say to come back, and when."""
    refused = [r for r in replies if r.status == 429]
    assert all(int(r.headers["Retry-After"]) >= 1 for r in refused)
    assert all(r.json["status"] == 429 for r in refused)
    return refused


def test_one_key_that_asks_too_often_is_put_off_and_others_are_not(
        site, demo):
    other = site.tenant("other")
    site.headend.configure(http__rate=1)
    site.start()
    replies = [demo.get("/api/v1/meters") for _ in range(15)]
    assert put_off(replies) and replies[0].status == 200
    assert "This key" in replies[-1].json["detail"]
    assert other.get("/api/v1/meters").status == 200
    wait_until(lambda: demo.get("/api/v1/meters").status == 200)


def test_sessions_of_one_account_share_its_limit(site, demo):
    site.headend.configure(http__rate=1)
    site.start()
    anna = [signed_in(site, "anna@example.org")]
    bob = signed_in(site, "bob@example.org")
    anna.append(Person(site))
    anna[1].login("anna@example.org", GOOD)
    statuses = [anna[i % 2].call("GET", "/api/v1/meters")[0]
                for i in range(16)]
    assert statuses[0] == 200 and statuses[-2:] == [429, 429]
    assert bob.call("GET", "/api/v1/meters")[0] == 200


def test_keys_of_one_tenant_share_its_limit(site, demo):
    other = site.tenant("other")
    keys = [site.headend.cli_json("api-key", "add", "demo")["api_key"]
            for _ in range(3)]
    site.headend.configure(http__tenant_rate=1)
    site.start()
    replies = [site.headend.get("/api/v1/meters", keys[i % 3])
               for i in range(15)]
    assert replies[0].status == 200
    assert "This tenant" in put_off(replies)[-1].json["detail"]
    assert other.get("/api/v1/meters").status == 200


def test_one_address_that_asks_too_often_is_put_off_whoever_asks(site, demo):
    site.headend.configure(http__address_rate=1,
                           http__trusted_proxies="127.0.0.1")
    site.start()

    def ask(address, **how):
        return site.headend.get("/api/v1/oidc", headers={
            "X-Forwarded-For": address}, **how)
    replies = [ask("192.0.2.7") for _ in range(15)]
    assert replies[0].status == 200
    assert "This address" in put_off(replies)[-1].json["detail"]
    assert ask("192.0.2.7", token=demo.token).status == 429
    assert ask("192.0.2.8").status == 200
