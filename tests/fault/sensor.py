"""A sensor of somebody else, with paho and nothing of ours: it writes down every PUBACK it got, and can be killed.

``python sensor.py HOST PORT NAME FILE RATE``: publishes reading number n of sensor NAME (time = begin + n ms, value =
n modulo 90) and appends n to FILE, four bytes each, when its PUBACK has come. SIGTERM: no new readings; it ends when
all are acknowledged.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
from collections import deque

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

WAITING = 2000  # readings without a PUBACK, then it publishes no more


def main() -> None:
    host, port, name, path, rate = sys.argv[1:]
    acknowledged = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    number_of: dict[int, int] = {}
    pubacks: deque[int] = deque()  # packet identifiers; paho would wait for itself if its callback took a lock of ours
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def note() -> None:
        while pubacks:
            number = number_of.pop(pubacks.popleft())
            os.write(acknowledged, struct.pack(">I", number))  # in the system's hands: outlives a kill -9

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
    client.max_inflight_messages_set(500)
    client.reconnect_delay_set(0.1, 2)
    client.on_publish = lambda _client, _data, mid, *_: pubacks.append(mid)
    client.connect_async(host, int(port))
    client.loop_start()
    begin_ms, number, began = 1000 * int(name.rpartition("-")[2]), 0, time.monotonic()
    while not stop.wait(0.01):
        while number < (time.monotonic() - began) * float(rate) and len(number_of) < WAITING:
            payload = json.dumps({"t": begin_ms + number, "speed_kmh": number % 90})
            number_of[client.publish(f"city/soak/{name}", payload, qos=1).mid] = number
            number += 1
        note()
        if len(number_of) >= WAITING:  # do not make up for the time without a broker at once
            began = time.monotonic() - number / float(rate)
    while number_of:
        note()
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
