"""A network server's side of the broker: what it is asked to send down."""

import json
import queue
import uuid

import paho.mqtt.client as mqtt


class Downlinks:
    """What a network server hears from us."""

    def __init__(self, broker):
        self.heard = queue.Queue()
        self.client = mqtt.Client(client_id=f"lns-{uuid.uuid4()}")
        ready = queue.Queue()
        self.client.on_message = lambda _, __, m: self.heard.put(
            (m.topic, json.loads(m.payload)))
        self.client.on_subscribe = lambda *_: ready.put(1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.client.subscribe([("application/+/device/+/command/down", 1),
                               ("v3/+/devices/+/down/push", 1)])
        ready.get(timeout=10)

    def next(self):
        return self.heard.get(timeout=20)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
