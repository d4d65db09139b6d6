"""Equipment of the city and what it depends on: signals, cabinets, feeders, switches, detectors, cameras.

The graph points from an asset to what it needs (``depends_on``): its descendants are *upstream*, what carries it; its
ancestors are *downstream*, what it carries. What is asked of all assets at once is answered on arrays
(`twin.asset_arrays`), made at the first question.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from sensors import InputError
from twin.asset_arrays import AssetArrays, Int, compile_assets
from twin.causes import Cause, common_causes
from twin.nodes import to_degrees
from twin.outage import Outage, Step
from twin.tables import Table
from twin.units import Units
from twin.weak_points import WeakPoint, single_points_of_failure

KINDS = ("power", "comms", "control", "structure")
NEEDS = ("all", "any")


@dataclass(frozen=True, slots=True)
class Asset:
    """One row of ``asset.csv``.

    Parameters
    ----------
    asset_id
        Unique.
    kind
        ``signal``, ``cabinet``, ``feeder``, ``switch``, ``detector``, ``camera``, ... (free text).
    name, name_zh
        For people.
    lon_lat : degrees
        Its place, None when unknown.
    node_id, link_id
        What it stands at or serves, or ``""``.
    owner
        Owning department, or ``""``.
    degraded_mode
        What the street is without it: ``all_way_stop``, ``flashing``, ``dark``, ... (free text).
    autonomy_s
        How long it lives on its own battery when its supply fails; 0 without one.
    """

    asset_id: str
    kind: str
    name: str = ""
    name_zh: str = ""
    lon_lat: tuple[float, float] | None = None
    node_id: str = ""
    link_id: str = ""
    owner: str = ""
    degraded_mode: str = ""
    autonomy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """One row of ``dependency.csv``: an asset needs another.

    Parameters
    ----------
    asset_id, depends_on
        The asset, and what it needs.
    kind
        ``power``, ``comms``, ``control`` or ``structure``.
    need
        ``all``: it fails with this one; ``any``: it fails when all of its ``group`` have failed.
    group
        Names alternatives; the kind when nothing is given.
    autonomy_s
        How long the asset lives on without this one.
    """

    asset_id: str
    depends_on: str
    kind: str = "power"
    need: str = "all"
    group: str = ""
    autonomy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TimeToDark:
    """How long an asset still works (s; infinite when it lives on), the steps to its end, and these in words."""

    seconds: float
    reason: tuple[Step, ...]
    because: str


@dataclass(frozen=True)
class AssetGraph:
    """All assets and dependencies.

    Examples
    --------
    >>> graph = AssetGraph(
    ...     {name: Asset(name, kind) for name, kind in (("F1", "feeder"), ("C1", "cabinet"), ("S1", "signal"))},
    ...     (Dependency("C1", "F1"), Dependency("S1", "C1", kind="control")),
    ... )
    >>> graph.downstream("F1"), graph.upstream("S1")
    (('C1', 'S1'), ('F1', 'C1'))
    """

    assets: Mapping[str, Asset]
    dependencies: tuple[Dependency, ...] = ()

    def __len__(self) -> int:
        return len(self.assets)

    @cached_property
    def graph(self) -> "nx.MultiDiGraph[str]":
        """The dependencies as a graph.

        Every node carries ``asset`` (an `Asset`), every edge from an asset to what it needs ``dependency`` (a
        `Dependency`) and its ``kind``, ``need``, ``group`` and ``autonomy_s``. An asset may need another in two ways.
        """
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for name, asset in self.assets.items():
            graph.add_node(name, asset=asset)
        for d in self.dependencies:
            graph.add_edge(
                d.asset_id,
                d.depends_on,
                dependency=d,
                kind=d.kind,
                need=d.need,
                group=d.group,
                autonomy_s=d.autonomy_s,
            )
        return graph

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each asset in the order of ``asset.csv``."""
        return {name: i for i, name in enumerate(self.assets)}

    @cached_property
    def kinds(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.object_]]":
        """Kind of each asset, (n_assets,)."""
        return np.array([asset.kind for asset in self.assets.values()], object)

    @cached_property
    def kind_numbers(self) -> tuple[tuple[str, ...], Int]:
        """The kinds that there are, and the position of each asset's kind among them, (n_assets,)."""
        numbers: dict[str, int] = {}
        at = [numbers.setdefault(asset.kind, len(numbers)) for asset in self.assets.values()]
        return tuple(numbers), np.array(at, np.int64)

    @cached_property
    def signal_heads(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        """Which assets are signal heads, (n_assets,)."""
        return np.asarray(self.kinds == "signal", np.bool_)

    @cached_property
    def arrays(self) -> AssetArrays:
        """The compiled form; the first use makes it."""
        return compile_assets(self)

    @cached_property
    def _needs(self) -> tuple[tuple[Int, Int], tuple[Int, Int]]:
        """Who needs whom, and who is needed by whom: where the row of each asset begins, and the positions in it."""
        n = len(self.assets)
        ends = [(self.position[d.asset_id], self.position[d.depends_on]) for d in self.dependencies]
        of, to = np.array(ends, np.int64).reshape(-1, 2).T
        return _rows(of, to, n), _rows(to, of, n)

    def _reached(self, i: int, direction: int) -> Int:
        from twin.asset_passes import reached

        return np.sort(np.asarray(reached(i, *self._needs[direction]), np.int64))

    def downstream(self, asset_id: str) -> tuple[str, ...]:
        """Return the assets that need this one, directly or not, in the order of ``asset.csv``.

        Some of them may have another supply and live on without it: `outage` says which fail.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        self.assets[asset_id]
        return self.named(self._reached(self.position[asset_id], 1))

    def upstream(self, asset_id: str) -> tuple[str, ...]:
        """Return the assets that this one needs, directly or not, in the order of ``asset.csv``.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        self.assets[asset_id]
        return self.named(self._reached(self.position[asset_id], 0))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Ids of the assets in the order of ``asset.csv``."""
        return tuple(self.assets)

    @cached_property
    def ids(self) -> frozenset[str]:
        """The same without order."""
        return frozenset(self.assets)

    def named(self, positions: Int) -> tuple[str, ...]:
        """Return the ids of the assets at some positions."""
        return tuple(self.names[i] for i in positions.tolist())

    def path(self, asset_id: str, depends_on: str) -> tuple[Dependency, ...]:
        """Return the shortest chain of dependencies from an asset to another that it needs, empty without one.

        Raises
        ------
        KeyError
            When no asset has an id.
        """
        for name in (asset_id, depends_on):
            self.assets[name]
        try:
            chain = nx.shortest_path(self.graph, asset_id, depends_on)
        except nx.NetworkXNoPath:
            return ()
        return tuple(next(iter(self.graph[a][b].values()))["dependency"] for a, b in itertools.pairwise(chain))

    def outage(self, failed: Mapping[str, float] | Iterable[str]) -> Outage:
        """Return what goes dark, when and why, after assets failed at their times (s of any clock; 0 without times).

        Raises
        ------
        InputError
            When no asset has an id, or a time is not a number.
        """
        times = dict(failed) if isinstance(failed, Mapping) else dict.fromkeys(failed, 0.0)
        wrong = [f"asset {name!r} is not in asset.csv" for name in times if name not in self.assets]
        wrong += [
            f"asset {name}: fails at {t}, must be a time in seconds" for name, t in times.items() if math.isnan(t)
        ]
        if wrong:
            raise InputError(wrong)
        own = np.full(len(self.assets), np.inf)
        for name, time in times.items():
            own[self.position[name]] = time
        lost, cause = self.arrays.lost(own)
        for column in (lost, cause):
            column.flags.writeable = False
        n = len(self.assets)
        return Outage(self, times, lost[:n], lost[n:], cause)

    def time_to_dark(
        self, asset_id: str, at: float = 0.0, *, failed: Mapping[str, float] | Iterable[str] | None = None
    ) -> "TimeToDark":
        """Return how long an asset works from a time on, and why no longer.

        Parameters
        ----------
        asset_id
            Which asset.
        at : s
            From when.
        failed
            What has failed, and when; unless given, the supplies at the top of all that it needs fail at ``at``, which
            tells how long its batteries and theirs last.

        Raises
        ------
        KeyError
            When no asset has the id.
        InputError
            When no asset has one of the ids of ``failed``.
        """
        self.assets[asset_id]
        if failed is None:
            fed = {d.asset_id for d in self.dependencies if d.kind == "power"}
            above = [name for name in self.upstream(asset_id) if name not in fed]
            failed = dict.fromkeys(above or [asset_id], at)
        outage = self.outage(failed)
        return TimeToDark(outage.time_to_dark(asset_id, at), outage.reason(asset_id), outage.because(asset_id))

    def common_cause(
        self,
        dark: Collection[str],
        *,
        working: Collection[str] = (),
        watched: Collection[str] | None = None,
        failures_per_year: Mapping[str, float] | None = None,
    ) -> list[Cause]:
        """Return what may have failed when assets are dark, the most likely first; see `twin.causes`.

        Raises
        ------
        InputError
            When no asset has an id, or a rate is not positive.
        """
        return common_causes(self, dark, working=working, watched=watched, failures_per_year=failures_per_year)

    def single_points_of_failure(self) -> list[WeakPoint]:
        """Return the assets that alone take others along, those that darken most first; see `twin.weak_points`."""
        return single_points_of_failure(self)

    def served(self, asset_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the nodes and the links that an asset and its downstream serve.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        chain = [self.assets[name] for name in (asset_id, *self.downstream(asset_id))]
        nodes = dict.fromkeys(asset.node_id for asset in chain if asset.node_id)
        links = dict.fromkeys(asset.link_id for asset in chain if asset.link_id)
        return tuple(nodes), tuple(links)

    def feeds_from_outside(self, asset_id: str) -> bool:
        """Return whether the circle that an asset is in could have started from what feeds it from outside.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        at, arrays = self.position[asset_id], self.arrays
        return any(bool(arrays.founded[arrays.part[state]]) for state in (at, at + arrays.n))

    def cycles(self) -> list[tuple[str, ...]]:
        """Return the sets of assets that need each other in a circle, each in the order of ``asset.csv``."""
        order = self.position
        rings = [tuple(sorted(part, key=order.__getitem__)) for part in nx.strongly_connected_components(self.graph)]
        loops = {name for name in self.assets if self.graph.has_edge(name, name)}
        return sorted((r for r in rings if len(r) > 1 or r[0] in loops), key=lambda r: order[r[0]])


def _rows(of: Int, to: Int, n: int) -> tuple[Int, Int]:
    order = np.argsort(of, kind="stable")
    return np.searchsorted(of[order], np.arange(n + 1)), to[order]


def read_assets(
    table: Table, dependency: Table, units: Units, *, nodes: Mapping[str, int], link_ids: Mapping[str, int]
) -> AssetGraph:
    """Return the assets of ``asset.csv`` and ``dependency.csv``; every fault is noted in the tables."""
    if not len(table):
        if len(dependency):
            dependency.faults.append("dependency.csv: has rows, but there is no asset.csv that names their assets")
        return AssetGraph({})
    if not table.requires("asset_id", "kind"):
        return AssetGraph({})
    ids = table.ids("asset_id")
    x, y = table.numbers("x_coord"), table.numbers("y_coord")
    places = to_degrees(table, x, y, units)
    table.references("node_id", nodes, "node.csv", optional=True)
    table.references("link_id", link_ids, "link.csv", optional=True)
    autonomy = table.numbers("autonomy_s", default=0.0, least=0)
    assets = {
        name: Asset(
            asset_id=name,
            kind=row.get("kind", "").lower(),
            name=row.get("name", ""),
            name_zh=row.get("name_zh", ""),
            lon_lat=(float(places[i, 0]), float(places[i, 1])) if np.isfinite(places[i]).all() else None,
            node_id=row.get("node_id", ""),
            link_id=row.get("link_id", ""),
            owner=row.get("owner", ""),
            degraded_mode=row.get("degraded_mode", ""),
            autonomy_s=float(autonomy[i]),
        )
        for name, i in ids.items()
        for row in (table.rows[i],)
    }
    return AssetGraph(assets, tuple(_dependencies(dependency, ids, assets)))


def _dependencies(table: Table, ids: Mapping[str, int], assets: Mapping[str, Asset]) -> list[Dependency]:
    if not len(table) or not table.requires("asset_id", "depends_on"):
        return []
    ends = table.references("asset_id", ids, "asset.csv"), table.references("depends_on", ids, "asset.csv")
    autonomy = table.numbers("autonomy_s", least=0)
    kinds, needs = table.text("kind", "power"), table.text("need", "all")
    found = []
    for index, row in enumerate(table.rows):
        for column, value, known in (("kind", kinds[index], KINDS), ("need", needs[index], NEEDS)):
            if value.lower() not in known:
                table.fault(index, f"{column} is {value!r}, must be {', '.join(known[:-1])} or {known[-1]}")
        if ends[0][index] < 0 or ends[1][index] < 0:
            continue
        kind = kinds[index].lower()
        own = assets[row["asset_id"]].autonomy_s
        found.append(
            Dependency(
                asset_id=row["asset_id"],
                depends_on=row["depends_on"],
                kind=kind,
                need=needs[index].lower(),
                group=row.get("group", "") or kind,
                # A battery bridges a supply, not a lost controller: only power takes the asset's own autonomy.
                autonomy_s=float(autonomy[index]) if np.isfinite(autonomy[index]) else own * (kind == "power"),
            )
        )
    return found
