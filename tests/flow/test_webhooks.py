"""Webhooks: signed, in order, none missing, whatever dies meanwhile."""

import threading

import pytest
from harness import (Authority, Headend, HeoMeter, Receiver, server_context,
                     signed_in, wait_until)


@pytest.fixture
def hooked(site, demo):
    """A node that posts to loopback, and somebody who may set it up."""
    site.headend.cli("keys", "init")
    site.headend.configure(webhook__allow_private="yes", webhook__pause="1",
                           webhook__timeout="2", webhook__attempts="50")
    site.start()
    site.anna = signed_in(site, "anna@example.org")
    return site


@pytest.fixture
def receiver():
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


def add(site, receiver, **more):
    status, made = site.anna.call("POST", "/api/v1/webhooks",
                                  {"url": receiver.url, **more})
    assert status == 201, made
    receiver.secret = made["secret"]
    return made["webhook_id"]


def get(site, hook, rest=""):
    return site.anna.call("GET", f"/api/v1/webhooks/{hook}{rest}")[1]


def serials(receiver):
    return [e["data"]["serial"] for e in receiver.entries("meter")]


def in_order(receiver):
    ids = [tuple(map(int, e["id"].split("-"))) for e in receiver.entries()]
    return ids == sorted(set(ids))


def test_what_becomes_new_arrives_signed_and_in_order(hooked, demo, receiver):
    hook = add(hooked, receiver)
    demo.meter("24000001", "heo-g4")
    with HeoMeter(hooked.headend.tcp_port, "24000001") as meter:
        assert meter.hello()["t"] == "ack"
        meter.ask({"t": "data", "seq": 1, "cols": ["ts", "v_work"],
                   "rows": [["2024-01-11T12:00:00+03:00", "100.5"]]})
    wait_until(lambda: [r for e in receiver.entries("readings")
                        for r in e["data"]["registers"].values()
                        if float(r["value"]) == 100.5])
    assert serials(receiver)[0] == "24000001" and in_order(receiver)
    assert all(right for _, _, right, _ in receiver.calls)
    wait_until(lambda: [d["state"] for d in get(
        hooked, hook, "/deliveries")["deliveries"]][:1] == ["delivered"])
    told = get(hooked, hook)
    assert told["delivered_at"] and "secret" not in told
    assert receiver.secret not in hooked.headend.log()
    assert hooked.headend.metric("headend_webhook_entries_total") >= 2


def test_nothing_is_missed_while_the_receiver_is_down_and_the_server_killed(
        hooked, demo, receiver):
    add(hooked, receiver, kinds=["meter"])
    demo.meter("1", "heo-g4")
    wait_until(lambda: serials(receiver) == ["1"])
    receiver.stop()
    demo.meter("2", "heo-g4")
    wait_until(lambda: hooked.headend.metric("headend_webhook_failures_total"))
    hooked.headend.kill()
    demo.meter("3", "heo-g4")  # while no server runs
    hooked.start()
    demo.meter("4", "heo-g4")
    receiver.start()
    wait_until(lambda: len(serials(receiver)) == 4, 30)
    assert serials(receiver) == ["1", "2", "3", "4"] and in_order(receiver)
    assert all(right for _, _, right, _ in receiver.calls)


def test_a_delivery_cut_by_a_kill_comes_again_with_its_id(hooked, demo,
                                                          receiver):
    add(hooked, receiver, kinds=["meter"])
    receiver.hold = threading.Event()
    demo.meter("1", "heo-g4")
    wait_until(lambda: receiver.at_once == 1)
    hooked.headend.kill()
    demo.meter("2", "heo-g4")
    receiver.hold.set()  # taken, and nobody is told
    wait_until(lambda: receiver.at_once == 0)
    hooked.start()
    wait_until(lambda: serials(receiver) == ["1", "2"], 30)
    (first, _, _, body), (again, _, _, same), *_ = receiver.calls
    assert first == again and body == same


