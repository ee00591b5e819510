"""Meters over TLS, and what else dials that port: plain text, noise, clients
that never finish, load balancers that say whom they bring."""

import os
import signal
import socket
import ssl
import struct

import pytest
from harness import Authority, free_port, wait_until

SERIAL = "24000123"
ROWS = {"t": "data", "seq": 1, "kind": "hour",
        "cols": ["ts", "v_work"], "unit": "m3",
        "rows": [["2024-01-11T12:00:00+03:00", "1.5000"]]}


@pytest.fixture
def secure(site, demo, tmp_path):
    """A node with a TLS listener; `site.tls_meter()` dials it."""
    authority = Authority(tmp_path / "authority")
    site.cert, site.key = tmp_path / "cert.pem", tmp_path / "key.pem"
    site.tls_port, site.trust = free_port(), authority.client()
    authority.issue(site.cert, site.key)
    site.headend.configure(tcp__tls_listen=f"127.0.0.1:{site.tls_port}",
                           tcp__tls_cert=site.cert, tcp__tls_key=site.key)
    demo.gas = demo.meter(SERIAL, "heo-g4", zone="Europe/Moscow")
    demo.authority = authority
    return demo


def up(site):
    site.start()
    wait_until(lambda: site.headend.metric("headend_tcp_listeners_down") == 0)


def dial(site, **how):
    how.setdefault("tls", site.trust)
    return site.gas_meter(SERIAL, port=site.tls_port, **how)


def still_serves(site):
    with dial(site) as meter:
        assert meter.hello()["t"] == "ack"


def wait_log(site, text):
    wait_until(lambda: text in site.headend.log(), what=f'"{text}" in the log')


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
def test_meter_over_tls_is_stored_as_over_plain_tcp(site, secure, version):
    up(site)
    site.trust.minimum_version = site.trust.maximum_version = version
    with dial(site) as meter:
        assert meter.version() == version.name.replace("_", ".")
        assert meter.hello()["t"] == "ack"
        assert meter.ask(ROWS) == {"t": "ack", "seq": 1, "n": 1}
        assert meter.ask({"t": "bye"}) == {"t": "bye"}
        assert meter.receive() is None  # close_notify, then the end
    secure.wait_fates(stored=2)
    with site.gas_meter(SERIAL) as meter:  # and both listeners at once
        assert meter.hello()["t"] == "ack"


