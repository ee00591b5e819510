"""Fixtures of the flow tests: real PostgreSQL, real mosquitto, real binary."""

import os
import signal
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))

from harness import BUILD, ROOT, Broker, Cluster, Site  # noqa: E402

# Ended from outside, the fixtures still end what they started.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster():
    assert (BUILD / "headend").exists(), f"build headend into {BUILD} first"
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def site(cluster, tmp_path):
    """A migrated database and a node that is not started yet."""
    directory = tmp_path / "node"
    directory.mkdir()
    site = Site(cluster, directory)
    yield site
    site.finish()


@pytest.fixture
def broker(site, tmp_path):
    directory = tmp_path / "broker"
    directory.mkdir()
    broker = Broker(directory, ROOT / "deploy" / "mosquitto.conf")
    site.brokers.append(broker)
    return broker


@pytest.fixture
def demo(site):
    return site.tenant("demo")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the server's log."""
    report = (yield).get_result()
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and site:
        lines = site.headend.log().splitlines()[-60:]
        report.sections.append(("headend log", "\n".join(lines)))
