"""What became of a batch: its counts, what is in the database now, and what was rejected."""

from dataclasses import dataclass

import numpy as np

from sensors import Batch, Rejected


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch, in readings: received = stored + duplicate + conflict + rejected."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.conflict + other.conflict,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch after its commit.

    Parameters
    ----------
    counts
        What became of its readings.
    batch
        Those readings that are in the database now, stored or duplicate.
    rejected
        Everything that went to ``rejected``, conflicts included.
    """

    counts: Counts
    batch: Batch
    rejected: tuple[Rejected, ...]

    def __add__(self, other: "Settled") -> "Settled":
        batch = Batch(
            sensor_id=self.batch.sensor_id + other.batch.sensor_id,
            quantity=self.batch.quantity + other.batch.quantity,
            time_ms=np.concatenate([self.batch.time_ms, other.batch.time_ms]),
            value=np.concatenate([self.batch.value, other.batch.value]),
            quality=np.concatenate([self.batch.quality, other.batch.quality]),
            received_at=self.batch.received_at,
        )
        return Settled(self.counts + other.counts, batch, self.rejected + other.rejected)
