"""Messages become batches: decoded, judged by the city clock, flagged, and cut at a number of rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sensors import Batch, Reading, Reason, Rejected
from sensors.clock import CityClock
from sensors.columns import Columns, joined, one_by_one
from sensors.payload import PayloadDecoder

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
    message_of: npt.NDArray[np.intp]

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
        max_rows: int = 10_000,
    ) -> None:
        self._decode = decode
        self._clock = clock
        self._retention_s = retention_s
        self._future_s = future_s
        self._flag = flag
        self._max_rows = max_rows
        self._columns = decode.columns if isinstance(decode, PayloadDecoder) else partial(one_by_one, decode)
        self._per_message = 1.0  # readings in a message, of late
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
        waiting = list(messages)
        begin = 0
        while begin < len(waiting):
            # About as many as a batch has room for; what is read beyond it is cut off and read again.
            room = max(1, int((self._max_rows - self._rows) / self._per_message))
            taken = waiting[begin : begin + room]
            columns = self._columns([m.topic for m in taken], [m.payload for m in taken])
            count = np.bincount(columns.source, minlength=len(taken))
            if columns.rejected:
                count += np.bincount([i for i, _ in columns.rejected], minlength=len(taken))
            rows = np.cumsum(count)
            self._per_message = max(1.0, rows[-1] / len(taken))
            enough = int(np.searchsorted(rows, self._max_rows - self._rows)) + 1
            if enough < len(taken):
                taken, columns = taken[:enough], columns.until(enough)
            begin += len(taken)
            self._parts.append((len(self._messages), columns))
            self._messages += taken
            self._rows += int(rows[len(taken) - 1])
            if self._rows >= self._max_rows:
                yield self.flush()

    def flush(self) -> Gathered[M]:
        """Return what waits as a batch, which may be empty."""
        messages, columns = self._messages, joined(self._parts)
        self._clear()
        batch = columns.batch(received_at=0.0)
        rejected = list(batch.rejected)
        self._clock.observe(batch)
        now = self._clock.now()
        too_old = batch.time_ms < (now - self._retention_s) * 1000
        too_new = batch.time_ms > (now + self._future_s) * 1000
        message_of = columns.source
        bad = too_old | too_new
        if bad.any():
            for i in np.flatnonzero(bad).tolist():
                message = messages[message_of[i]]
                reason = Reason.TIME_TOO_OLD if too_old[i] else Reason.TIME_IN_FUTURE
                detail = (
                    f"{batch.quantity[i]} of {batch.sensor_id[i]}: {abs(batch.time_ms[i] / 1000 - now):.0f} s "
                    f"{'before' if too_old[i] else 'after'} the city clock"
                )
                rejected.append(Rejected(message.topic, message.payload, reason, detail))
            batch, message_of = batch.take(~bad), message_of[~bad]
        accepted = replace(batch, rejected=tuple(rejected), received_at=now)
        if self._flag is not None:
            accepted = self._flag(accepted)
        return Gathered(accepted, messages, message_of)

    def _clear(self) -> None:
        self._messages: list[M] = []
        self._parts: list[tuple[int, Columns]] = []
        self._rows = 0  # readings, rejected ones included
