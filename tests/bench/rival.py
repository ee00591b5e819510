#!/usr/bin/python3
"""rival.py BROKER-PORT DATABASE commit|batch - what a user would write in an
afternoon: paho and psycopg2. Persistent session, QoS 1. `commit` commits every
message before paho acknowledges it; `batch` writes a thousand at a time, or
what has come within a second."""

import base64
import json
import sys
import threading

import paho.mqtt.client as mqtt
import psycopg2
from psycopg2.extras import execute_values

port, database, way = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = psycopg2.connect(database)
cursor = connection.cursor()
lock = threading.Lock()
rows = []


def flush():
    if rows:
        execute_values(cursor, "INSERT INTO uplink VALUES %s ON CONFLICT DO "
                       "NOTHING", rows, page_size=1000)
        connection.commit()
        rows.clear()


def flush_often():
    with lock:
        flush()
    threading.Timer(1, flush_often).start()


def on_message(_client, _data, message):
    up = json.loads(message.payload)
    row = (up["deviceInfo"]["devEui"], up["time"], up["fCnt"], up["fPort"],
           base64.b64decode(up["data"]))
    if way == "commit":
        cursor.execute("INSERT INTO uplink VALUES (%s, %s, %s, %s, %s) "
                       "ON CONFLICT DO NOTHING", row)
        connection.commit()
        return
    with lock:
        rows.append(row)
        if len(rows) >= 1000:
            flush()


client = mqtt.Client(client_id="rival", clean_session=False)
client.on_message = on_message
client.on_connect = lambda c, *_: c.subscribe(
    "application/+/device/+/event/up", 1)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", port)
if way == "batch":
    flush_often()
client.loop_forever()