def test_a_wrong_status_is_tried_again_and_the_limit_disables(hooked, demo,
                                                             receiver):
    hooked.headend.stop()
    hooked.headend.configure(webhook__attempts="3")
    hooked.start()
    hook = add(hooked, receiver, kinds=["meter"])
    receiver.status = 500
    demo.meter("1", "heo-g4")
    wait_until(lambda: not get(hooked, hook)["enabled"], 30)
    told = get(hooked, hook)
    assert "3 attempts failed" in told["disabled_reason"]
    assert "HTTP 500" in told["disabled_reason"]
    [sent] = get(hooked, hook, "/deliveries")["deliveries"]
    assert (sent["state"], sent["attempts"], sent["status"]) == (
        "pending", 3, 500)
    assert len({c[0] for c in receiver.calls}) == 1
    assert "webhook disabled" in hooked.headend.log()
    trail = hooked.anna.call("GET", "/api/v1/audit")[1]["audit"]
    assert [e for e in trail if e["action"] == "webhook.change"
            and e["actor"] == "webhooks"]
    # it is well again: nothing of the meantime is missing
    demo.meter("2", "heo-g4")
    receiver.status = 204
    receiver.answer = b""
    assert hooked.anna.call("PATCH", f"/api/v1/webhooks/{hook}",
                            {"enabled": True})[0] == 200
    wait_until(lambda: serials(receiver) == ["1", "2"], 20)
    assert not receiver.entries("reset")


def test_who_was_off_for_days_is_told_that_something_is_lost(hooked, demo,
                                                             receiver):
    hook = add(hooked, receiver, kinds=["meter"])
    hooked.anna.call("PATCH", f"/api/v1/webhooks/{hook}", {"enabled": False})
    hooked.sql("UPDATE webhook SET disabled_at = now() - interval '2 days' "
               "RETURNING 1")
    hooked.anna.call("PATCH", f"/api/v1/webhooks/{hook}", {"enabled": True})
    wait_until(lambda: [e["kind"] for e in receiver.entries()] == ["reset"])
    demo.meter("2", "heo-g4")
    wait_until(lambda: serials(receiver) == ["2"])


def test_the_feed_keeps_what_a_webhook_has_not_got_and_says_what_is_lost(
        hooked, demo, receiver):
    def expire(days):
        hooked.sql("UPDATE feed SET at = now() - %s * interval '1 day' "
                   "RETURNING 1", (days,))
        hooked.sql("SELECT feed_expire()")
        return hooked.sql("SELECT count(*) FROM feed")[0][0]

    def behind():
        failures = hooked.headend.metric("headend_webhook_failures_total")
        return lambda: hooked.headend.metric(
            "headend_webhook_failures_total") > failures

    hook = add(hooked, receiver, kinds=["meter"])
    receiver.status = 500
    demo.meter("1", "heo-g4")
    wait_until(behind())
    assert expire(days=2) == 1
    receiver.status = 200
    wait_until(lambda: serials(receiver) == ["1"])
    wait_until(lambda: get(hooked, hook)["delivered_at"])
    assert expire(days=2) == 0  # taken: it goes after a day
    demo.meter("2", "heo-g4")
    wait_until(lambda: serials(receiver) == ["1", "2"])
    assert not receiver.entries("reset")
    receiver.status = 500
    demo.meter("3", "heo-g4")
    wait_until(behind())
    assert expire(days=8) == 0  # nobody waits for ever
    receiver.status = 200
    wait_until(lambda: receiver.entries("reset"))
    demo.meter("4", "heo-g4")
    wait_until(lambda: serials(receiver) == ["1", "2", "4"])


def test_a_test_is_sent_once_even_by_a_disabled_webhook(hooked, demo,
                                                        receiver):
    hook = add(hooked, receiver, enabled=False)
    receiver.status = 302
    assert hooked.anna.call("POST", f"/api/v1/webhooks/{hook}/test")[0] == 202
    demo.meter("1", "heo-g4")

    def states():
        return [(d["test"], d["state"], d["status"]) for d in
                get(hooked, hook, "/deliveries")["deliveries"]]
    wait_until(lambda: states() == [(True, "failed", 302)])
    receiver.status = 200
    receiver.answer = b"x" * 1_000_000  # more than is read
    assert hooked.anna.call("POST", f"/api/v1/webhooks/{hook}/test")[0] == 202
    wait_until(lambda: states()[0] == (True, "delivered", 200))
    assert len(receiver.calls) == 2  # the redirect was not followed
    assert [e["kind"] for e in receiver.entries()] == ["test"]


