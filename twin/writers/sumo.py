"""SUMO's plain XML: nodes, edges, connections and signal programs, from which ``netconvert`` makes a network.

Lane 1 is the leftmost here, lane 0 the rightmost in SUMO. Source: SUMO documentation, "PlainXML" (Eclipse
SUMO, EPL-2.0).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from twin.files import write_folder
from twin.geometry import Float, all_at_once
from twin.links import CLASS_NAMES, is_for_all
from twin.movement import movement_links
from twin.network import Network
from twin.projection import utm_zone
from twin.signal import SignalPlan, Stage
from twin.writers.turns import lanes_of, turn_angles

Pair = tuple[str, str]
Lanes = tuple[int, int, int, int]  # in-link and out-link, and the lane of each

YELLOW_S = 3.0  # of an intergreen; RiLSA (2015), section 2.4: 3 s at 50 km/h, the rest all red
# What SUMO refuses in an id.
_FORBIDDEN = re.compile(r"[\s|\\'\";,<>&]|^[:!]")


class _Ids:
    """Ids as SUMO takes them: each of ours has one, and no two the same."""

    def __init__(self, names: tuple[str, ...]) -> None:
        taken = {name for name in names if not _FORBIDDEN.search(name)}
        self.changed = len(names) - len(taken)
        self.of: list[str] = []
        for name in names:
            made = _FORBIDDEN.sub("_", name)
            while made != name and made in taken:
                made += "_"
            taken.add(made)
            self.of.append(made)


def write(network: Network, out: Path, *, overwrite: bool = False) -> list[str]:
    """Write a folder of plain XML with the settings for ``netconvert -c``, and return what people should know of it.

    Raises
    ------
    InputError
        When something stands there and is not to be replaced.
    """
    stem = out.name.split(".")[0] or "network"
    model = _Model(network)
    names = {kind: f"{stem}.{kind}.xml" for kind in ("nod", "edg", "con", "tll")}
    parts = {"nod": model.nodes(), "edg": model.edges(), "con": model.connections(), "tll": model.programs()}
    files = {names[kind]: lines for kind, lines in parts.items()}
    write_folder(
        out, {**files, f"{stem}.netccfg": _settings(names, stem, left=network.drives_left)}, overwrite=overwrite
    )
    return model.notes()


def _settings(names: dict[str, str], stem: str, *, left: bool) -> Iterator[str]:
    """Yield netconvert's configuration: nothing is guessed, all is as stated."""
    yield "<configuration>\n"
    for option, kind in (("node", "nod"), ("edge", "edg"), ("connection", "con"), ("tllogic", "tll")):
        yield f"    <{option}-files value={quoteattr(names[kind])}/>\n"
    yield f"    <output-file value={quoteattr(f'{stem}.net.xml')}/>\n"
    yield '    <no-turnarounds value="true"/>\n    <offset.disable-normalization value="true"/>\n'
    if left:
        yield '    <lefthand value="true"/>\n'
    yield "</configuration>\n"


