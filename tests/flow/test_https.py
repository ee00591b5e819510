"""HTTPS: versions, certificates, bodies either way, and clients that do not
finish what they began."""

import os
import signal
import socket
import ssl
import threading
import time
import urllib.request

import pytest
from harness import Authority, many_files, wait_until


def up(site, tmp_path):
    """A node that speaks HTTPS, with a certificate of site.authority."""
    site.authority = Authority(tmp_path / "authority")
    site.cert, site.key = tmp_path / "cert.pem", tmp_path / "key.pem"
    site.authority.issue(site.cert, site.key)
    site.headend.configure(http__tls_cert=site.cert, http__tls_key=site.key)
    site.headend.launch()

    def ready():
        assert site.headend.running(), site.headend.log()
        return ask(site, "/readyz").status == 200
    wait_until(ready, 30)


@pytest.fixture
def secure(site, demo, tmp_path):
    up(site, tmp_path)
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
    wait_until(lambda: "certificate not renewed" in site.headend.log())
    assert shown(site) == first


def test_server_does_not_start_with_a_pair_that_cannot_be_used(site, tmp_path):
    site.headend.configure(http__tls_cert=tmp_path / "none.pem",
                           http__tls_key=tmp_path / "none.key")
    done = site.headend.run("serve")
    assert done.returncode == 1
    assert "certificate cannot be used" in done.stderr
    assert "none.pem" in done.stderr


def test_garbage_on_the_https_port_ends_that_connection_alone(site, secure):
    for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096),
                  b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10) as s:
            s.sendall(noise)
    assert ask(site, "/healthz").status == 200


# ---- bodies, either way ----

class Line:
    """One HTTPS connection that stays."""

    def __init__(self, site, **how):
        s = socket.socket()
        for name, value in how.items():
            s.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        s.settimeout(20)
        s.connect(("127.0.0.1", site.headend.http_port))
        self.s = site.authority.client().wrap_socket(
            s, server_hostname="localhost")
        self.f = self.s.makefile("rb")

    def send(self, text):
        self.s.sendall(text.encode())

    def reply(self):
        status = int(self.f.readline().split()[1])
        headers = dict(line.decode().strip().lower().split(": ", 1)
                       for line in iter(self.f.readline, b"\r\n"))
        return status, self.f.read(int(headers["content-length"]))


def test_requests_in_a_row_are_answered_in_order_to_a_slow_reader(
        site, secure):
    line = Line(site, SO_RCVBUF=4096)
    whole = ask(site, "/api/v1/openapi.json").read()
    ask_all = "".join(f"GET /api/v1/{what} HTTP/1.1\r\nHost: x\r\n\r\n"
                      for what in ["openapi.json", "none"] * 30)
    sender = threading.Thread(target=line.send, args=[ask_all])
    sender.start()
    time.sleep(1)  # not read: what is sent must wait somewhere
    for _ in range(30):
        assert line.reply() == (200, whole)
        assert line.reply()[0] == 404
    sender.join()


def test_body_that_is_too_long_is_refused_and_its_sender_sees_it(site, secure):
    line = Line(site)
    line.send(f"POST /api/v1/meters HTTP/1.1\r\nHost: x\r\nAuthorization: "
              f"Bearer {secure.token}\r\nContent-Length: 9000000\r\n\r\n")
    try:
        line.send("x" * 9000000)  # all at once, without waiting for an answer
    except OSError:
        pass
    assert line.reply()[0] == 413


def test_end_of_the_answers_is_said_and_the_line_closed(site, secure):
    line = Line(site)
    line.send("GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 OK" in line.f.readline()
    assert line.f.read()  # ends without an error: close_notify came


def test_server_ends_at_once_with_lines_open(site, secure):
    line = Line(site)
    line.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert line.reply()[0] == 200
    with socket.create_connection(
            ("127.0.0.1", site.headend.http_port), 10) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        began = time.monotonic()
        site.headend.stop()
        assert time.monotonic() - began < 8
        assert half.recv(1) == b""
    assert line.f.read() == b""  # close_notify


# ---- clients that do not finish ----

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_half_a_handshake_costs_nothing_and_is_cut(site, tmp_path, demo):
    site.headend.configure(http__idle=3)
    up(site, tmp_path)
    with socket.create_connection(
            ("127.0.0.1", site.headend.http_port), 10) as s:
        s.sendall(b"\x16\x03\x01\x02\x00\x01")
        before = cpu_seconds(site.headend.pid)
        began = time.monotonic()
        assert s.recv(100) == b""
        assert 2 < time.monotonic() - began < 9
        assert cpu_seconds(site.headend.pid) - before < 1.5


def test_slowloris_of_2000_https_connections_leaves_the_api_answering(
        site, tmp_path, demo):
    """A third never begin a handshake, a third stop in it, a third in a
    request."""
    site.headend.configure(http__connections=500)
    up(site, tmp_path)
    trust = site.authority.client()
    slow, greeted = [], 0
    with many_files():
        for i in range(2000):
            s = socket.create_connection(
                ("127.0.0.1", site.headend.http_port), 10)
            try:
                if i % 3 == 1:
                    s.sendall(b"\x16\x03\x01\x02\x00\x01")
                elif i % 3 == 2:
                    s = trust.wrap_socket(s, server_hostname="localhost")
                    greeted += 1
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
            except OSError:
                pass  # others wanted its place
            slow.append(s)
            if i % 100 == 99:
                assert ask(site, "/api/v1/meters", demo.token).status == 200
        assert ask(site, "/api/v1/meters", demo.token).status == 200
        assert greeted > 600
        for s in slow:
            s.close()
