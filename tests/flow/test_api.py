"""The HTTP face: JSON and CSV, exact decimals as text, clear refusals."""

import csv
import io

import pytest
from harness import Uplink

EUI = "94193a00000069fe"


@pytest.fixture
def heat(site, broker, demo):
    demo.integration("chirpstack", broker.url)
    demo.heat = demo.meter("69322582", dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    for i in range(3):
        at = f"2026-01-15T12:0{i}:00+00:00"
        broker.publish(*Uplink(EUI, counter=i, time=at).chirpstack4())
    demo.wait_fates(stored=3)
    return demo


def readings(tenant, **query):
    reply = tenant.get(f"/api/v1/meters/{tenant.heat}/readings", **query)
    assert reply.status == 200, reply.text
    return reply.json["readings"]


def test_values_are_exact_text(heat):
    volume = readings(heat, register="6-0:2.0.0")
    assert [r["value"] for r in volume] == ["2013.060"] * 3
    assert {r["unit"] for r in volume} == {"m3"}
    assert [r["time"] for r in volume] == [
        f"2026-01-15T12:0{i}:00Z" for i in range(3)]


def test_from_is_inclusive_and_to_exclusive(heat):
    seen = readings(heat, register="6-0:1.0.0", **{
        "from": "2026-01-15T12:01:00Z", "to": "2026-01-15T12:02:00Z"})
    assert [r["time"] for r in seen] == ["2026-01-15T12:01:00Z"]


def test_pages_miss_nothing_and_repeat_nothing(heat):
    path, pages, after = f"/api/v1/meters/{heat.heat}/readings", [], None
    while True:
        query = {"limit": 5, **({"after": after} if after else {})}
        page = heat.get(path, **query).json
        pages += [(r["time"], r["register"]) for r in page["readings"]]
        after = page["next"]
        if not after:
            break
    assert len(pages) == len(set(pages)) == 24


@pytest.mark.parametrize("how", [{"format": "csv"}, None])
def test_csv_has_the_same_values(heat, how):
    reply = heat.site.headend.get(
        f"/api/v1/meters/{heat.heat}/readings", heat.token,
        headers=None if how else {"Accept": "text/csv"}, **(how or {}))
    assert reply.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert len(rows) == 24
    assert [r["value"] for r in rows if r["register"] == "6-0:8.0.0"] == [
        "4.047"] * 3


@pytest.mark.parametrize("token", [None, "hdk_wrong", ""])
def test_no_answer_without_a_token(heat, token):
    reply = heat.site.headend.get("/api/v1/meters", token)
    assert reply.status == 401
    assert "Bearer" in reply.headers["WWW-Authenticate"]


@pytest.mark.parametrize("query", [
    {"limt": "3"}, {"limit": "0"}, {"limit": "many"}, {"from": "yesterday"},
    {"from": "2026-01-15T12:00:00"}, {"register": "6-0"}, {"after": "x"},
    {"format": "xml"}])
def test_wrong_query_is_refused_by_name(heat, query):
    reply = heat.get(f"/api/v1/meters/{heat.heat}/readings", **query)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert list(query)[0] in reply.text


def test_metrics_agree_with_sql(heat):
    metrics = heat.site.headend.metrics()
    received = [v for k, v in metrics.items()
                if k.startswith("headend_frames_received_total")]
    assert sum(received) == 3
    assert heat.site.headend.metric("headend_frames_total") == 3
    heat.site.check_balance()


def test_ready_and_healthy(heat):
    assert heat.site.headend.get("/healthz").status == 200
    assert heat.site.headend.get("/readyz").status == 200
