"""One test's world: a database, a node of headend, its tenants."""

from .headend import Headend
from .heo import HeoMeter
from .tools import wait_equal, wait_until

FATES = {1: "stored", 2: "duplicate", 3: "quarantined", 4: "rejected"}


class Tenant:
    def __init__(self, site, name, timezone):
        made = site.headend.cli_json("tenant", "add", name, "--timezone",
                                     timezone)
        self.site, self.name = site, name
        self.id, self.token = made["tenant_id"], made["api_key"]

    def meter(self, serial, model="elvaco-cmi4160", dev_eui=None, zone=None):
        options = ["--dev-eui", dev_eui] if dev_eui else []
        options += ["--timezone", zone] if zone else []
        self.site.headend.cli("meter", "add", "--tenant", self.name,
                              "--serial", serial, "--model", model, *options)
        return self.site.sql(
            "SELECT meter_id FROM meter m JOIN meter_model USING "
            "(tenant_id, model_id) WHERE tenant_id = %s AND serial = %s AND "
            "meter_model.name = %s", (self.id, serial, model))[0][0]

    def integration(self, kind, url, name=None, *options):
        self.site.headend.cli("integration", "add", "--tenant", self.name,
                              "--name", name or kind, "--kind", kind, "--url",
                              url, *options)

    def get(self, path, **query):
        return self.site.headend.get(path, self.token, **query)

    def fates(self):
        """{"stored": 3, "duplicate": 2} of this tenant, from SQL."""
        return self.site.fates(self.id)

    def readings(self, meter_id=None):
        """{(meter, register, time text): (value, unit)}, newest revision."""
        rows = self.site.sql(
            "SELECT meter_id, obis, to_char(time AT TIME ZONE 'UTC', "
            "'YYYY-MM-DD\"T\"HH24:MI:SS'), value, unit FROM reading_current "
            "WHERE tenant_id = %s AND meter_id = coalesce(%s, meter_id)",
            (self.id, meter_id))
        return {(m, obis, at): (value, unit) for m, obis, at, value, unit
                in rows}

    def wait_fates(self, timeout=20, **expected):
        wait_equal(self.fates, expected, timeout)


class Site:
    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.database = cluster.new_database()
        self.headend = Headend(directory, {
            "database.url": cluster.url(self.database, "headend_server"),
            "database.admin_url": cluster.url(self.database)})
        self.headend.cli("migrate")
        self.brokers = []

    def tenant(self, name="demo", timezone="Europe/Berlin"):
        return Tenant(self, name, timezone)

    def start(self):
        self.headend.start()

    def gas_meter(self, serial=None, port=None, **how):
        return HeoMeter(port or self.headend.tcp_port, serial, **how)

    def sql(self, query, args=None, **how):
        return self.cluster.query(self.database, query, args, **how)

    def fates(self, tenant_id):
        rows = self.sql("SELECT fate, sum(frames)::int FROM frame WHERE "
                        "tenant_id = %s GROUP BY fate", (tenant_id,))
        return {FATES[fate]: n for fate, n in rows}

    def wait_subscribed(self, n=1):
        """Until n bridges hold their subscription."""
        wait_until(lambda: self.headend.metric("headend_bridges_connected")
                   >= n, 20, f"{n} bridges subscribed")

    def drained(self):
        return self.headend.metric("headend_frames_pending") == 0

    def check_balance(self):
        """Promise 2: received = stored + duplicate + quarantined + rejected +
        pending, per tenant, from the ledger and from the metrics."""
        wait_until(self.drained, what="the journal to drain")
        frames = dict(self.sql(
            "SELECT tenant_id, sum(frames)::int FROM frame GROUP BY 1"))
        ledger = dict(self.sql(
            "SELECT tenant_id, sum(stored + duplicate + quarantined + "
            "rejected)::int FROM ledger GROUP BY 1 HAVING "
            "sum(stored + duplicate + quarantined + rejected) <> 0"))
        assert frames == ledger, "frames and ledger differ"

    def finish(self):
        self.headend.stop()
        for broker in self.brokers:
            broker.stop()
        self.headend.check_sanitizers()
