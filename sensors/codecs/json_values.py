"""What every JSON codec needs: bytes to an object, JSON values to times, numbers and sensor ids, or a named reason."""

import difflib
import functools
import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated

import msgspec

from sensors.errors import PayloadError
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected

MAX_PAYLOAD_BYTES = 1_000_000
MAX_SENSOR_ID = 128
# A payload up to this size is kept whole with each of its rejected values; of a longer one only the value itself is,
# or 1 MB with 100,000 bad values would become 100 GB of rejected payloads.
KEPT_WHOLE_BYTES = 4_096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The years that a `datetime` holds; whoever formats a reading's time may rely on them.
FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_json = msgspec.json.Decoder()
# Largest |value| whose stored integer round(value * scale) fits in 63 bits.
STORABLE = {key: math.nextafter(2.0**63 / q.scale, 0.0) for key, q in QUANTITIES.items()}


def short(value: object) -> str:
    """Return a value for a message: at most 60 printable characters, no control characters or lone surrogates."""
    text = repr(value[:60]) if isinstance(value, str) else _plain(value)
    return text if len(text) <= 62 else text[:59] + "..."


def _plain(value: object) -> str:
    if isinstance(value, dict | list):  # its text may be a megabyte, or nested too deeply to print
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 10**60:  # the text of a huge integer is refused by Python
        return "an integer of more than 60 digits"
    return json.dumps(value)


def load_object(payload: bytes) -> dict[str, object]:
    """Return the JSON object of a payload, read as `load_value` does.

    Raises
    ------
    PayloadError
        EMPTY, TOO_LARGE, NOT_UTF8, NOT_JSON or WRONG_SHAPE.
    """
    value = load_value(payload)
    if not isinstance(value, dict):
        raise PayloadError(Reason.WRONG_SHAPE, f"is {short(value)}, must be an object")
    return value


