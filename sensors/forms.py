"""Payloads of one form read as columns: the same readings as one payload after the other, several times as fast.

Nearly every payload looks as those before it on its topic did: the same keys, ordinary numbers or null. Such a *form*
becomes a typed structure, which msgspec reads and checks without a Python object for each reading. Whatever does not
fit its form goes through the codec, which has a reason for everything.
"""

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Annotated, Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from sensors.codecs import Decoder
from sensors.codecs.json_values import FIRST_MS, LAST_MS, MAX_PAYLOAD_BYTES, STORABLE, load_object
from sensors.columns import Columns, attempt, merged
from sensors.reading import Reading, Rejected

# Whoever invents topics and keys fills neither memory nor time.
MAX_TOPICS, MAX_FORMS, LETTERS = 65_536, 256, 512
MOODS = 40  # a topic whose form changed so often, more than there are quantities, is read one by one

Read = Callable[[bytes], Any]
_Time = Annotated[int, msgspec.Meta(ge=FIRST_MS, le=LAST_MS)]


class Form:
    """Payloads that have no other keys than these, all ordinary numbers or null, and ``t`` in whole milliseconds.

    Parameters
    ----------
    quantities
        The keys beside ``t``, each a known quantity.
    listed
        Whether such objects come as ``{"readings": [...]}``.
    """

    def __init__(self, quantities: tuple[str, ...], *, listed: bool) -> None:
        numbers = [
            (
                f"v{i}",
                Annotated[float, msgspec.Meta(ge=-STORABLE[key], le=STORABLE[key])] | None,
                msgspec.field(name=key, default=None),
            )
            for i, key in enumerate(quantities)
        ]
        item = msgspec.defstruct("Item", [("t", _Time), *numbers], forbid_unknown_fields=True, gc=False)
        many: Any = Annotated[list[item], msgspec.Meta(min_length=1)]  # type: ignore[valid-type]
        kind = msgspec.defstruct("Many", [("readings", many)], forbid_unknown_fields=True, gc=False)
        self.quantities = quantities
        self.listed = listed
        self.type: type = kind if listed else item
        self.read: Read = msgspec.json.Decoder(self.type).decode
        self._values = [operator.attrgetter(name) for name, *_ in numbers]

    def columns(
        self, found: Sequence[Any], source: npt.NDArray[np.intp], names: Sequence[str]
    ) -> tuple[Columns, list[int]]:
        """Return the columns of payloads read by this form, and the positions of those with an object of nulls only.

        ``names`` are the sensors of all payloads; what has such an object is left out as a whole.
        """
        if self.listed:
            lists = list(map(operator.attrgetter("readings"), found))
            source = np.repeat(source, np.fromiter(map(len, lists), np.intp, len(lists)))
            found = list(chain.from_iterable(lists))
        n, k = len(found), len(self.quantities)
        value = np.empty((n, k))
        for i, get in enumerate(self._values):
            value[:, i] = _numbers(list(map(get, found)))
        given = ~np.isnan(value)  # JSON has no NaN: it is what was null
        time_ms = np.fromiter(map(operator.attrgetter("t"), found), np.int64, n)
        quantity: Sequence[str] = self.quantities * n
        source, time_ms = np.repeat(source, k), np.repeat(time_ms, k)
        empty: list[int] = []
        if not given.all():
            empty = np.unique(source.reshape(n, k)[~given.any(axis=1), 0]).tolist()
            wanted = given.ravel() & ~np.isin(source, empty)
            quantity = [quantity[i] for i in np.flatnonzero(wanted).tolist()]
            source, time_ms, value = source[wanted], time_ms[wanted], value.ravel()[wanted]
        sensor_id = list(map(names.__getitem__, source.tolist()))
        return Columns(source, sensor_id, quantity, time_ms, value.ravel()), empty


def _numbers(values: list[float | None]) -> npt.NDArray[np.float64]:
    """Return numbers as an array, NaN for None."""
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:
        return np.array(values, np.float64)


