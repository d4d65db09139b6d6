"""An outage: which assets fail with those that failed, when, why, and what that does to the street and its sensors."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sensors import Sensor
from twin.asset_arrays import Float, Int

if TYPE_CHECKING:
    from twin.assets import Asset, AssetGraph

DARK, FLASHING = "dark", "flashing"
SIGNAL_KINDS = ("signal", "controller")
CLOSED = "closed"  # the degraded mode of a bridge, a barrier or a tunnel whose link is shut without it


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reason path.

    Parameters
    ----------
    asset_id
        What is lost.
    time : s
        When.
    kind
        ``failed`` for the one that failed by itself, else ``power``, ``comms``, ``control`` or ``structure``: what it
        has lost of the asset of the step before.
    battery_s
        How long a battery bridged that.
    """

    asset_id: str
    time: float
    kind: str
    battery_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DarkSignal:
    """A node whose signal is lost from ``time`` on: ``dark`` is an all-way stop, ``flashing`` a priority road."""

    node_id: str
    mode: str
    time: float
    asset_id: str


@dataclass(frozen=True)
class Outage:
    """What follows from assets that failed at their times; made by `AssetGraph.outage`.

    Parameters
    ----------
    graph
        Assets and dependencies.
    failed
        When each of them failed by itself, s of any clock.
    lost_at, unheard_at : (n_assets,) s
        When each asset stops to work, and when nobody hears it any more (not later), in the order of ``graph.assets``;
        infinite for those that live on.

    Examples
    --------
    >>> from twin.assets import Asset, AssetGraph, Dependency
    >>> graph = AssetGraph(
    ...     {name: Asset(name, kind) for name, kind in (("F1", "feeder"), ("C1", "cabinet"), ("V1", "camera"))},
    ...     (Dependency("C1", "F1", autonomy_s=3600), Dependency("V1", "C1")),
    ... )
    >>> outage = graph.outage({"F1": 100.0})
    >>> outage.dark(at=100.0), outage.dark(at=3700.0)
    (('F1',), ('F1', 'C1', 'V1'))
    >>> print(outage.because("V1"))
    V1 has no power from C1, which has no power from F1 and an empty battery (60 min), which failed
    """

    graph: "AssetGraph"
    failed: Mapping[str, float]
    lost_at: Float
    unheard_at: Float
    _cause: Int

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.graph.assets)

    def dark(self, *, at: float = math.inf) -> tuple[str, ...]:
        """Return the assets that do not work at a time, or ever, in the order of ``asset.csv``."""
        return tuple(self._names[i] for i in np.flatnonzero(_by(self.lost_at, at)).tolist())

    def unheard(self, *, at: float = math.inf) -> tuple[str, ...]:
        """Return the assets of which nobody hears at a time, the dark ones among them."""
        return tuple(self._names[i] for i in np.flatnonzero(_by(self.unheard_at, at)).tolist())

    def reason(self, asset_id: str, *, heard: bool = False) -> tuple[Step, ...]:
        """Return the steps from the failure to an asset, the failure first; empty when it lives.

        Parameters
        ----------
        heard
            Why nobody hears it, not why it does not work.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        arrays = self.graph.arrays
        self.graph.assets[asset_id]
        state = self.graph.position[asset_id] + arrays.n * heard
        times = np.concatenate([self.lost_at, self.unheard_at])
        if not np.isfinite(times[state]):
            return ()
        steps: list[Step] = []
        seen: set[int] = set()
        while state not in seen:  # within a ring of feeders two may name each other
            seen.add(state)
            member = int(self._cause[state])
            name, time = self._names[state % arrays.n], float(times[state])
            if member < 0:
                steps.append(Step(name, time, "failed"))
                break
            number = int(arrays.dependency[member])
            if number >= 0:
                need = self.graph.dependencies[number]
                steps.append(Step(name, time, need.kind, float(arrays.autonomy[member])))
            state = int(arrays.member[member])
        return tuple(reversed(steps))

    def because(self, asset_id: str, *, heard: bool = False) -> str:
        """Return the reason path as one sentence, ``""`` when the asset lives."""
        steps = self.reason(asset_id, heard=heard)
        if not steps:
            return ""
        words = [steps[-1].asset_id]
        for step, before in zip(reversed(steps[1:]), reversed(steps[:-1]), strict=True):
            battery = f" and an empty battery ({step.battery_s / 60:.3g} min)" if step.battery_s else ""
            words.append(f"has no {step.kind} from {before.asset_id}{battery}, which")
        text = " ".join(words)
        return f"{text} failed" if steps[0].kind == "failed" else text.removesuffix(", which")

    def signals(self, *, signalised: Iterable[str] | None = None) -> tuple[DarkSignal, ...]:
        """Return the nodes whose signal is lost, ever, by node.

        The degraded mode of ``asset.csv`` says how: ``flashing`` gives the major road priority, all others, and none,
        are an all-way stop. Who loses its controller does what the controller's degraded mode says, unless that one is
        without power itself. Of a signal head and its controller the head counts.

        Parameters
        ----------
        signalised
            Nodes with a signal; those at which an asset of kind ``signal`` or ``controller`` stands unless given.
        """
        wanted = None if signalised is None else frozenset(signalised)
        of_node: dict[str, list[tuple[bool, str, float, str]]] = {}
        for i in np.flatnonzero(np.isfinite(self.lost_at)).tolist():
            asset = self.graph.assets[self._names[i]]
            if asset.kind in SIGNAL_KINDS and asset.node_id and (wanted is None or asset.node_id in wanted):
                found = (asset.kind == "signal", self._mode(i)[1], float(self.lost_at[i]), asset.asset_id)
                of_node.setdefault(asset.node_id, []).append(found)
        result = []
        for node, lost in sorted(of_node.items()):
            heads = [entry for entry in lost if entry[0]] or lost
            flashing = all("flash" in mode.lower() for _, mode, _, _ in heads)
            _, _, time, asset_id = min(lost, key=lambda entry: entry[2])
            result.append(DarkSignal(node, FLASHING if flashing else DARK, time, asset_id))
        return tuple(result)

    def _mode(self, i: int) -> tuple[bool, str]:
        """Return whether an asset is without power, and what it does: its degraded mode, or its controller's."""
        arrays, chain = self.graph.arrays, []
        while i not in chain:
            chain.append(i)
            member = int(self._cause[i])
            if member < 0:
                break
            i = int(arrays.member[member])
        dead, mode = False, ""
        for place, k in enumerate(reversed(chain)):
            asset: Asset = self.graph.assets[self._names[k]]
            member = int(self._cause[k])
            if place and self.graph.dependencies[int(arrays.dependency[member])].kind == "control" and not dead:
                continue  # goes on as its controller's mode says
            dead = bool(place) or asset.kind not in SIGNAL_KINDS
            mode = asset.degraded_mode
        return dead, mode

    def closed_links(self) -> dict[str, float]:
        """Return the links that are shut since what carries them is lost (degraded mode ``closed``), and since when."""
        links: dict[str, float] = {}
        for i in np.flatnonzero(np.isfinite(self.lost_at)).tolist():
            asset = self.graph.assets[self._names[i]]
            if asset.degraded_mode.lower() == CLOSED and asset.link_id:
                links[asset.link_id] = min(links.get(asset.link_id, math.inf), float(self.lost_at[i]))
        return links

    def sensors(self, sensors: Iterable[Sensor]) -> dict[str, float]:
        """Return when each sensor goes dark with the asset that it is part of; those that live are left out.

        A sensor is part of its ``asset_id``; without one of the asset that has its id.
        """
        position = self.graph.position
        found: dict[str, float] = {}
        for sensor in sensors:
            at = position.get(sensor.asset_id or sensor.sensor_id)
            if at is not None and np.isfinite(self.unheard_at[at]):
                found[sensor.sensor_id] = float(self.unheard_at[at])
        return found

    def time_to_dark(self, asset_id: str, at: float) -> float:
        """Return how long an asset still works at a time, s: 0 when it is dark already, infinite when it lives on.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        self.graph.assets[asset_id]
        return max(0.0, float(self.lost_at[self.graph.position[asset_id]]) - at)


def _by(times: Float, at: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    return np.isfinite(times) & (times <= at)
