"""Faults of virtual sensors: what can be wrong with a device, from when until when."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensors.errors import InputError


class FaultKind(enum.StrEnum):
    """What a faulty sensor does."""

    DEAD = "dead"  # publishes nothing
    DROPOUT = "dropout"  # loses a share of its payloads
    STUCK = "stuck"  # repeats what it last published
    DRIFT = "drift"  # reads more and more, or less and less, than there is


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one sensor; it concerns the intervals that end within [from_s, until_s).

    Parameters
    ----------
    sensor_id
        Who has it.
    kind
        What it does.
    from_s, until_s
        City time, s since 1970 UTC.
    share
        Dropout: share of the payloads that is lost, 0..1.
    drift_per_h
        Drift: relative change of every value per hour since ``from_s``; -0.1 loses 10 % in the first hour.

    Raises
    ------
    InputError
        When a number is out of its range.

    Examples
    --------
    >>> Fault("D1", FaultKind.DRIFT, 0.0, 7200.0, drift_per_h=0.1).factor(3600.0)
    1.1
    """

    sensor_id: str
    kind: FaultKind
    from_s: float
    until_s: float = math.inf
    share: float = 0.5
    drift_per_h: float = 0.1

    def __post_init__(self) -> None:
        faults = []
        if not self.until_s > self.from_s:
            faults.append(f"fault of {self.sensor_id}: until_s is {self.until_s}, must be > from_s, {self.from_s}")
        if not 0 <= self.share <= 1:
            faults.append(f"fault of {self.sensor_id}: share is {self.share}, must be within 0..1")
        if not math.isfinite(self.drift_per_h):
            faults.append(f"fault of {self.sensor_id}: drift_per_h is {self.drift_per_h}, must be a number")
        if faults:
            raise InputError(faults)

    def active(self, time_s: float) -> bool:
        """Return whether an interval that ends at this time is concerned."""
        return self.from_s <= time_s < self.until_s

    def factor(self, time_s: float) -> float:
        """Return what a drifting sensor multiplies its values by, at least 0."""
        return max(0.0, 1 + self.drift_per_h * (time_s - self.from_s) / 3600)


def draw_faults(
    sensor_ids: Sequence[str],
    *,
    rng: np.random.Generator,
    from_s: float,
    until_s: float,
    per_sensor_day: float = 0.2,
    mean_duration_s: float = 3600.0,
) -> tuple[Fault, ...]:
    """Return random faults of all kinds: Poisson arrivals per sensor, durations exponential and at least a tenth of
    the mean.

    Parameters
    ----------
    per_sensor_day
        Expected faults per sensor and day. The default is far above that of real detectors, so that a demonstration
        shows some.

    Examples
    --------
    >>> faults = draw_faults(["D1"], rng=np.random.default_rng(1), from_s=0, until_s=86400, per_sensor_day=1000)
    >>> len(faults) > 900, {fault.kind.value for fault in faults} == {"dead", "dropout", "stuck", "drift"}
    (True, True)
    """
    kinds = tuple(FaultKind)
    expected = per_sensor_day * (until_s - from_s) / 86_400
    faults = []
    for sensor_id in sensor_ids:
        for start in sorted(rng.uniform(from_s, until_s, rng.poisson(expected))):
            duration = max(rng.exponential(mean_duration_s), mean_duration_s / 10)
            faults.append(
                Fault(
                    sensor_id,
                    kinds[rng.integers(len(kinds))],
                    from_s=float(start),
                    until_s=float(start + duration),
                    share=float(rng.uniform(0.2, 0.9)),
                    drift_per_h=float(rng.choice((-1, 1)) * rng.uniform(0.1, 0.5)),
                )
            )
    return tuple(faults)