class FormReader:
    """Reads payloads of our own codec by the form that their topic had last.

    Parameters
    ----------
    decode
        Reads any payload; what it says counts.
    sensor_of
        Returns the sensor of a topic whose payloads are of our own codec, None for every other topic.

    Examples
    --------
    >>> from sensors.payload import decoder
    >>> columns = decoder().columns(["city/a/D1"] * 2, [b'{"t": 0, "speed_kmh": 50}', b'{"t": 1, "speed_kmh": 51}'])
    >>> columns.sensor_id, columns.time_ms.tolist(), columns.value.tolist()
    (['D1', 'D1'], [0, 1], [50.0, 51.0])
    """

    def __init__(self, decode: Decoder, sensor_of: Callable[[str], str | None]) -> None:
        self._decode = decode
        self._sensor_of = sensor_of
        self._read: dict[str, Read] = {}  # by topic
        self._topic_form: dict[str, Form] = {}
        self._last: Form | None = None
        self._names: dict[str, str] = {}
        self._changes: Counter[str] = Counter()
        self._forms: dict[tuple[bool, tuple[str, ...]], Form] = {}
        self._form_of: dict[type, Form] = {}

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes]) -> Columns:
        """Return the readings of payloads, and what is rejected of them."""
        if self._last is None and payloads:  # the first payload of all is a form for those that follow
            self._meet(topics[:1])
            self._others([0], topics, payloads)
        self._meet(topics)
        found = self._formed(topics, payloads)
        names = list(map(self._names.get, topics, repeat("")))
        kinds = list(map(type, found))
        parts = []
        others = [i for i, kind in enumerate(kinds) if kind is type(None)] if type(None) in kinds else []
        for kind in dict.fromkeys(kinds):
            if kind is type(None):
                continue
            alike = kinds.count(kind) == len(kinds)
            places = range(len(kinds)) if alike else [i for i, other in enumerate(kinds) if other is kind]
            chosen = found if alike else [found[i] for i in places]
            part, empty = self._form_of[kind].columns(chosen, np.array(places, np.intp), names)
            parts.append(part)
            others += empty
        if others:
            parts.append(self._others(sorted(others), topics, payloads))
        return merged(parts)

    def _formed(self, topics: Sequence[str], payloads: Sequence[bytes]) -> list[Any]:
        """Return what the forms make of the payloads, None where they make nothing."""
        found: list[Any] = []
        calls = map(operator.call, map(self._read.get, topics, repeat(_nothing)), payloads)
        while True:
            try:
                found.extend(calls)
                break
            except (msgspec.MsgspecError, ValueError, RecursionError):  # it names no reason: the codec will
                found.append(None)
        if payloads and max(map(len, payloads)) > MAX_PAYLOAD_BYTES:
            found = [None if len(p) > MAX_PAYLOAD_BYTES else item for item, p in zip(found, payloads, strict=True)]
        return found

    def _others(self, places: Sequence[int], topics: Sequence[str], payloads: Sequence[bytes]) -> Columns:
        taken: list[Reading] = []
        source: list[int] = []
        rejected: list[tuple[int, Rejected]] = []
        for i in places:
            readings, refused = attempt(self._decode, topics[i], payloads[i])
            taken += readings
            source += [i] * len(readings)
            rejected += [(i, item) for item in refused]
            if not refused:
                self._learn(topics[i], payloads[i])
        return Columns.of(taken, source, rejected)

    def _meet(self, topics: Sequence[str]) -> None:
        """Give topics that are new the form that was learned last: in most cities all sensors speak alike."""
        known = self._read
        if len(known) >= MAX_TOPICS:
            for memory in (known, self._topic_form, self._names, self._changes):
                memory.clear()
        for topic in set(topics) - known.keys():
            if len(topic) > LETTERS:
                continue
            name = self._sensor_of(topic)
            known[topic] = self._last.read if self._last and name is not None else _nothing
            if name is not None:
                self._names[topic] = name

    def _learn(self, topic: str, payload: bytes) -> None:
        """Let the form of a topic be one that this payload, read without a fault, would have fitted as well."""
        if topic not in self._names or self._changes[topic] >= MOODS:
            return
        self._changes[topic] += 1
        root = load_object(payload)
        listed = "readings" in root
        items = cast(list[dict[str, object]], root["readings"]) if listed else [root]  # the codec has read it
        before = self._topic_form.get(topic)
        keys = dict.fromkeys(before.quantities if before and before.listed == listed else ())
        keys |= {key: None for item in items for key in item if key in STORABLE}
        form = self._form(tuple(keys), listed=listed)
        if form is None or self._changes[topic] == MOODS:
            self._read[topic] = _nothing
            return
        self._last = self._topic_form[topic] = form
        self._read[topic] = form.read

    def _form(self, quantities: tuple[str, ...], *, listed: bool) -> Form | None:
        form = self._forms.get((listed, quantities))
        if form is None and len(self._forms) < MAX_FORMS:
            form = self._forms[listed, quantities] = Form(quantities, listed=listed)
            self._form_of[form.type] = form
        return form


def _nothing(_payload: bytes) -> None:
    """Read no form at all."""
