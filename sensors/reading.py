"""Readings and batches: what a decoded payload becomes, and what ingest hands to the twin."""

import enum
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt


class Reason(enum.StrEnum):
    """Why a payload or one value of it was rejected; shown in ``rejected``, in metrics and in the cockpit."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    NO_TIME = "no_time"
    BAD_TIME = "bad_time"
    TIME_TOO_OLD = "time_too_old"
    TIME_IN_FUTURE = "time_in_future"
    NO_VALUE = "no_value"
    UNKNOWN_QUANTITY = "unknown_quantity"
    WRONG_UNIT = "wrong_unit"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_STORAGE_RANGE = "out_of_storage_range"
    UNMAPPED_TOPIC = "unmapped_topic"
    BAD_SENSOR_ID = "bad_sensor_id"
    TOO_MANY_SENSORS = "too_many_sensors"
    NO_POSITION = "no_position"
    CONFLICT = "conflict"
    REFUSED_BY_DATABASE = "refused_by_database"


class Quality(enum.IntFlag):
    """What is doubtful about a stored value; 0 is good."""

    GOOD = 0
    RANGE = 1
    RATE = 2
    STUCK = 4
    CONTRADICTION = 8
    UNVERIFIED_SENSOR = 16
    LATE = 32
    NO_VEHICLES = 64  # a mean over vehicles (speed, travel time) of an interval without any: it measures nothing


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One value of one quantity by one sensor; a struct because it is made a million times a second.

    Parameters
    ----------
    sensor_id
        Last level of the MQTT topic.
    quantity
        A key of `sensors.quantity.QUANTITIES`.
    time_ms
        End of the measured interval, ms since 1970 UTC.
    value
        In the unit of the quantity's key.
    """

    sensor_id: str
    quantity: str
    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or one value of it, that is not stored as a reading; nothing is thrown away silently."""

    topic: str
    payload: bytes
    reason: Reason
    detail: str = ""


def _frozen(values: object, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings as columns, with what was rejected on the way; made by ingest, taken by the twin.

    Parameters
    ----------
    sensor_id, quantity
        (n,) one entry a reading.
    time_ms
        (n,) int64, end of the measured interval, ms since 1970 UTC.
    value
        (n,) float64 in the unit of the quantity.
    quality
        (n,) uint16 flags of `Quality`.
    rejected
        What could not become a reading.
    received_at
        City time of reception, s since 1970 UTC.
    """

    sensor_id: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ()
    time_ms: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    value: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    quality: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    rejected: tuple[Rejected, ...] = ()
    received_at: float = 0.0

    def __post_init__(self) -> None:
        for name, dtype in (("time_ms", np.int64), ("value", np.float64), ("quality", np.uint16)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        sizes = {len(self.sensor_id), len(self.quantity), len(self.time_ms), len(self.value), len(self.quality)}
        if len(sizes) != 1:
            raise ValueError(f"columns of a batch must be equally long, not {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.sensor_id)

    def take(self, positions: "npt.ArrayLike") -> "Batch":
        """Return the readings at the given positions (or where a mask is true), without what was rejected.

        Examples
        --------
        >>> both = Batch.of([Reading("D1", "speed_kmh", 0, 50.0), Reading("D2", "speed_kmh", 0, 60.0)], received_at=1.0)
        >>> both.take([1]).sensor_id
        ('D2',)
        """
        chosen = np.asarray(positions)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.intp)
        rows = chosen.tolist()
        return Batch(
            sensor_id=tuple([self.sensor_id[row] for row in rows]),
            quantity=tuple([self.quantity[row] for row in rows]),
            time_ms=self.time_ms[chosen],
            value=self.value[chosen],
            quality=self.quality[chosen],
            received_at=self.received_at,
        )

    @classmethod
    def of(cls, readings: "list[Reading]", *, received_at: float, rejected: "tuple[Rejected, ...]" = ()) -> "Batch":
        """Return the batch that holds the given readings, all of good quality.

        Examples
        --------
        >>> len(Batch.of([Reading("D1", "speed_kmh", 0, 50.0)], received_at=1.0))
        1
        """
        return cls(
            sensor_id=tuple(r.sensor_id for r in readings),
            quantity=tuple(r.quantity for r in readings),
            time_ms=np.array([r.time_ms for r in readings], np.int64),
            value=np.array([r.value for r in readings], np.float64),
            quality=np.zeros(len(readings), np.uint16),
            rejected=rejected,
            received_at=received_at,
        )