def load_value(payload: bytes) -> object:
    """Return the JSON value of a payload.

    ``NaN`` and ``Infinity`` are no JSON, yet Python's own writer emits them: they are read, so that such a value
    rejects only itself. Of a repeated key the last value counts.

    Raises
    ------
    PayloadError
        EMPTY, TOO_LARGE, NOT_UTF8 or NOT_JSON.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadError(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    try:
        value: object = _json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = _load_lenient(payload)
    except RecursionError:
        raise PayloadError(Reason.NOT_JSON, "nested too deeply") from None
    return value


def _load_lenient(payload: bytes) -> object:
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.NOT_UTF8, f"byte {error.start} is not UTF-8") from None
    if not text.strip():
        raise PayloadError(Reason.EMPTY)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PayloadError(Reason.NOT_JSON, f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise PayloadError(Reason.NOT_JSON, "nested too deeply") from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise PayloadError(Reason.NOT_JSON, "a number has too many digits") from None


def time_ms(value: object) -> int:
    """Return ms since 1970 UTC of epoch milliseconds or an RFC 3339 text with a zone; parts of a ms are cut.

    Raises
    ------
    PayloadError
        BAD_TIME; TIME_TOO_OLD or TIME_IN_FUTURE for a number outside the years 1 to 9999.

    Examples
    --------
    >>> time_ms("2014-08-01T02:00:00+02:00")
    1406851200000
    >>> time_ms(1406851200000.5)
    1406851200000
    """
    if isinstance(value, str):
        return _instant_ms(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise PayloadError(Reason.BAD_TIME, f"t is {short(value)}, must be epoch milliseconds or RFC 3339 with a zone")
    if value < FIRST_MS:
        raise PayloadError(Reason.TIME_TOO_OLD, f"t is {short(value)} ms, before the year 1")
    if value > LAST_MS:
        raise PayloadError(Reason.TIME_IN_FUTURE, f"t is {short(value)} ms, after the year 9999")
    return math.floor(value)


def _instant_ms(text: str, zone: tzinfo | None = None) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        try:  # RFC 3339 also allows small letters: 2014-08-01t00:00:00z
            instant = msgspec.convert(text, _Instant)
        except (msgspec.ValidationError, UnicodeEncodeError):  # the latter: half of a surrogate pair
            raise PayloadError(Reason.BAD_TIME, f"t is {short(text)}, must be RFC 3339 with a zone") from None
    if instant.tzinfo is None and zone is None:
        raise PayloadError(Reason.BAD_TIME, f"t is {short(text)} without a zone, add Z or an offset")
    instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
    return min(max((instant - _EPOCH) // _MILLISECOND, FIRST_MS), LAST_MS)


def ended_ms(value: object, *, zone: tzinfo | None = None) -> int:
    """Return ms since 1970 UTC of an instant, or of the end of an ISO 8601 interval ``start/end``.

    ``zone`` holds for times that name none; without it they are refused, because a guess may be hours wrong. Of the
    hour that comes twice in autumn, such a time means the first.

    Raises
    ------
    PayloadError
        NO_TIME when there is none; else as `time_ms`.

    Examples
    --------
    >>> ended_ms("2014-07-31T23:55:00Z/2014-08-01T00:00:00Z")
    1406851200000
    """
    if value is None:
        raise PayloadError(Reason.NO_TIME, "no time is given, must be RFC 3339 with a zone")
    if not isinstance(value, str):
        raise PayloadError(Reason.BAD_TIME, f"t is {short(value)}, must be RFC 3339 with a zone")
    start, _, end = value.partition("/")
    return _instant_ms(end or start, zone)


def checked_sensor_id(sensor_id: str) -> str:
    """Return the id when it can name a sensor: 1 to 128 characters, none of them a control character.

    Raises
    ------
    PayloadError
        BAD_SENSOR_ID.
    """
    if not 0 < len(sensor_id) <= MAX_SENSOR_ID:
        raise PayloadError(Reason.BAD_SENSOR_ID, f"{len(sensor_id)} characters, must be 1 to {MAX_SENSOR_ID}")
    # Cc control, Cs lone surrogate, Cn unassigned and non-characters, Zl and Zp line and paragraph separators
    if not sensor_id.isprintable() and any(
        unicodedata.category(c) in {"Cc", "Cs", "Cn", "Zl", "Zp"} for c in sensor_id
    ):
        raise PayloadError(Reason.BAD_SENSOR_ID, f"{short(sensor_id)} has a control character")
    return sensor_id


@functools.lru_cache(1024)
def _nearest(key: str) -> str:
    return difflib.get_close_matches(key, QUANTITIES, n=1, cutoff=0.0)[0]


def unknown_quantity(key: str, *, name_nearest: bool) -> PayloadError:
    """Return the error of a key that is no quantity, with the nearest that is."""
    # Comparing is quadratic in the length, and a hostile key may have a megabyte.
    nearest = f", the nearest known is {_nearest(key)!r}" if name_nearest and len(key) <= 64 else ""
    return PayloadError(Reason.UNKNOWN_QUANTITY, f"{short(key)} is no quantity{nearest}")


def plain_readings(sensor_id: str, instant_ms: int, values: Mapping[str, object]) -> list[Reading] | None:
    """Return the readings of values that are all ordinary numbers of known quantities, beside ``t``; else None.

    Nearly every payload is so; whatever is not is gone through again, with a reason for each value.

    Examples
    --------
    >>> plain_readings("D1", 0, {"t": 0, "speed_kmh": 50})
    [Reading(sensor_id='D1', quantity='speed_kmh', time_ms=0, value=50.0)]
    >>> plain_readings("D1", 0, {"t": 0, "speed_kmh": None}) is None
    True
    """
    readings = []
    for key, value in values.items():
        limit = STORABLE.get(key)
        if limit is None:
            if key != "t":
                return None
        elif (type(value) is float or type(value) is int) and -limit <= value <= limit:
            readings.append(Reading(sensor_id, key, instant_ms, float(value)))
        else:
            return None
    return readings


class Collected:
    """Readings and rejected values of one payload, as they come up."""

    __slots__ = ("_payload", "_topic", "readings", "rejected")

    def __init__(self, topic: str, payload: bytes) -> None:
        self._topic = topic
        self._payload = payload
        self.readings: list[Reading] = []
        self.rejected: list[Rejected] = []

    def reject(self, error: PayloadError, part: object) -> None:
        """Keep the reason and, of a long payload, only the part that it is about."""
        kept = self._payload
        if len(kept) > KEPT_WHOLE_BYTES:
            try:
                kept = json.dumps(part, ensure_ascii=True).encode()
            except (RecursionError, ValueError):  # too deep, or an integer that Python does not print
                kept = kept[:KEPT_WHOLE_BYTES]
        self.rejected.append(Rejected(self._topic, kept, error.reason, error.detail))

    def values(self, sensor_id: str, instant_ms: int, values: Mapping[str, object], *, part: object = None) -> None:
        """Take every value that is a number of a known quantity; nulls are absent values.

        ``part`` is kept of a long payload for each rejected value, instead of the value in our own terms.
        """
        for key, value in values.items():
            limit = STORABLE.get(key)
            # Nearly every value is an ordinary number, so that is asked first, and once.
            if limit is not None and (type(value) is float or type(value) is int) and -limit <= value <= limit:
                self.readings.append(Reading(sensor_id, key, instant_ms, float(value)))
            elif value is not None:
                self.reject(self._refusal(key, value), {"t": instant_ms, key: value} if part is None else part)

    def _refusal(self, key: str, value: object) -> PayloadError:
        if key not in QUANTITIES:
            # 0.2 ms for each new key: 100,000 of them in one payload would hold up everyone for 20 s.
            return unknown_quantity(key, name_nearest=len(self.rejected) < 8)
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            text = f"{key} is {short(value)}, at most {STORABLE[key]:.3g} can be stored"
            return PayloadError(Reason.OUT_OF_STORAGE_RANGE, text)
        return PayloadError(Reason.NOT_A_NUMBER, f"{key} is {short(value)}, must be a number")
