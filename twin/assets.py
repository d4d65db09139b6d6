"""Equipment of the city and what it depends on: signals, cabinets, feeders, switches, detectors, cameras.

The graph points from an asset to what it needs (``depends_on``): its descendants are *upstream*, what carries it; its
ancestors are *downstream*, what it carries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from twin.nodes import to_degrees
from twin.tables import Table
from twin.units import Units

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

    def _ordered(self, found: "set[str]", asset_id: str) -> tuple[str, ...]:
        order = {name: i for i, name in enumerate(self.assets)}
        return tuple(sorted(found - {asset_id}, key=order.__getitem__))

    def downstream(self, asset_id: str) -> tuple[str, ...]:
        """Return the assets that need this one, directly or not, in the order of ``asset.csv``.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        self.assets[asset_id]
        return self._ordered(nx.ancestors(self.graph, asset_id), asset_id)

    def upstream(self, asset_id: str) -> tuple[str, ...]:
        """Return the assets that this one needs, directly or not, in the order of ``asset.csv``.

        Raises
        ------
        KeyError
            When no asset has the id.
        """
        self.assets[asset_id]
        return self._ordered(nx.descendants(self.graph, asset_id), asset_id)

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

    def cycles(self) -> list[tuple[str, ...]]:
        """Return the sets of assets that need each other in a circle, each in the order of ``asset.csv``."""
        order = {name: i for i, name in enumerate(self.assets)}
        rings = [tuple(sorted(part, key=order.__getitem__)) for part in nx.strongly_connected_components(self.graph)]
        loops = {name for name in self.assets if self.graph.has_edge(name, name)}
        return sorted((r for r in rings if len(r) > 1 or r[0] in loops), key=lambda r: order[r[0]])


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
