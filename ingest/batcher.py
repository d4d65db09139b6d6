"""Messages become batches: decoded, judged by the city clock, flagged, and cut at a number of rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sensors import Batch, PayloadError, Reading, Reason, Rejected
from sensors.clock import CityClock

Decode = Callable[[str, bytes], tuple[list[Reading], list[Rejected]]]
Flag = Callable[[Batch], Batch]


class Delivered(Protocol):
    """What the batcher needs of an MQTT message."""

    @property
    def topic(self) -> str:
        """Topic it was published to."""

    @property
    def payload(self) -> bytes:
        """What was published."""


M = TypeVar("M", bound=Delivered)


@dataclass(frozen=True, slots=True)
class Gathered(Generic[M]):
    """A batch together with the messages that it came from.

    Parameters
    ----------
    messages
        All that may be acknowledged once the batch is committed, in the order in which they came.
    message_of
        (n,) for each reading of the batch the position of its message.
    """

    batch: Batch
    messages: Sequence[M]
    message_of: Sequence[int]

    def origin(self, i: int) -> tuple[str, bytes]:
        """Return topic and payload of the reading at a position of the batch."""
        message = self.messages[self.message_of[i]]
        return message.topic, message.payload

    def __len__(self) -> int:
        """Readings, rejected ones included."""
        return len(self.batch) + len(self.batch.rejected)


class Batcher(Generic[M]):
    """Gathers messages into batches.

    Parameters
    ----------
    decode
        Returns readings and rejected values of (topic, payload); raises `PayloadError` when nothing can be used.
    clock
        The city's: it says when a batch was received, and readings outside [now - retention_s, now + future_s] are
        rejected, so that a device with a broken clock cannot make partitions for the year 294000.
    flag
        Sets the flags of doubtful values.
    max_rows
        A batch is cut when it has this many readings; one payload is never divided.

    Examples
    --------
    >>> from ingest.subscriber import Message  # doctest: +SKIP
    >>> batcher = Batcher(decode, clock=clock, retention_s=86_400.0)  # doctest: +SKIP
    >>> [len(gathered) for gathered in batcher.add(messages)], len(batcher.flush())  # doctest: +SKIP
    ([5000, 5000], 1234)
    """

    def __init__(
        self,
        decode: Decode,
        *,
        clock: CityClock,
        retention_s: float,
        future_s: float = 300.0,
        flag: Flag | None = None,
        max_rows: int = 5_000,
    ) -> None:
        self._decode = decode
        self._clock = clock
        self._retention_s = retention_s
        self._future_s = future_s
        self._flag = flag
        self._max_rows = max_rows
        self._clear()

    def another(self) -> "Batcher[Any]":
        """Return an empty one that judges alike."""
        return Batcher(
            self._decode,
            clock=self._clock,
            retention_s=self._retention_s,
            future_s=self._future_s,
            flag=self._flag,
            max_rows=self._max_rows,
        )

    def __len__(self) -> int:
        """Messages that wait for the next batch."""
        return len(self._messages)

    def add(self, messages: Iterable[M]) -> Iterator[Gathered[M]]:
        """Decode messages, and yield a batch whenever there are enough readings for one."""
        decode, most = self._decode, self._max_rows
        gathered, taken, message_of = self._messages, self._readings, self._message_of
        for message in messages:
            gathered.append(message)
            try:
                readings, rejected = decode(message.topic, message.payload)
            except PayloadError as error:
                readings, rejected = [], [Rejected(message.topic, message.payload, error.reason, error.detail)]
            taken += readings
            message_of += [len(gathered) - 1] * len(readings)
            if rejected:
                self._rejected += rejected
            if len(taken) + len(self._rejected) >= most:
                yield self.flush()
                gathered, taken, message_of = self._messages, self._readings, self._message_of

    def flush(self) -> Gathered[M]:
        """Return what waits as a batch, which may be empty."""
        messages, message_of, rejected = self._messages, self._message_of, self._rejected
        batch = Batch.of(self._readings, received_at=0.0)
        self._clear()
        self._clock.observe(batch)
        now = self._clock.now()
        too_old = batch.time_ms < (now - self._retention_s) * 1000
        too_new = batch.time_ms > (now + self._future_s) * 1000
        good = ~(too_old | too_new)
        for i in np.flatnonzero(~good).tolist():
            message = messages[message_of[i]]
            reason = Reason.TIME_TOO_OLD if too_old[i] else Reason.TIME_IN_FUTURE
            detail = (
                f"{batch.quantity[i]} of {batch.sensor_id[i]}: {abs(batch.time_ms[i] / 1000 - now):.0f} s "
                f"{'before' if too_old[i] else 'after'} the city clock"
            )
            rejected.append(Rejected(message.topic, message.payload, reason, detail))
        accepted = replace(batch.take(good), rejected=tuple(rejected), received_at=now)
        if self._flag is not None:
            accepted = self._flag(accepted)
        return Gathered(accepted, messages, [message_of[i] for i in np.flatnonzero(good).tolist()])

    def _clear(self) -> None:
        self._messages: list[M] = []
        self._readings: list[Reading] = []
        self._message_of: list[int] = []
        self._rejected: list[Rejected] = []
