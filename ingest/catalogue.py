"""The catalogue of sensors and their series: who may be stored, under which number and at which scale."""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
import numpy.typing as npt

from ingest.database import Connection, Database
from ingest.seldom import Seldom
from sensors import Quantity, Reason, Sensor

log = logging.getLogger(__name__)
UNVERIFIED_LIMIT = 10_000
SENSOR_ID_LIMIT = 255  # characters
LOCK = 7_243_392_003

Key = tuple[str, str]


_ENTRY = np.dtype([("series_id", np.int64), ("scale", np.int64), ("verified", np.bool_)])
_NOBODY = np.array([(0, 1, True)] * 64, _ENTRY)  # the first is that of whoever gets no series, the rest are free
NOWHERE = 0


@dataclass(frozen=True, slots=True)
class Resolved:
    """Series of some keys.

    Parameters
    ----------
    series_id, scale, verified
        (n,) number, integers per unit, and whether the network knows the sensor; 0, 1 and true where it is refused.
    refused
        Why some get no series, by their position.
    """

    series_id: npt.NDArray[np.int64]
    scale: npt.NDArray[np.int64]
    verified: npt.NDArray[np.bool_]
    refused: Mapping[int, Reason]

    def at(self, positions: npt.NDArray[np.int64]) -> "Resolved":
        """Return the series for each of these positions, which may repeat."""
        refused = {}
        if self.refused:
            refused = {i: self.refused[k] for i, k in enumerate(positions.tolist()) if k in self.refused}
        return Resolved(self.series_id[positions], self.scale[positions], self.verified[positions], refused)