class _Model:
    """A network in the words of SUMO."""

    def __init__(self, network: Network) -> None:
        self.network, self.compiled = network, network.compile()
        self.node_ids, self.link_ids = _Ids(self.compiled.node_ids), _Ids(self.compiled.link_ids)
        self.epsg, self.projection = utm_zone(network.origin)
        self.places = self.projection.to_metres(network.nodes.lon_lat)
        self.offset = np.floor(self.places.min(axis=0))
        self.ib, self.ob = movement_links(network.movements)
        # netconvert drops an edge that begins and ends at one node, and then refuses its connections.
        self.loops = set(np.flatnonzero(self.compiled.from_node == self.compiled.to_node).tolist())
        self.joins = self._joins()

    def _joins(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Return the lanes (from, to; SUMO's numbers) that each movement joins."""
        lanes = self.network.links.lanes.tolist()
        angles = turn_angles(self.network).tolist()
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for ib, ob, angle in zip(self.ib.tolist(), self.ob.tolist(), angles, strict=True):
            if ib in self.loops or ob in self.loops:
                continue
            of, to = lanes[ib], lanes[ob]
            # A left turn ends in the leftmost lanes, others as far to the right as they began.
            shift = to - of if angle > 30 else 0
            used = [of - lane for lane in lanes_of(self.network, ib, ob)]
            found[ib, ob] = [(lane, min(max(lane + shift, 0), to - 1)) for lane in sorted(used)]
        return found

    def metres(self, lon_lat: Float) -> Float:
        """Return places in the file's metres."""
        return np.asarray(self.projection.to_metres(lon_lat) - self.offset, np.float64)

    def nodes(self) -> Iterator[str]:
        yield "<nodes>\n"
        low, high = np.zeros(2), self.places.max(axis=0) - self.offset
        box = ",".join(f"{value:.2f}" for value in (*low, *high))
        degrees = self.network.nodes.lon_lat
        world = ",".join(f"{value:.6f}" for value in (*degrees.min(axis=0), *degrees.max(axis=0)))
        south = " +south" if self.epsg > 32700 else ""
        words = f"+proj=utm +zone={self.epsg % 100}{south} +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
        shift = ",".join(f"{-value:.2f}" for value in self.offset)
        yield (
            f'    <location netOffset="{shift}" convBoundary="{box}" origBoundary="{world}" '
            f"projParameter={quoteattr(words)}/>\n"
        )
        for k, (x, y) in enumerate((self.places - self.offset).tolist()):
            name = self.node_ids.of[k]
            signal = self.compiled.node_ids[k] in self.network.signals
            kind = f'type="traffic_light" tl={quoteattr(name)}' if signal else 'type="priority"'
            yield f'    <node id={quoteattr(name)} x="{x:.3f}" y="{y:.3f}" {kind}/>\n'
        yield "</nodes>\n"

    def edges(self) -> Iterator[str]:
        links, ids = self.network.links, self.link_ids.of
        rows = self.network.tables["link"].rows
        there = set(zip(links.from_node.tolist(), links.to_node.tolist(), strict=True))
        shapes = all_at_once(self.metres, links.geometry)
        yield "<edges>\n"
        for k in range(len(links)):
            if k in self.loops:
                continue
            a, b = int(links.from_node[k]), int(links.to_node[k])
            row = rows[links.row[k]]
            words = [
                f"id={quoteattr(ids[k])} from={quoteattr(self.node_ids.of[a])} to={quoteattr(self.node_ids.of[b])}",
                f'numLanes="{links.lanes[k]}" speed="{links.free_speed[k]:.4f}" length="{links.length[k]:.3f}"',
                f'priority="{4 - int(links.link_class[k])}"',
                f"type={quoteattr(row.get('facility_type') or CLASS_NAMES[links.link_class[k]])}",
            ]
            if links.names[k] or links.names_zh[k]:
                words.append(f"name={quoteattr(links.names[k] or links.names_zh[k])}")
            if not is_for_all(row.get("allowed_uses", "")):
                words.append('allow="bus"')
            if (b, a) not in there:
                words.append('spreadType="center"')
            if len(shapes[k]) > 2:
                points = " ".join(f"{x:.3f},{y:.3f}" for x, y in shapes[k].tolist())
                words.append(f'shape="{points}"')
            yield f"    <edge {' '.join(words)}/>\n"
        yield "</edges>\n"

    def connections(self) -> Iterator[str]:
        ids = self.link_ids.of
        going = {ib for ib, _ in self.joins} | self.loops
        row_of = self.network.movements.reserved.tolist()
        reserved = {(int(self.ib[row]), int(self.ob[row])) for row in row_of}
        yield "<connections>\n"
        for k in range(len(ids)):
            if k not in going:
                yield f"    <connection from={quoteattr(ids[k])}/>\n"
        for pair, joins in self.joins.items():
            ends = f"from={quoteattr(ids[pair[0]])} to={quoteattr(ids[pair[1]])}"
            only = ' allow="bus"' if pair in reserved else ""
            for lane, to_lane in joins:
                yield f'    <connection {ends} fromLane="{lane}" toLane="{to_lane}"{only}/>\n'
        yield "</connections>\n"

    def programs(self) -> Iterator[str]:
        ids = self.link_ids.of
        at_node: dict[int, list[Lanes]] = defaultdict(list)
        for pair, joins in self.joins.items():
            at_node[int(self.compiled.to_node[pair[0]])].extend((*pair, *join) for join in joins)
        yield "<tlLogics>\n"
        for name, plan in self.network.signals.items():
            node = self.network.nodes.position[name]
            tl, shown = quoteattr(self.node_ids.of[node]), at_node[node]
            links = self.compiled.link_ids
            yield f'    <tlLogic id={tl} type="static" programID="0" offset="{plan.offset_s:g}">\n'
            for time, state in phases(plan, [(links[ib], links[ob]) for ib, ob, _, _ in shown]):
                yield f'        <phase duration="{time:g}" state="{state}"/>\n'
            yield "    </tlLogic>\n"
            for index, (ib, ob, lane, to_lane) in enumerate(shown):
                ends = f"from={quoteattr(ids[ib])} to={quoteattr(ids[ob])}"
                lanes = f'fromLane="{lane}" toLane="{to_lane}"'
                yield f'    <connection {ends} {lanes} tl={tl} linkIndex="{index}"/>\n'
        yield "</tlLogics>\n"

    def notes(self) -> list[str]:
        """Return what the files do not say as the network does."""
        found = []
        changed = self.node_ids.changed + self.link_ids.changed
        if changed:
            found.append(f"{changed} ids hold signs that SUMO refuses: they stand with _ instead")
        if self.loops:
            found.append(f"{len(self.loops)} links that begin and end at one node are left out: SUMO has no such edges")
        links = {link for link, _ in self.network.movements.lanes}
        pockets = sum(bool(np.isfinite(self.compiled.group_pocket[self._groups(link)]).any()) for link in links)
        if pockets:
            found.append(f"turn pockets of {pockets} links are written as the lane beside them")
        controls, signals = self.network.nodes.ctrl_types, self.network.signals
        names = zip(self.compiled.node_ids, controls, strict=True)
        if plain := sum("signal" in control.lower() and name not in signals for name, control in names):
            found.append(f"{plain} signalised nodes have no plan: they are written as junctions with priority")
        if signals:
            found.append(f"of an intergreen the first {YELLOW_S:g} s are written as yellow")
        return found

    def _groups(self, link: int) -> slice:
        start = self.compiled.group_start
        return slice(int(start[link]), int(start[link + 1]))


def phases(plan: SignalPlan, shown: Sequence[Pair]) -> Iterator[tuple[float, str]]:
    """Yield duration (s) and state of each phase: G protected, g permitted, y after it, r red.

    Parameters
    ----------
    shown
        The movement of each signal, in their order.

    Examples
    --------
    >>> plan = SignalPlan("N", 60.0, (Stage(30, 5, (("a", "b"),)), Stage(20, 0, (("c", "b"),), (("c", "b"),))))
    >>> [f"{time:g} {state}" for time, state in phases(plan, [("a", "b"), ("c", "b")])]
    ['30 Gr', '3 yr', '2 rr', '20 rg', '5 rr']
    """
    red = "r" * len(shown)
    for stage in plan.stages:
        green = "".join(_sign(stage, pair) for pair in shown)
        yield stage.green_s, green
        yellow = min(YELLOW_S, stage.intergreen_s)
        if yellow > 0:
            yield yellow, "".join("r" if sign == "r" else "y" for sign in green)
        if stage.intergreen_s > yellow:
            yield stage.intergreen_s - yellow, red
    rest = plan.cycle_s - sum(stage.green_s + stage.intergreen_s for stage in plan.stages)
    if rest > 1e-6:
        yield rest, red


def _sign(stage: Stage, pair: Pair) -> str:
    if pair not in stage.movements:
        return "r"
    return "g" if pair in stage.permitted else "G"
