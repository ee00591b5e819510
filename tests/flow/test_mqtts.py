"""A broker that speaks TLS: paho verifies it through the bridge's gate, and
what cannot be verified is not spoken to."""

import re

import pytest
from harness import ROOT, Authority, Broker, Uplink, free_port, wait_until

EUI = "94193a00000069fe"


@pytest.fixture
def secure(site, tmp_path):
    """A broker with a TLS listener beside its plain one; both are its own."""
    authority = Authority(tmp_path / "authority")
    directory = tmp_path / "broker"
    directory.mkdir()
    cert, key = authority.issue(directory / "cert.pem", directory / "key.pem",
                                "localhost")
    key.chmod(0o644)
    conf = tmp_path / "supplied.conf"
    port = free_port()
    conf.write_text((ROOT / "deploy" / "mosquitto.conf").read_text()
                    + f"\nlistener {port} 127.0.0.1\ncertfile {cert}\n"
                      f"keyfile {key}\n")
    broker = Broker(directory, conf)
    broker.secure_url, broker.ca = f"mqtts://localhost:{port}", authority.cert
    site.brokers.append(broker)
    return broker


def test_uplinks_arrive_over_tls(site, secure, demo):
    demo.integration("chirpstack", secure.secure_url, None, "--ca-file",
                     str(secure.ca))
    demo.meter("69322582", dev_eui=EUI)
    site.start()
    site.wait_subscribed()
    secure.publish_all(Uplink(EUI, counter=i).chirpstack4()
                       for i in range(1, 201))
    demo.wait_fates(stored=1, duplicate=199)


def test_broker_of_another_authority_is_not_spoken_to(site, secure, demo,
                                                      tmp_path):
    other = Authority(tmp_path / "other")
    demo.integration("chirpstack", secure.secure_url, None, "--ca-file",
                     str(other.cert))
    site.start()
    wait_until(lambda: re.search(r"mqtt lost .*TLS: certificate verify failed",
                                 site.headend.log()))
    assert site.headend.metric("headend_bridges_connected") == 0
