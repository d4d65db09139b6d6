"""Readings of many payloads as columns, each with the position of the payload that it came from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

from sensors.codecs import Decoder
from sensors.errors import PayloadError
from sensors.reading import Batch, Reading, Rejected


@dataclass(frozen=True, slots=True)
class Columns:
    """Readings of several payloads, in their order.

    Parameters
    ----------
    source
        (n,) position of the payload of each reading, ascending.
    sensor_id, quantity
        (n,) one entry a reading.
    time_ms, value
        (n,) as in a `Batch`.
    rejected
        What could not become a reading, with the position of its payload, ascending.
    """

    source: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    sensor_id: Sequence[str] = ()
    quantity: Sequence[str] = ()
    time_ms: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    value: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    rejected: Sequence[tuple[int, Rejected]] = ()

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, *, received_at: float) -> Batch:
        """Return the readings, all of good quality, with what was rejected."""
        return Batch(
            sensor_id=tuple(self.sensor_id),
            quantity=tuple(self.quantity),
            time_ms=self.time_ms,
            value=self.value,
            quality=np.zeros(len(self), np.uint16),
            rejected=tuple(item for _, item in self.rejected),
            received_at=received_at,
        )

    def until(self, payload: int) -> "Columns":
        """Return what comes of the payloads before a position."""
        n = int(np.searchsorted(self.source, payload))
        return Columns(
            self.source[:n],
            self.sensor_id[:n],
            self.quantity[:n],
            self.time_ms[:n],
            self.value[:n],
            [item for item in self.rejected if item[0] < payload],
        )

    @classmethod
    def of(
        cls, readings: Sequence[Reading], source: Sequence[int], rejected: Sequence[tuple[int, Rejected]]
    ) -> "Columns":
        """Return the columns of readings whose payloads are at these positions."""
        return cls(
            np.array(source, np.intp),
            [r.sensor_id for r in readings],
            [r.quantity for r in readings],
            np.array([r.time_ms for r in readings], np.int64),
            np.array([r.value for r in readings], np.float64),
            rejected,
        )


def joined(parts: Sequence[tuple[int, Columns]]) -> Columns:
    """Return columns one after the other, each with the position of its first payload."""
    if len(parts) == 1 and parts[0][0] == 0:
        return parts[0][1]
    if not parts:
        return Columns()
    return Columns(
        np.concatenate([part.source + start for start, part in parts]),
        list(chain.from_iterable(part.sensor_id for _, part in parts)),
        list(chain.from_iterable(part.quantity for _, part in parts)),
        np.concatenate([part.time_ms for _, part in parts]),
        np.concatenate([part.value for _, part in parts]),
        [(start + i, item) for start, part in parts for i, item in part.rejected],
    )


def one_by_one(decode: Decoder, topics: Sequence[str], payloads: Sequence[bytes]) -> Columns:
    """Return the readings of payloads, each through its codec.

    Examples
    --------
    >>> from sensors.codecs import CODECS
    >>> columns = one_by_one(CODECS["citytwin"], ["city/a/D1", "city/a/D2"], [b'{"t": 0, "speed_kmh": 50}', b"?"])
    >>> columns.sensor_id, columns.value.tolist(), columns.rejected[0][1].reason.value
    (['D1'], [50.0], 'not_json')
    """
    taken: list[Reading] = []
    source: list[int] = []
    rejected: list[tuple[int, Rejected]] = []
    for i, (topic, payload) in enumerate(zip(topics, payloads, strict=True)):
        readings, refused = attempt(decode, topic, payload)
        taken += readings
        source += [i] * len(readings)
        rejected += [(i, item) for item in refused]
    return Columns.of(taken, source, rejected)


def attempt(decode: Decoder, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    """Return readings and rejected values of a payload; a payload that is of no use at all is one rejected value."""
    try:
        return decode(topic, payload)
    except PayloadError as error:
        return [], [Rejected(topic, payload, error.reason, error.detail)]


def merged(parts: Sequence[Columns]) -> Columns:
    """Return columns of different payloads as one, by the order of the payloads."""
    if len(parts) == 1:
        return parts[0]
    every = joined([(0, part) for part in parts])
    order = np.argsort(every.source, kind="stable")
    places = order.tolist()
    return Columns(
        every.source[order],
        [every.sensor_id[i] for i in places],
        [every.quantity[i] for i in places],
        every.time_ms[order],
        every.value[order],
        every.rejected,
    )
