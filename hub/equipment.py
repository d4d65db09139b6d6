"""The equipment of the living city: what people declared failed, and what is dark because of it; kept over restarts."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from hub.show import stamp
from ingest.database import Database
from sensors import InputError
from twin import Network
from twin.outage import Outage

_INSERT = "INSERT INTO asset_event (asset_id, event, time, author, reason) VALUES (%s, %s, to_timestamp(%s), %s, %s)"
_LAST = (
    "SELECT DISTINCT ON (asset_id) asset_id, event, extract(epoch FROM time)::float8, author, reason,"
    " extract(epoch FROM recorded_at)::float8 FROM asset_event ORDER BY asset_id, asset_event_id DESC"
)
_HISTORY = (
    "SELECT event, extract(epoch FROM time)::float8, author, reason FROM asset_event WHERE asset_id = %s"
    " ORDER BY asset_event_id DESC LIMIT 100"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An asset that somebody declared failed: since when (city time, s since 1970 UTC), who said so and why."""

    asset_id: str
    since: float
    author: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the failure as the API shows it."""
        return {"since": stamp(self.since), "author": self.author, "reason": self.reason}


class Equipment:
    """What is failed, and what that darkens.

    Parameters
    ----------
    network
        Its equipment and sensors.
    database
        Holds the table ``asset_event``.
    now
        Returns city time, s since 1970 UTC.
    """

    def __init__(self, network: Network, database: Database, *, now: Callable[[], float]) -> None:
        self._network, self._database, self._now = network, database, now
        self._lock = threading.RLock()
        self._failures: dict[str, Failure] = {}
        self._outage: Outage | None = None

    @property
    def outage(self) -> Outage | None:
        """What follows from all failures, with times in city time; None when nothing is failed."""
        return self._outage

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What is declared failed, the oldest first."""
        with self._lock:
            return tuple(sorted(self._failures.values(), key=lambda failure: (failure.since, failure.asset_id)))

    def take_up(self) -> None:
        """Take up the failures of earlier runs, but those of assets that this network does not have.

        Raises
        ------
        WorkError
            When the database cannot be read.
        """
        with self._lock:
            self._failures = {
                name: Failure(name, float(time), author, reason)
                for name, event, time, author, reason, _ in self._database.fetch(_LAST)
                if event == "failed" and name in self._network.assets.assets
            }
            self._settle()

    def fail(self, asset_id: str, *, author: str, reason: str = "", since: float | None = None) -> bool:
        """Declare an asset failed, stored before this returns; return whether it was not before.

        Parameters
        ----------
        since
            When it failed, city time; now unless given. Batteries run from then on.

        Raises
        ------
        InputError
            When no asset has the id, or the time has not come yet.
        WorkError
            When the database is away or refuses: nothing is changed then.
        """
        self._check(asset_id)
        now = self._now()
        if since is not None and since > now:
            raise InputError(f"since is {stamp(since)}, must not be after {stamp(now)}, the time in the city")
        with self._lock:
            if asset_id in self._failures:
                return False
            failure = Failure(asset_id, round(now if since is None else since, 3), author, reason)
            self._write(asset_id, "failed", failure.since, author, reason)
            self._failures[asset_id] = failure
            self._settle()
        return True

    def restore(self, asset_id: str, *, author: str, reason: str = "") -> bool:
        """Declare an asset restored from now on, stored before this returns; return whether it was failed.

        Raises
        ------
        InputError
            When no asset has the id.
        WorkError
            When the database is away or refuses: nothing is changed then.
        """
        self._check(asset_id)
        with self._lock:
            if asset_id not in self._failures:
                return False
            self._write(asset_id, "restored", self._now(), author, reason)
            del self._failures[asset_id]
            self._settle()
        return True

    def state(self, asset_id: str) -> dict[str, Any]:
        """Return how an asset is: ``working``, ``failed``, ``dark``, ``unheard`` or ``on_battery``, and why."""
        outage, now = self._outage, self._now()
        if outage is None:
            return {"state": "working", "because": "", "since": None, "failure": None}
        at = self._network.assets.position[asset_id]
        failure = self._failures.get(asset_id)
        lost, unheard = float(outage.lost_at[at]), float(outage.unheard_at[at])
        if failure is not None:
            state, since = "failed", failure.since
        elif lost <= now:
            state, since = "dark", lost
        elif unheard <= now:
            state, since = "unheard", unheard
        elif lost < float("inf"):
            state, since = "on_battery", lost
        elif unheard < float("inf"):
            state, since = "on_battery", unheard
        else:
            return {"state": "working", "because": "", "since": None, "failure": None}
        because = outage.because(asset_id) or outage.because(asset_id, heard=True)
        return {
            "state": state,
            "because": because,
            # Of one on its battery: when it will be dark.
            **({"since": None, "dark_at": stamp(since)} if state == "on_battery" else {"since": stamp(since)}),
            "failure": failure.to_json() if failure else None,
        }

    def history(self, asset_id: str) -> list[dict[str, Any]]:
        """Return what people said about an asset, newest first.

        Raises
        ------
        WorkError
            When the database cannot be read.
        """
        return [
            {"event": event, "time": stamp(float(time)), "author": author, "reason": reason}
            for event, time, author, reason in self._database.fetch(_HISTORY, (asset_id,))
        ]

    def dark_sensors(self, names: Collection[str] | None = None) -> dict[str, str]:
        """Return the sensors that are dark now, and why; of those that are named, or of all."""
        outage, now = self._outage, self._now()
        if outage is None:
            return {}
        sensors = {sensor.sensor_id: sensor for sensor in self._network.sensors}
        found = {}
        for sensor_id, time in outage.sensors(self._network.sensors).items():
            if time <= now and (names is None or sensor_id in names):
                found[sensor_id] = outage.because(sensors[sensor_id].asset_id or sensor_id, heard=True)
        return found

    def of_link(self, link_id: str) -> list[str]:
        """Return what is wrong with the equipment of a link and of the junction at its end, one sentence each."""
        outage, now, roads = self._outage, self._now(), self._network.compile()
        if outage is None or link_id not in self._network.links.position:
            return []
        node = roads.node_ids[int(roads.to_node[self._network.links.position[link_id]])]
        words = {"dark": "an all-way stop", "flashing": "a priority road"}
        found = [
            f"its junction is {words[signal.mode]}: {outage.because(signal.asset_id)}"
            for signal in outage.signals()
            if signal.node_id == node and signal.time <= now
        ]
        if outage.closed_links().get(link_id, float("inf")) <= now:
            carrier = next(a for a in outage.dark(at=now) if self._network.assets.assets[a].link_id == link_id)
            found.append(f"it is shut: {outage.because(carrier)}")
        return found

    def _check(self, asset_id: str) -> None:
        if asset_id not in self._network.assets.assets:
            raise InputError(f"asset {asset_id!r} is not in this network")

    def _settle(self) -> None:
        times = {failure.asset_id: failure.since for failure in self._failures.values()}
        self._outage = self._network.assets.outage(times) if times else None

    def _write(self, asset_id: str, event: str, time: float, author: str, reason: str) -> None:
        with self._database.connection() as connection:
            connection.execute(_INSERT.encode(), (asset_id, event, time, author, reason))
