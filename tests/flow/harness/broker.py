"""mosquitto with the configuration that deploy/ supplies, on its own port."""

import getpass
import subprocess
import threading
import uuid

import paho.mqtt.client as mqtt

from .tools import free_port, stop_process, wait_until


class Broker:
    def __init__(self, directory, supplied):
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._dir = directory
        self._process = None
        self._client = None
        self._login = None
        text = supplied.read_text()
        text = text.replace("listener 1883 127.0.0.1",
                            f"listener {self.port} 127.0.0.1")
        text = text.replace("persistence_location /var/lib/mosquitto/",
                            f"persistence_location {directory}/")
        self._conf = directory / "mosquitto.conf"
        self._conf.write_text(text + f"\nuser {getpass.getuser()}\n")
        self.start()

    def demand(self, users, name, password):
        """Nobody without a password of that file gets in from now on."""
        self.stop()
        self._conf.write_text(self._conf.read_text().replace(
            "allow_anonymous true", "allow_anonymous false")
            + f"password_file {users}\n")
        self._login = (name, password)
        self.start()

    def start(self):
        with open(self._dir / "mosquitto.log", "a") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", self._conf], stdout=log,
                stderr=log)
        self._connect()

    def stop(self):
        self._disconnect()
        stop_process(self._process)

    def kill(self):
        self._disconnect()
        self._process.kill()
        self._process.wait()

    def _connect(self):
        ready = threading.Event()
        client = mqtt.Client(client_id=f"test-{uuid.uuid4()}")
        if self._login:
            client.username_pw_set(*self._login)
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(0)
        client.on_connect = lambda *_: ready.set()

        def dial():
            client.connect("127.0.0.1", self.port)
            return True

        wait_until(dial, what="mosquitto")
        client.loop_start()
        assert ready.wait(10), "mosquitto did not answer"
        self._client = client

    def _disconnect(self):
        if self._client:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def publish(self, topic, payload, qos=1):
        """Returns when the broker has acknowledged (QoS 1)."""
        info = self._client.publish(topic, payload, qos)
        info.wait_for_publish(20)
        assert info.is_published(), "no PUBACK"

    def publish_all(self, messages):
        """(topic, payload) pairs; returns when all are acknowledged."""
        infos = [self._client.publish(t, p, 1) for t, p in messages]
        for info in infos:
            info.wait_for_publish(60)
            assert info.is_published(), "no PUBACK"
