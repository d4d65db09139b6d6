"""What one version of a network has that another has not, in words and on the map."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.geometry import Float, step_lengths
from twin.gmns import COLUMNS
from twin.links import CLASS_NAMES
from twin.network import Network
from twin.signal import SignalPlan

MOVED_M = 0.5  # a node or a line that lies elsewhere by less is where it was: digits of a degree are cut


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was added, removed or changed.

    Parameters
    ----------
    kind
        ``added``, ``removed`` or ``changed``.
    what
        ``node``, ``link``, ``turn``, ``signal``, ``sensor``, ``asset`` or ``dependency``.
    id
        Its id; of a turn both links, ``a > b``; of a dependency both assets, ``a < b`` for a that needs b.
    text
        What is different, in words; empty where there is nothing to say.
    line : (k, 2) degrees
        Where it is, one point or more; None for what has no place.
    """

    kind: str
    what: str
    id: str
    text: str
    line: Float | None

    def __str__(self) -> str:
        return f"{self.kind} {self.what} {self.id}" + (f": {self.text}" if self.text else "")


def differences(before: Network, after: Network) -> list[Change]:
    """Return what changed from one network to another: nodes, links, turns, signals, sensors, assets, each by its id.

    Turns of links that were added or removed come and go with them and are not listed.

    Examples
    --------
    >>> nodes = [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30.0} for k, n in enumerate("AB")]
    >>> link = {"link_id": "L", "from_node_id": "A", "to_node_id": "B", "free_speed": 50, "length": 96}
    >>> wide, narrow = (Network.from_tables({"node": nodes, "link": [{**link, "lanes": k}]}) for k in (2, 1))
    >>> [str(change) for change in differences(wide, narrow)]
    ['changed link L: lanes 2 -> 1']
    """
    return [
        *_nodes(before, after),
        *_links(before, after),
        *_turns(before, after),
        *_signals(before, after),
        *_rows("sensor", before, after),
        *_rows("asset", before, after),
        *_dependencies(before, after),
    ]


def to_geojson(changes: list[Change]) -> dict[str, Any]:
    """Return changes as a GeoJSON FeatureCollection (RFC 7946); what has no place has no geometry."""

    def geometry(line: Float | None) -> dict[str, Any] | None:
        if line is None:
            return None
        points = np.round(line, 7).tolist()
        return (
            {"type": "LineString", "coordinates": points}
            if len(points) > 1
            else {
                "type": "Point",
                "coordinates": points[0],
            }
        )

    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": geometry(change.line),
                "properties": {"change": change.kind, "what": change.what, "id": change.id, "text": change.text},
            }
            for change in changes
        ],
    }


