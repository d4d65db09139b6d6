"""Payloads to batches as the writer makes them: decoded, checked, judged by the clock, flagged; beside json.loads.

The other side is what scripts write: `json.loads`, a dict for each reading, no check. One reading in a payload, and
twenty; messages come as a subscriber gives them, 10,000 at a time; CPU time, the shortest of several runs; both must
come to the same readings.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from benchmarks import brokers
from ingest.batcher import Batcher
from ingest.subscriber import Message
from sensors import Batch
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag

Key = tuple[str, str, int, float]
Made = TypeVar("Made")
AT_ONCE = 10_000


def ours(messages: list[Message]) -> list[Batch]:
    memory = SeriesMemory()
    batcher: Batcher[Message] = Batcher(
        decoder(),
        clock=CityClock.parse("replay", wall=time.time),
        retention_s=400 * 86_400.0,
        flag=lambda batch: flag(batch, memory),
    )
    lists = (messages[begin : begin + AT_ONCE] for begin in range(0, len(messages), AT_ONCE))
    return [gathered.batch for some in lists for gathered in batcher.add(some)] + [batcher.flush().batch]


def plain(messages: list[Message]) -> list[dict[str, Any]]:
    rows = []
    for message in messages:
        found = json.loads(message.payload)
        sensor = message.topic.split("/")[-1]
        for item in found.get("readings", [found]):
            instant = item["t"]
            rows += [
                {"sensor": sensor, "quantity": key, "time": instant, "value": value}
                for key, value in item.items()
                if key != "t"
            ]
    return rows


def best(side: Callable[[list[Message]], Made], messages: list[Message]) -> tuple[float, Made]:
    """Return the shortest seconds of CPU of five, and what was made."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        made = side(messages)
        times.append(time.process_time() - begin)
    return min(times), made


def keys(batches: list[Batch]) -> set[Key]:
    return {
        row for b in batches for row in zip(b.sensor_id, b.quantity, b.time_ms.tolist(), b.value.tolist(), strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=400_000)
    args = parser.parse_args()
    told = []
    for each in (1, 20):
        made = brokers.payloads(args.readings // each, readings=each)
        messages = [Message(topic.decode(), payload, 1, 1, False) for topic, payload in made]
        fast, batches = best(ours, messages)
        slow, rows = best(plain, messages)
        expected = {(r["sensor"], r["quantity"], int(r["time"]), float(r["value"])) for r in rows}
        assert keys(batches) == expected, "the two did not read the same"
        count = each * len(messages)
        told.append(f"{slow / fast:.1f} x with {each} ({count / fast:,.0f} and {count / slow:,.0f} readings/s)")
    print(f"decode: json.loads without checks {', '.join(told)} in a payload")


if __name__ == "__main__":
    main()