class Catalogue:
    """The catalogue of one database, remembered in this process.

    Parameters
    ----------
    database
        Where the catalogue lies.
    quantities
        What may be stored, by key.
    unverified_limit
        How many sensors that nobody registered are admitted: data is not lost for want of metadata, and whoever invents
        sensor ids cannot fill the database.
    """

    def __init__(
        self, database: Database, *, quantities: Mapping[str, Quantity], unverified_limit: int = UNVERIFIED_LIMIT
    ) -> None:
        self._database = database
        self._quantities = quantities
        self._unverified_limit = unverified_limit
        self._place: dict[Key, int] = {}
        self._columns = _NOBODY
        self._generation = database.generation
        self._mutex = threading.Lock()
        self._strangers: list[str] = []
        self._seldom = Seldom(log, level=logging.INFO)

    def resolve(self, keys: Iterable[Key]) -> Resolved:
        """Return the series of each (sensor_id, quantity), made when new, or the reason why it gets none."""
        wanted = list(keys)
        with self._mutex:
            if self._generation != self._database.generation:  # it may be another database by now
                self._generation = self._database.generation
                self._forget()
            places = np.fromiter(map(self._place.get, wanted, repeat(NOWHERE)), np.int64, len(wanted))
            missing = np.flatnonzero(places == NOWHERE)
            refused: dict[int, Reason] = {}
            if len(missing):
                why = self._meet(dict.fromkeys(wanted[i] for i in missing.tolist()))
                for i in missing.tolist():
                    places[i] = self._place.get(wanted[i], NOWHERE)
                    if places[i] == NOWHERE:
                        refused[i] = why[wanted[i]]
            rows = self._columns[places]
        return Resolved(rows["series_id"], rows["scale"], rows["verified"], refused)

    def _meet(self, keys: Iterable[Key]) -> dict[Key, Reason]:
        """Enter series that are not remembered, and return why those are refused that get none."""
        why = {key: reason for key in keys if (reason := self._refusal(key))}
        new = [key for key in keys if key not in why]
        if new:
            with self._database.connection() as connection:
                made = self._admit(connection, new)
            for key, row in made.items():  # only now: the transaction is committed
                self._enter(key, row)
            self._tell_strangers()
            why |= {key: Reason.TOO_MANY_SENSORS for key in new if key not in made}
        return why

    def _enter(self, key: Key, row: tuple[int, int, bool]) -> None:
        place = self._place[key] = len(self._place) + 1
        if place == 1:
            self._columns = _NOBODY.copy()
        if place >= len(self._columns):
            self._columns = np.concatenate([self._columns, self._columns])
        self._columns[place] = row

    def _forget(self) -> None:
        self._place.clear()
        self._columns = _NOBODY

    def register(self, sensors: Iterable[Sensor], *, zones: Mapping[str, str] | None = None) -> int:
        """Write the sensors of a network, as verified ones, and return how many there are; zones are by link id."""
        zone_of = zones or {}
        rows = [
            (s.sensor_id, s.kind, list(s.quantities), s.link_id, s.position_m, s.lanes, s.interval_s, s.owner,
             s.asset_id, zone_of.get(s.link_id, ""))
            for s in sensors
        ]  # fmt: skip
        names = "kind, quantities, link_id, position_m, lanes, interval_s, owner, asset_id, zone_id"
        updates = ", ".join(f"{name} = EXCLUDED.{name}" for name in names.split(", "))
        with self._database.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.cursor().executemany(
                f"INSERT INTO sensor (sensor_id, {names}, verified)"  # noqa: S608 - names are our own
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true)"
                f" ON CONFLICT (sensor_id) DO UPDATE SET verified = true, {updates}",
                rows,
            )
        with self._mutex:
            self._forget()
        return len(rows)

    def _tell_strangers(self) -> None:
        strangers, self._strangers = self._strangers, []
        if strangers:
            last = strangers[-1]
            self._seldom.say("strangers", len(strangers), partial(_stranger, last))

    def _refusal(self, key: Key) -> Reason | None:
        sensor_id, quantity = key
        if not sensor_id or len(sensor_id) > SENSOR_ID_LIMIT or not storable(sensor_id):
            return Reason.BAD_SENSOR_ID
        return None if quantity in self._quantities else Reason.UNKNOWN_QUANTITY

    def _admit(self, connection: Connection, new: list[Key]) -> dict[Key, tuple[int, int, bool]]:
        sensor_ids = list(dict.fromkeys(sensor_id for sensor_id, _ in new))
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))  # or two workers together pass the limit
        rows = connection.execute("SELECT sensor_id FROM sensor WHERE sensor_id = ANY(%s)", (sensor_ids,)).fetchall()
        known = {row[0] for row in rows}
        unknown = [sensor_id for sensor_id in sensor_ids if sensor_id not in known]
        if unknown:
            row = connection.execute("SELECT count(*) FROM sensor WHERE NOT verified").fetchone()
            unknown = unknown[: max(0, self._unverified_limit - (int(row[0]) if row else 0))]
            connection.execute(
                "INSERT INTO sensor (sensor_id, verified) SELECT *, false FROM unnest(%s::text[])", (unknown,)
            )
            known.update(unknown)
            self._strangers = unknown
        admitted = [(sensor_id, quantity) for sensor_id, quantity in new if sensor_id in known]
        columns = ([s for s, _ in admitted], [q for _, q in admitted], [self._quantities[q].scale for _, q in admitted])
        connection.execute(
            "INSERT INTO series (sensor_id, quantity, scale)"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::int8[]) AS new (sensor_id, quantity, scale)"
            " WHERE NOT EXISTS (SELECT FROM series AS old"
            " WHERE old.sensor_id = new.sensor_id AND old.quantity = new.quantity)",
            columns,
        )
        found = connection.execute(
            "SELECT sensor_id, quantity, series_id, scale, verified FROM series JOIN sensor USING (sensor_id)"
            " JOIN unnest(%s::text[], %s::text[]) AS new (sensor_id, quantity) USING (sensor_id, quantity)",
            columns[:2],
        ).fetchall()
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in found}


def _stranger(last: str, n: int) -> str:
    sensors = "1 new sensor" if n == 1 else f"{n} new sensors, the last"
    return f"{sensors} {last!r}: not registered with the network, the readings are stored as unverified"


def storable(text: str) -> bool:
    r"""Return whether PostgreSQL can keep a text: no NUL, no half of a surrogate pair.

    Examples
    --------
    >>> storable("Kreuzung 7 südlich"), storable("a\0"), storable("\ud800")
    (True, False, False)
    """
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False
