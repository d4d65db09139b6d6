"""Payloads to readings: our codec, which checks everything, beside json.loads and no checks at all."""

import argparse
import json
import time
from collections.abc import Callable

from sensors import Reading
from sensors.payload import decoder

START_MS = 1_781_481_600_000
Decode = Callable[[str, bytes], list[Reading]]


def payload(k: int) -> tuple[str, bytes]:
    values = {"flow_veh_h": 300.0 + k % 700, "speed_kmh": 20.5 + k % 60, "occupancy": k % 90 / 100}
    return f"city/bench/D{k % 449}", json.dumps({"t": START_MS + k * 20_000, **values}).encode()


def unchecked(topic: str, body: bytes) -> list[Reading]:
    """Return readings as a script would: whatever the payload holds, if it holds it."""
    found = json.loads(body)
    sensor_id, time_ms = topic.rpartition("/")[2], found.pop("t")
    return [Reading(sensor_id, key, time_ms, value) for key, value in found.items()]


def best_of(repeats: int, decode: Decode, messages: list[tuple[str, bytes]]) -> tuple[float, list[Reading]]:
    """Return the shortest time over all messages, and the readings."""
    times, readings = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        readings = [reading for topic, body in messages for reading in decode(topic, body)]
        times.append(time.perf_counter() - begin)
    return min(times), readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    args = parser.parse_args()
    messages = [payload(k) for k in range(args.messages)]
    checked = decoder()
    ours, readings = best_of(5, lambda topic, body: checked(topic, body)[0], messages)
    plain, expected = best_of(5, unchecked, messages)
    assert len(readings) == 3 * args.messages
    assert readings == expected, "the two did not read the same"
    print(
        f"payload: {plain / ours:.2f} x json.loads without checks"
        f" ({args.messages / ours:,.0f} and {args.messages / plain:,.0f} payloads/s, {len(readings):,} equal readings)"
    )


if __name__ == "__main__":
    main()