def test_long_reply_and_long_object_cross_tls_records(site, secure):
    up(site)
    rows = [[f"2024-01-{d:02d}T{h:02d}:00:00+03:00", f"{d}.{h:04d}"]
            for d in range(1, 29) for h in range(24)]
    with dial(site) as meter:
        meter.hello()
        for seq in (1, 2):
            assert meter.ask({**ROWS, "seq": seq, "rows": rows})["n"] == 672
    wait_until(site.drained)
    assert site.sql("SELECT count(*) FROM reading WHERE obis = '7-0:3.0.0'") \
        == [(672,)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(site, secure):
    up(site)
    old = site.trust
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        dial(site)
    wait_log(site, "unsupported protocol")


@pytest.mark.parametrize("noise", [
    b'{"t":"hello","sn":"24000123"}\n', b"GET / HTTP/1.1\r\n\r\n",
    os.urandom(65536), b"\x16" + bytes(4096),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 800],
    ids=["json", "http", "noise", "zeros", "hello"])
def test_what_is_no_tls_is_told_apart_and_costs_nothing(site, secure, noise):
    up(site)
    with dial(site, tls=None) as meter:
        try:
            meter.send(noise)
            while meter.hears():
                pass
        except OSError:
            pass  # hung up on us while we were talking
    wait_log(site, "connection refused")
    wait_until(lambda: site.headend.metric("headend_tcp_greetings") == 0)
    assert site.headend.metric("headend_tcp_greetings_failed_total") == 1
    still_serves(site)


def test_client_that_never_finishes_is_cut(site, secure):
    site.headend.configure(tcp__greeting=1)
    up(site)
    with dial(site, tls=None) as meter:
        meter.send(b"\x16\x03\x01\x02\x00")  # and no more
        assert not meter.hears()
    wait_log(site, "took too long")
    still_serves(site)


def test_half_open_handshakes_are_bounded_and_do_not_lock_meters_out(
        site, secure):
    site.headend.configure(tcp__greetings=20)
    up(site)
    idlers = [dial(site, tls=None) for _ in range(60)]
    for idler in idlers:
        try:
            idler.send(b"\x16\x03\x01")
        except OSError:
            pass  # displaced already
    still_serves(site)
    assert site.headend.metric("headend_tcp_greetings") <= 20
    for idler in idlers:
        idler.close()
    wait_until(lambda: site.headend.metric("headend_tcp_greetings") == 0)


def test_garbage_inside_an_established_connection_ends_it(site, secure):
    up(site)
    with dial(site) as meter:
        meter.hello()
        meter.send_raw(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(OSError):
            assert meter.receive() is None
            raise OSError  # an end without an alert is as good
    wait_log(site, "connection broken")
    still_serves(site)


def test_sessions_are_never_resumed(site, secure):
    up(site)
    with dial(site) as meter:
        meter.hello()
        assert not meter.session().has_ticket


def test_certificate_is_renewed_without_a_restart(site, secure):
    up(site)
    with dial(site) as old:
        old.hello()
        first = old.certificate()
        secure.authority.issue(site.cert, site.key)
        os.kill(site.headend.pid, signal.SIGHUP)
        wait_log(site, "certificate renewed")
        with dial(site) as new:
            assert new.certificate() != first
        assert old.ask(ROWS)["t"] == "ack"  # who is there stays


def test_unusable_certificate_keeps_the_older_one(site, secure):
    up(site)
    site.cert.write_text("not a certificate")
    os.kill(site.headend.pid, signal.SIGHUP)
    wait_log(site, "certificate not renewed")
    still_serves(site)


def test_listener_waits_for_a_certificate_that_can_be_used(site, secure):
    text = site.cert.read_text()
    site.cert.unlink()
    site.start()
    wait_log(site, f"certificate {site.cert}: No such file")
    assert site.headend.metric("headend_tcp_listeners_down") == 1
    site.cert.write_text(text)
    wait_until(lambda: site.headend.metric("headend_tcp_listeners_down") == 0)
    still_serves(site)


def test_client_certificates_are_asked_for_where_a_ca_is_set(
        site, secure, tmp_path):
    meters = Authority(tmp_path / "meters", "meters")
    strangers = Authority(tmp_path / "strangers", "strangers")
    pair = tmp_path / "meter.pem", tmp_path / "meter.key"
    site.headend.configure(tcp__tls_ca=meters.cert)
    up(site)
    for context in site.trust, secure.authority.client(
            *strangers.issue(*pair, "meter")):
        with pytest.raises((OSError, TypeError)):  # TLS 1.3: learnt later
            dial(site, tls=context).hello()["t"]
    wait_until(lambda: site.headend.metric(
        "headend_tcp_greetings_failed_total") == 2)
    assert "peer did not return a certificate" in site.headend.log()
    meters.issue(*pair, "meter")
    with dial(site, tls=secure.authority.client(*pair)) as meter:
        assert meter.hello()["t"] == "ack"


def test_tenants_listener_may_have_its_own_certificate(site, secure, tmp_path):
    own = Authority(tmp_path / "own", "own")
    pair = tmp_path / "own.pem", tmp_path / "own.key"
    own.issue(*pair)
    site.tls_port = free_port()
    site.headend.cli("integration", "add", "--tenant", "demo", "--name", "gas",
                     "--kind", "heo-tcp", "--url",
                     f"tls://127.0.0.1:{site.tls_port}", "--cert-file",
                     pair[0], "--key-file", pair[1])
    up(site)
    with dial(site, tls=own.client()) as meter:
        assert meter.hello()["t"] == "ack"


# ---- load balancers ----

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_header(peer="192.0.2.77", port=40112, fields=b""):
    body = socket.inet_aton(peer) + socket.inet_aton("192.0.2.1") + \
        struct.pack("!HH", port, 4460) + fields
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body)) + body


LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@pytest.mark.parametrize("tls", [False, True])
def test_meter_behind_a_balancer_is_known_by_its_own_address(
        site, secure, tls):
    site.headend.configure(tcp__proxies="10.0.0.0/8, 127.0.0.1")
    up(site)
    how = {"before": proxy_header(fields=b"\x04\x00\x03pad")}
    meter = dial(site, **how) if tls else site.gas_meter("0815", **how)
    with meter:
        meter.serial = "0815"
        assert meter.hello()["code"] == "unknown_device"
    wait_log(site, "peer=192.0.2.77:40112")


def test_health_check_of_a_balancer_is_no_meter(site, secure):
    site.headend.configure(tcp__proxies="127.0.0.1")
    up(site)
    with site.gas_meter(SERIAL, before=LOCAL) as meter:
        assert meter.hello()["t"] == "ack"
    with site.gas_meter(before=LOCAL) as check:
        check.finish_sending()
        assert not check.hears()
    assert "connection refused" not in site.headend.log()


def test_header_is_not_believed_of_others_and_asked_for_from_balancers(
        site, secure):
    site.headend.configure(tcp__proxies="127.0.0.1")
    up(site)
    with site.gas_meter(SERIAL) as meter:
        assert meter.hello() is None
    wait_log(site, "no PROXY header")
    site.headend.stop()
    site.headend.configure(tcp__proxies="10.0.0.0/8")
    up(site)
    with site.gas_meter(SERIAL, before=proxy_header()) as meter:
        assert meter.receive() in ({"t": "nak", "code": "not_json"}, None)
