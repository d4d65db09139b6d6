"""The equipment of the living city: what people declared failed, and what is dark because of it; kept over restarts."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from hub.show import stamp
from ingest.database import Database
from sensors import InputError
from twin import Network
from twin.outage import Outage, Step

Language = Literal["en", "zh"]
# How an asset that does not simply work may be, the worst first.
CONDITIONS = ("failed", "dark", "unheard", "on_battery")
_NEEDS_ZH = {"power": "供电", "structure": "支撑", "control": "控制", "comms": "通信"}
_STOPS = {
    "en": {"dark": "its junction is an all-way stop: {}", "flashing": "its junction is a priority road: {}"},
    "zh": {"dark": "路口信号熄灭，按全向停车让行：{}", "flashing": "路口信号黄闪，按主路优先：{}"},
}
_SHUT = {"en": "it is shut: {}", "zh": "路段关闭：{}"}
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
        outage = self._outage
        condition, since = ("working", None) if outage is None else self._condition(outage, asset_id, self._now())
        if outage is None or condition == "working":
            return {"state": "working", "because": "", "because_zh": "", "since": None, "failure": None}
        failure = self._failures.get(asset_id)
        heard = not outage.because(asset_id)
        return {
            "state": condition,
            "because": outage.because(asset_id, heard=heard),
            "because_zh": in_chinese(outage.reason(asset_id, heard=heard)),
            # Of one on its battery: when it will be dark.
            **({"since": None, "dark_at": stamp(since)} if condition == "on_battery" else {"since": stamp(since)}),
            "failure": failure.to_json() if failure else None,
        }

    def conditions(self) -> dict[str, str]:
        """Return how each asset is that does not simply work, the worst first."""
        outage, now = self._outage, self._now()
        if outage is None:
            return {}
        names = tuple(self._network.assets.assets)
        touched = np.flatnonzero(np.isfinite(outage.lost_at) | np.isfinite(outage.unheard_at)).tolist()
        found = {names[at]: self._condition(outage, names[at], now)[0] for at in touched}
        return dict(sorted(found.items(), key=lambda row: (CONDITIONS.index(row[1]), row[0])))

    def _condition(self, outage: Outage, asset_id: str, now: float) -> tuple[str, float | None]:
        """Return how an asset is and since when; of one on its battery when that will be empty."""
        at = self._network.assets.position[asset_id]
        failure = self._failures.get(asset_id)
        lost, unheard = float(outage.lost_at[at]), float(outage.unheard_at[at])
        if failure is not None:
            return "failed", failure.since
        if lost <= now:
            return "dark", lost
        if unheard <= now:
            return "unheard", unheard
        first = lost if lost < float("inf") else unheard
        return ("on_battery", first) if first < float("inf") else ("working", None)

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

    def dark_sensors(self, names: Collection[str] | None = None, *, language: Language = "en") -> dict[str, str]:
        """Return the sensors that are dark now, and why; of those that are named, or of all."""
        outage, now = self._outage, self._now()
        if outage is None:
            return {}
        sensors = {sensor.sensor_id: sensor for sensor in self._network.sensors}
        found = {}
        for sensor_id, time in outage.sensors(self._network.sensors).items():
            if time <= now and (names is None or sensor_id in names):
                found[sensor_id] = _why(outage, sensors[sensor_id].asset_id or sensor_id, language, heard=True)
        return found

    def of_link(self, link_id: str, *, language: Language = "en") -> list[str]:
        """Return what is wrong with the equipment of a link and of the junction at its end, one sentence each."""
        outage, now, roads = self._outage, self._now(), self._network.compile()
        if outage is None or link_id not in self._network.links.position:
            return []
        node = roads.node_ids[int(roads.to_node[self._network.links.position[link_id]])]
        found = [
            _STOPS[language][signal.mode].format(_why(outage, signal.asset_id, language))
            for signal in outage.signals()
            if signal.node_id == node and signal.time <= now
        ]
        if outage.closed_links().get(link_id, float("inf")) <= now:
            carrier = next(a for a in outage.dark(at=now) if self._network.assets.assets[a].link_id == link_id)
            found.append(_SHUT[language].format(_why(outage, carrier, language)))
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


def in_chinese(steps: Sequence[Step]) -> str:
    """Return a reason path (`Outage.reason`) as one Chinese sentence, from the cause on.

    Examples
    --------
    >>> in_chinese([Step("FDR-01", 0.0, "failed"), Step("CAB-02", 1800.0, "power", 1800.0)])
    'FDR-01失效，CAB-02失去FDR-01的供电且电池（30分钟）耗尽'
    """
    if not steps:
        return ""
    words = [f"{steps[0].asset_id}失效"] if steps[0].kind == "failed" else []
    for before, step in pairwise(steps):
        battery = f"且电池（{step.battery_s / 60:.3g}分钟）耗尽" if step.battery_s else ""
        words.append(f"{step.asset_id}失去{before.asset_id}的{_NEEDS_ZH.get(step.kind, step.kind)}{battery}")
    return "，".join(words)


def _why(outage: Outage, asset_id: str, language: Language, *, heard: bool = False) -> str:
    if language == "en":
        return outage.because(asset_id, heard=heard)
    return in_chinese(outage.reason(asset_id, heard=heard))