def test_two_nodes_send_once(hooked, demo, receiver, tmp_path):
    (tmp_path / "second").mkdir()
    second = Headend(tmp_path / "second", {
        **{k: v for k, v in hooked.headend.settings.items()
           if k.split(".")[0] in ("database", "webhook", "keys")},
        "tcp.listen": "", "webhook.entries": "1"})
    second.start()
    try:
        add(hooked, receiver, kinds=["meter"])
        for n in range(12):
            demo.meter(str(n), "heo-g4")
        wait_until(lambda: len(serials(receiver)) == 12, 30)
    finally:
        second.stop()
    assert serials(receiver) == [str(n) for n in range(12)]
    assert len(receiver.calls) == len(receiver.taken)
    assert receiver.most_at_once == 1
    second.check_sanitizers()


def test_addresses_inside_are_refused_unless_a_setting_allows_them(
        hooked, receiver):
    hooked.headend.stop()
    hooked.headend.configure(webhook__allow_private="no")
    hooked.start()
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0"):
        hook = add(hooked, receiver)
        assert hooked.anna.call("PATCH", f"/api/v1/webhooks/{hook}", {
            "url": f"http://{host}:{receiver.port}/"})[0] == 200
        hooked.anna.call("POST", f"/api/v1/webhooks/{hook}/test")
        sent = wait_until(lambda h=hook: [d for d in get(
            hooked, h, "/deliveries")["deliveries"] if d["state"] == "failed"])
        assert "webhook.allow_private" in sent[0]["error"], host
    assert receiver.calls == []


@pytest.mark.parametrize("body, field", [
    ({"url": "ftp://example.org/"}, "url"),
    ({"url": "file:///etc/passwd"}, "url"),
    ({"url": "https://user:word@example.org/"}, "url"),
    ({"url": "https://example.org/a b"}, "url"),
    ({"url": "https://example.org/", "kinds": ["everything"]}, "kinds"),
])
def test_a_wrong_webhook_is_refused_by_name(hooked, body, field):
    status, said = hooked.anna.call("POST", "/api/v1/webhooks", body)
    assert status == 422 and said["field"] == field


def test_a_receiver_must_show_a_certificate_that_is_trusted(hooked, tmp_path):
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue(tmp_path / "cert.pem", tmp_path / "key.pem")
    receiver = Receiver(server_context(cert, key)).start()
    try:
        hook = add(hooked, receiver)
        hooked.anna.call("POST", f"/api/v1/webhooks/{hook}/test")
        wait_until(lambda: "certificate" in str(get(
            hooked, hook, "/deliveries")["deliveries"][0]["error"]))
        hooked.headend.stop()
        hooked.headend.configure(webhook__ca_file=str(authority.cert))
        hooked.start()
        hooked.anna.call("POST", f"/api/v1/webhooks/{hook}/test")
        wait_until(lambda: receiver.entries("test"))
    finally:
        receiver.stop()


def test_receivers_that_hang_do_not_keep_out_another_tenant(hooked, demo,
                                                            receiver):
    hooked.headend.stop()
    hooked.headend.configure(webhook__timeout="60")
    hooked.start()
    other = hooked.tenant("other")
    receiver.hold = threading.Event()
    for _ in range(6):
        add(hooked, receiver, kinds=["meter"])
    demo.meter("1", "heo-g4")
    wait_until(lambda: receiver.at_once == 2)
    swift = Receiver().start()
    try:
        hooked.anna = signed_in(hooked, "olga@example.org", "other")
        add(hooked, swift, kinds=["meter"])
        other.meter("2", "heo-g4")
        wait_until(lambda: serials(swift) == ["2"])
        assert receiver.most_at_once == 2
    finally:
        receiver.hold.set()
        swift.stop()


def test_stopping_does_not_wait_for_a_receiver_that_hangs(hooked, demo,
                                                          receiver):
    hooked.headend.stop()
    hooked.headend.configure(webhook__timeout="60")
    hooked.start()
    add(hooked, receiver, kinds=["meter"])
    receiver.hold = threading.Event()
    demo.meter("1", "heo-g4")
    wait_until(lambda: receiver.at_once == 1)
    hooked.headend.stop()  # cleanly, within its fifteen seconds
    receiver.hold.set()
