"""A tenant sees only its own: through the API, and through SQL under the
server's role, which cannot bypass row-level security."""

from decimal import Decimal

import psycopg2
import pytest
from harness import HeoMeter, free_port, wait_until

SERIAL = "24000123"
SEEN = "SELECT DISTINCT tenant_id FROM "


@pytest.fixture
def two(site):
    """The same serial in two tenants, each on a listener of its own."""
    tenants = []
    site.secret_file = site.headend.dir / "password"
    site.secret_file.write_text("a secret each")
    site.headend.cli("keys", "init")
    for name, value in (("north", "100.5000"), ("south", "200.7500")):
        tenant = site.tenant(name)
        tenant.port, tenant.value = free_port(), Decimal(value)
        tenant.gas = tenant.meter(SERIAL, "heo-g4")
        site.headend.cli("keys", "add", "--tenant", name, "--key-file", "-",
                         stdin="00" * 16)
        tenant.integration("heo-tcp", f"tcp://127.0.0.1:{tenant.port}",
                           None, "--password-file", str(site.secret_file))
        tenants.append(tenant)
    site.start()
    for tenant in tenants:
        def say(tenant=tenant):
            with HeoMeter(tenant.port, SERIAL) as meter:
                assert meter.hello()["t"] == "ack"
                return meter.ask({"t": "data", "seq": 1, "cols":
                                  ["ts", "v_work"], "rows":
                                  [["2024-01-11T12:00:00+03:00",
                                    str(tenant.value)]]})["t"] == "ack"
        wait_until(say)
    for tenant in tenants:
        tenant.wait_fates(stored=2)
    return tenants


def test_same_serial_in_two_tenants_through_the_api(two):
    for tenant in two:
        meters = tenant.get("/api/v1/meters").json["meters"]
        assert [(m["serial"], m["meter_id"]) for m in meters] == [
            (SERIAL, tenant.gas)]
        readings = tenant.get(f"/api/v1/meters/{tenant.gas}/readings",
                              register="7-0:3.0.0").json["readings"]
        assert [Decimal(r["value"]) for r in readings] == [tenant.value]
        frames = tenant.get("/api/v1/frames").json["frames"]
        assert {f["meter_id"] for f in frames} == {tenant.gas}


def test_anothers_meter_does_not_exist(two):
    north, south = two
    assert north.get(f"/api/v1/meters/{south.gas}").status == 404
    assert north.get(f"/api/v1/meters/{south.gas}/readings").status == 404


def test_anothers_frame_does_not_exist(two):
    north, south = two
    frame = south.get("/api/v1/frames").json["frames"][0]["frame_id"]
    assert south.get(f"/api/v1/frames/{frame}").status == 200
    assert north.get(f"/api/v1/frames/{frame}").status == 404


@pytest.mark.parametrize("relation", [
    "tenant", "meter", "frame", "capture", "profile", "reading",
    "reading_current", "integration", "meter_model", "api_key",
    "secret", "tenant_key", "meter_key"])
def test_servers_role_sees_one_tenant_at_a_time(site, two, relation):
    for tenant in two:
        assert site.sql(SEEN + relation, role="headend_server",
                        tenants=f"{{{tenant.id}}}") == [(tenant.id,)]
    assert site.sql(SEEN + relation, role="headend_server") == []
    both = site.sql(SEEN + relation, role="headend_server",
                    tenants=f"{{{two[0].id},{two[1].id}}}")
    assert sorted(both) == sorted((t.id,) for t in two)


def test_every_table_with_a_tenant_is_under_forced_row_security(site, two):
    bare = site.sql("""
        SELECT c.relname FROM pg_class c JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT attisdropped
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
        AND NOT c.relispartition""")
    assert bare == []


def test_partitions_are_no_way_around(site, two):
    reachable = site.sql("""
        SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'
        AND has_table_privilege('headend_server', oid, 'SELECT')
        AND NOT (relrowsecurity AND relforcerowsecurity)""")
    assert reachable == []


def test_servers_role_cannot_write_for_another_tenant(site, two):
    north, south = two
    with pytest.raises(psycopg2.Error):
        site.sql("INSERT INTO meter (tenant_id, serial, model_id) SELECT "
                 f"{south.id}, 'x', model_id FROM meter_model LIMIT 1",
                 role="headend_server", tenants=f"{{{north.id}}}")


def test_servers_role_is_no_superuser(site, two):
    assert site.sql("SELECT rolsuper, rolbypassrls, rolcreaterole FROM "
                    "pg_roles WHERE rolname = 'headend_server'") == [
                        (False, False, False)]


def test_server_really_works_as_that_role(site, two):
    users = site.sql("SELECT DISTINCT usename FROM pg_stat_activity WHERE "
                     "datname = current_database() AND pid <> "
                     "pg_backend_pid()")
    assert users == [("headend_server",)]


def test_ambiguous_serial_on_the_shared_listener_is_told_so(site, two):
    with site.gas_meter(SERIAL) as meter:
        answer = meter.hello()
    assert answer == {"t": "nak", "code": "ambiguous_device"}
    for tenant in two:
        assert tenant.fates() == {"stored": 2}
