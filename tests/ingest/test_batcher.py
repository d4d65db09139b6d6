"""Messages become batches: nothing is lost, nothing is thrown, times are judged by the city clock."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.batcher import Batcher
from sensors import Batch, PayloadError, Reading, Reason, Rejected
from sensors.clock import CityClock
from sensors.reading import Quality

NOW = 1_781_481_600.0


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    """Read ``offset_s:value`` pairs; ``?`` is a bad value, a payload of ``!`` is undecodable."""
    if payload == b"!":
        raise PayloadError(Reason.NOT_JSON, "at 1")
    readings, rejected = [], []
    for word in payload.decode().split():
        if word == "?":
            rejected.append(Rejected(topic, payload, Reason.NO_VALUE))
        else:
            offset, value = word.split(":")
            readings.append(Reading(topic, "speed_kmh", round((NOW + float(offset)) * 1000), float(value)))
    return readings, rejected


def batcher(**options: object) -> Batcher[Message]:
    return Batcher(decode, clock=CityClock(wall=lambda: NOW), retention_s=3600.0, **options)  # type: ignore[arg-type]


def test_readings_keep_their_order_and_know_their_message() -> None:
    messages = [Message("a", b"0:1 1:2"), Message("b", b"!"), Message("c", b"2:3 ?")]
    one = batcher()
    assert list(one.add(messages)) == []
    gathered = one.flush()
    assert gathered.batch.sensor_id == ("a", "a", "c")
    assert gathered.batch.value.tolist() == [1.0, 2.0, 3.0]
    assert gathered.batch.received_at == NOW
    assert gathered.origin(2) == ("c", b"2:3 ?")
    assert [(r.topic, r.reason) for r in gathered.batch.rejected] == [("b", Reason.NOT_JSON), ("c", Reason.NO_VALUE)]
    assert list(gathered.messages) == messages
    assert len(gathered) == 5
    assert len(one.flush()) == 0


def test_times_outside_the_window_of_the_city_clock_are_rejected_with_their_payload() -> None:
    one = batcher()
    list(one.add([Message("a", b"-3600:1 -3600.001:2 300:3 300.001:4 9e15:5")]))
    gathered = one.flush()
    assert gathered.batch.value.tolist() == [1.0, 3.0]
    assert [r.reason for r in gathered.batch.rejected] == [
        Reason.TIME_TOO_OLD,
        Reason.TIME_IN_FUTURE,
        Reason.TIME_IN_FUTURE,
    ]
    assert {r.payload for r in gathered.batch.rejected} == {b"-3600:1 -3600.001:2 300:3 300.001:4 9e15:5"}
    assert gathered.origin(1) == ("a", b"-3600:1 -3600.001:2 300:3 300.001:4 9e15:5")


def test_a_replay_is_judged_by_its_own_clock() -> None:
    clock = CityClock.parse("replay", wall=lambda: NOW + 1e9)
    one: Batcher[Message] = Batcher(decode, clock=clock, retention_s=3600.0)
    list(one.add([Message("a", b"0:1"), Message("b", b"60:2")]))
    assert len(one.flush().batch) == 2


def test_the_flags_of_doubtful_values_are_set_on_accepted_readings_only() -> None:
    def flag(batch: Batch) -> Batch:
        return replace(batch, quality=np.where(batch.value > 1, int(Quality.RANGE), 0))

    one = batcher(flag=flag)
    list(one.add([Message("a", b"0:1 9999:5 1:2")]))
    assert one.flush().batch.quality.tolist() == [0, int(Quality.RANGE)]


@given(
    sizes=st.lists(st.integers(0, 7), max_size=30),
    max_rows=st.integers(1, 10),
)
def test_batches_are_cut_at_the_row_limit_and_hold_every_message_once(sizes: list[int], max_rows: int) -> None:
    messages = [Message(str(i), b"0:1 " * size) for i, size in enumerate(sizes)]
    one = batcher(max_rows=max_rows)
    parts = [*one.add(messages), one.flush()]
    assert [m for part in parts for m in part.messages] == messages
    assert all(max_rows <= len(part) < max_rows + 7 for part in parts[:-1])
    assert len(parts[-1]) < max_rows
    assert sum(len(part) for part in parts) == sum(sizes)