def _sides(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield ids with what became of them, in order of the networks."""
    for name in before:
        yield ("changed" if name in after else "removed"), name
    for name in after:
        if name not in before:
            yield "added", name


def _nodes(before: Network, after: Network) -> Iterator[Change]:
    for kind, name in _sides(before.nodes.position, after.nodes.position):
        here = after if kind == "added" else before
        place = here.nodes.lon_lat[here.nodes.position[name]][None]
        if kind != "changed":
            yield Change(kind, "node", name, "", place)
            continue
        a, b = before.nodes.position[name], after.nodes.position[name]
        words = []
        new = after.nodes.lon_lat[b]
        away = float(step_lengths(np.stack([place[0], new]))[0])
        if away > MOVED_M:
            words.append(f"moved by {away:,.0f} m" if away >= 10 else f"moved by {away:.1f} m")
        for label, column in (("name", "names"), ("Chinese name", "names_zh"), ("control", "ctrl_types")):
            words += _word(label, getattr(before.nodes, column)[a], getattr(after.nodes, column)[b])
        if words:
            yield Change(kind, "node", name, ", ".join(words), new[None])


def _links(before: Network, after: Network) -> Iterator[Change]:
    for kind, name in _sides(before.links.position, after.links.position):
        if kind != "changed":
            here = after if kind == "added" else before
            k = here.links.position[name]
            yield Change(kind, "link", name, _described(here, k), here.links.geometry[k])
            continue
        a, b = before.links.position[name], after.links.position[name]
        if words := _link_words(before, a, after, b):
            yield Change(kind, "link", name, ", ".join(words), after.links.geometry[b])


def _described(network: Network, k: int) -> str:
    links = network.links
    street = f"{links.names[k]}, " if links.names[k] else ""
    ends = f"{network.nodes.ids[links.from_node[k]]} to {network.nodes.ids[links.to_node[k]]}"
    lanes = f"{links.lanes[k]} lane" + ("s" if links.lanes[k] != 1 else "")
    return f"{street}{ends}, {links.length[k]:,.0f} m, {lanes}, {links.free_speed[k] * 3.6:.0f} km/h"


def _link_words(before: Network, a: int, after: Network, b: int) -> list[str]:
    one, two = before.links, after.links
    words: list[str] = []
    for label, nodes in (("from", "from_node"), ("to", "to_node")):
        ends = [n.nodes.ids[getattr(n.links, nodes)[k]] for n, k in ((before, a), (after, b))]
        words += _word(label, *ends)
    for label, column, unit, factor in (
        ("lanes", "lanes", "", 1.0),
        ("free speed", "free_speed", " km/h", 3.6),
        ("capacity", "capacity", " veh/h", 3600.0),
        ("length", "length", " m", 1.0),
        ("jam density", "jam_density", " veh/km", 1000.0),
        ("wave speed", "wave_speed", " km/h", 3.6),
        ("priority", "priority", " veh/h", 3600.0),
    ):
        old, new = float(getattr(one, column)[a]) * factor, float(getattr(two, column)[b]) * factor
        # Capacity and jam density over all lanes follow the lanes: only what differs beside them is told.
        scale = one.lanes[a] / two.lanes[b] if column in ("capacity", "jam_density", "priority") else 1.0
        if abs(new * scale - old) > 1e-6 * max(1.0, abs(old)):
            words.append(f"{label} {old:,.4g}{unit} -> {new:,.4g}{unit}" if unit else f"{label} {old:g} -> {new:g}")
    words += _word("class", CLASS_NAMES[one.link_class[a]], CLASS_NAMES[two.link_class[b]])
    words += _word("name", one.names[a], two.names[b]) + _word("Chinese name", one.names_zh[a], two.names_zh[b])
    if not _alike(one.geometry[a], two.geometry[b]):
        words.append("lies elsewhere")
    return words


def _alike(one: Float, two: Float) -> bool:
    if one.shape != two.shape:
        return False
    return bool(step_lengths(np.stack([one, two], axis=1).reshape(-1, 2))[::2].max(initial=0.0) <= MOVED_M)


def _word(label: str, old: object, new: object) -> list[str]:
    return [] if old == new else [f"{label} {old or 'none'} -> {new or 'none'}"]


def _turns(before: Network, after: Network) -> Iterator[Change]:
    both = before.links.position.keys() & after.links.position.keys()
    one, two = _pairs(before, both), _pairs(after, both)
    for kind, pairs, network in (("removed", one - two, before), ("added", two - one, after)):
        for a, b in sorted(pairs):
            place = network.nodes.lon_lat[network.links.to_node[network.links.position[a]]][None]
            verb = "no longer allowed" if kind == "removed" else "allowed now"
            yield Change(kind, "turn", f"{a} > {b}", verb, place)


def _pairs(network: Network, links: set[str]) -> set[tuple[str, str]]:
    city = network.compile()
    into = np.repeat(np.arange(city.n_links), np.diff(city.movement_start)).tolist()
    names = city.link_ids
    pairs = ((names[a], names[b]) for a, b in zip(into, city.movement_out.tolist(), strict=True))
    return {pair for pair in pairs if pair[0] in links and pair[1] in links}


def _signals(before: Network, after: Network) -> Iterator[Change]:
    for kind, name in _sides(before.signals, after.signals):
        here = after if kind == "added" else before
        place = here.nodes.lon_lat[here.nodes.position[name]][None]
        if kind != "changed":
            plan = here.signals[name]
            yield Change(kind, "signal", name, f"cycle {plan.cycle_s:g} s, {_stages(plan)}", place)
        elif before.signals[name] != after.signals[name]:
            yield Change(kind, "signal", name, ", ".join(_plan_words(before.signals[name], after.signals[name])), place)


def _stages(plan: SignalPlan) -> str:
    greens = ", ".join(f"{stage.green_s:g}" for stage in plan.stages)
    return f"{len(plan.stages)} stages with {greens} s of green"


def _plan_words(old: SignalPlan, new: SignalPlan) -> list[str]:
    words = [
        f"{label} {a:g} s -> {b:g} s"
        for label, a, b in (("cycle", old.cycle_s, new.cycle_s), ("offset", old.offset_s, new.offset_s))
        if a != b
    ]
    if _stages(old) != _stages(new):
        words.append(f"{_stages(old)} -> {_stages(new)}")
    elif [stage.intergreen_s for stage in old.stages] != [stage.intergreen_s for stage in new.stages]:
        words.append("other intergreens")
    if [stage.movements for stage in old.stages] != [stage.movements for stage in new.stages]:
        words.append("other movements in its stages")
    elif [stage.permitted for stage in old.stages] != [stage.permitted for stage in new.stages]:
        words.append("other movements give way")
    return words


def _rows(what: str, before: Network, after: Network) -> Iterator[Change]:
    """Yield the changes of ``sensor.csv`` or ``asset.csv``, cell by cell: what follows from a link is told there."""
    old, new = ({str(row[f"{what}_id"]): row for row in n.tables[what].rows} for n in (before, after))
    for kind, name in _sides(old, new):
        row = new[name] if kind == "added" else old[name]
        place = _place(before if kind == "removed" else after, what, name)
        if kind != "changed":
            on = f", link {row['link_id']}" if row.get("link_id") else ""
            yield Change(kind, what, name, f"{row.get('kind', '')}{on}", place)
            continue
        words = [
            word
            for column in COLUMNS[what]
            for word in _word(column, row.get(column) or "", new[name].get(column) or "")
        ]
        if words:
            yield Change(kind, what, name, ", ".join(words), place)


def _dependencies(before: Network, after: Network) -> Iterator[Change]:
    one, two = set(before.assets.dependencies), set(after.assets.dependencies)
    for kind, rows in (("removed", one - two), ("added", two - one)):
        for row in sorted(rows, key=lambda row: (row.asset_id, row.depends_on)):
            yield Change(kind, "dependency", f"{row.asset_id} < {row.depends_on}", f"{row.kind}, need {row.need}", None)


def _place(network: Network, what: str, name: str) -> Float | None:
    if what == "asset":
        place = network.assets.assets[name].lon_lat
    else:
        place = network.sensor_point(next(sensor for sensor in network.sensors if sensor.sensor_id == name))
    return None if place is None else np.array([place], float)
