"""What the rows of demand, trips, densities and scenarios may name: nodes, links, zones and assets of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensors import InputError
from twin import Network
from twin.compiled import CompiledNetwork, Float, Int
from twin.gmns import read_folder
from twin.tables import Table, Unreadable


@dataclass(frozen=True, slots=True)
class Places:
    """The ids of a network by kind; those of a table that cannot be read hold every id, so that no row is blamed.

    Parameters
    ----------
    nodes, links, assets
        Position of each id.
    zones
        Number of nodes at which each loads, -1 where that is not known.
    node_ids
        In the order of ``nodes``.
    from_node, to_node : (n_links,)
        Node positions; None while the network has faults.
    jam_density : (n_links,) veh/m over all lanes
    """

    nodes: Mapping[str, int]
    links: Mapping[str, int]
    zones: Mapping[str, int]
    assets: Mapping[str, int]
    node_ids: tuple[str, ...] = ()
    from_node: Int | None = None
    to_node: Int | None = None
    jam_density: Float | None = None

    @classmethod
    def of(cls, network: Network) -> "Places":
        """Return the places of a network."""
        roads = network.compile()
        return cls(
            nodes=network.nodes.position,
            links=network.links.position,
            zones={zone: len(nodes) for zone, nodes in network.zones.items()},
            assets={name: k for k, name in enumerate(network.assets.assets)},
            node_ids=roads.node_ids,
            from_node=roads.from_node,
            to_node=roads.to_node,
            jam_density=roads.jam_density,
        )

    @classmethod
    def of_folder(cls, folder: Path) -> "Places":
        """Return the places of a folder whose network has faults, so that the other files can be checked too."""
        try:
            tables = read_folder(folder, [])
        except InputError:
            return cls(Unreadable(), Unreadable(), Unreadable(), Unreadable())
        link = tables["link"]
        links = _ids(link, "link_id")
        if not isinstance(links, Unreadable):
            directed = link.flags("directed", default=True)
            names = [f"{name}-r" for name, one_way in zip(link.text("link_id"), directed, strict=True) if not one_way]
            links = {name: k for k, name in enumerate([*links, *names])}
        zones: Mapping[str, int] = {}
        for name in ("zone", "zone_node", "node"):
            if not tables[name].readable:
                zones = Unreadable()
                break
            zones = {**zones, **dict.fromkeys(filter(None, tables[name].text("zone_id")), -1)}
        return cls(_ids(tables["node"], "node_id"), links, zones, _ids(tables["asset"], "asset_id"))


def _ids(table: Table, column: str) -> Mapping[str, int]:
    """Return the ids of a table; every id for one that cannot be read or has no such column."""
    if not table.readable or (len(table) and column not in table.columns):
        return Unreadable()
    return {name: k for k, name in enumerate(dict.fromkeys(filter(None, table.text(column))))}


def densities_of(path: Path, places: Places, faults: list[str]) -> dict[str, float]:
    """Return the density of each link of a table (veh/m), faults noted; links that it leaves out are empty."""
    found: list[str] = []
    table = Table.read(path, found)
    density = np.zeros(0)
    if table.requires("link_id", "density_veh_km"):
        table = Table("link", table.rows, table.lines, found, table.columns)
        table.ids("link_id")
        at = table.references("link_id", places.links, "link.csv", optional=True)
        density = table.numbers("density_veh_km", least=0.0, required=True) / 1000.0
        if places.jam_density is not None:
            jam = np.where(at >= 0, places.jam_density[at], np.inf)
            for row in np.flatnonzero(density > jam * (1 + 1e-9)).tolist():
                table.fault(row, _too_dense(density[row], jam[row]))
    faults += [of_file(fault, table.name, path) for fault in dict.fromkeys(found)]
    return dict(zip(table.text("link_id"), density.tolist(), strict=False))


def density_faults(city: CompiledNetwork, densities: Mapping[str, float], label: str) -> list[str]:
    """Return a sentence for each density above the jam density of its link, or of a link that there is not."""
    position = {name: k for k, name in enumerate(city.link_ids)} if densities else {}
    faults = []
    for name, density in densities.items():
        if name not in position:
            faults.append(f"{label}: link {name!r} is not in link.csv")
            continue
        jam = float(city.jam_density[position[name]])
        if not 0.0 <= density <= jam * (1 + 1e-9):
            faults.append(f"{label}: link {name}: {_too_dense(density, jam)}")
    return faults


def _too_dense(density: float, jam: float) -> str:
    return f"density_veh_km is {density * 1000:g}, must be 0 to the link's jam density, {jam * 1000:g} over all lanes"


def of_file(fault: str, name: str, path: Path) -> str:
    """Return a fault of table ``name`` with the name of the file as the user gave it."""
    return fault.replace(f"{name}.csv", path.name, 1) if fault.startswith(f"{name}.csv") else fault
