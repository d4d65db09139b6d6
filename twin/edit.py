"""Patches applied to a network: rows first, then turns, then signals, each on what the one before has made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from sensors import InputError
from sensors.toml import unknown_keys
from twin.network import Network
from twin.patch import ID, Patch, Row
from twin.signal import SignalPlan, Stage
from twin.tables import cell
from twin.timing import TIMING_TABLES, timing_rows

Rows = dict[str, list[Row]]
Pair = tuple[str, str]

_STAGE_KEYS = ("green_s", "intergreen_s", "movements", "permitted")


def apply_patches(base: Network, patches: Sequence[Patch]) -> Network:
    """Return a network with patches applied, one upon the other.

    A removed link takes its turns and their green along; sensors and assets on it stay, without a link. The notes of
    the new network name every patch.

    Raises
    ------
    InputError
        With every fault of the first patch that does not fit.
    """
    network = base
    for patch in patches:
        wanted = str(patch.tables.get("base", "")).lower()
        if not network.sha256.startswith(wanted):
            raise InputError(
                f"{patch.name}: is for a network whose sha256 begins with {wanted}, this one's begins with "
                f"{network.sha256[:12]}: apply it to its own base, or review it and change base"
            )
        steps: tuple[tuple[tuple[str, ...], Callable[[Network, Patch, list[str]], Rows]], ...] = (
            (("node", "link", "remove"), _with_rows),
            (("ban", "allow"), _with_turns),
            (("signal",), _with_signals),
        )
        for kinds, step in steps:
            if any(patch.rows(kind) for kind in kinds):
                network = _remade(patch, step, network)
        title = patch.tables.get("title", "")
        text = f"patched by {patch.name}" + (f": {title}" if title else "")
        rows = _rows(network)
        rows["note"].append({"kind": "note", "text": text})
        network = Network.from_tables(rows)
    return network


def _remade(patch: Patch, step: Callable[[Network, Patch, list[str]], Rows], network: Network) -> Network:
    faults: list[str] = []
    rows = step(network, patch, faults)
    if faults:
        raise InputError(faults)
    try:
        return Network.from_tables(rows)
    except InputError as error:
        raise InputError([f"{patch.name}: leaves {fault}" for fault in error.faults]) from None


def _near(word: str, known: Iterable[str]) -> str:
    """Return a question after the known id that is most like a word, nothing when none is."""
    lower = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), lower, 1)
    return f", did you mean {lower[near[0]]!r}?" if near else ""


def _rows(network: Network) -> Rows:
    return {name: [dict(row) for row in table.rows] for name, table in network.tables.items()}


# --- nodes and links --------------------------------------------------------------------------------------------------


def _with_rows(network: Network, patch: Patch, faults: list[str]) -> Rows:
    """Return the rows of a network with nodes and links changed, added and removed."""
    rows = _rows(network)
    for kind in ("node", "link"):
        for where, row in patch.rows(kind):
            _set(rows[kind], kind, row, where, faults)
    _remove(rows, {name: where for where, row in patch.rows("remove") for name in row["links"]}, faults)
    return rows


def _set(table: list[Row], kind: str, row: Row, where: str, faults: list[str]) -> None:
    """Change a row of a table, or add one."""
    key = ID[kind]
    name, values = row[key], {column: cell(value) for column, value in row.items() if column != "new"}
    found = [old for old in table if old[key] == name]
    if row.get("new", False):
        if found:
            faults.append(f"{where}: {key} {name!r} is there already, leave new out to change it")
        else:
            table.append(values)
        return
    if not found:
        known = [str(old[key]) for old in table]
        if kind == "link" and name.removesuffix("-r") in known:
            hint = f"; it is the other direction of {name.removesuffix('-r')!r}, whose row has both"
        else:
            hint = f"{_near(name, known)}; new = true adds one"
        faults.append(f"{where}: {key} {name!r} is not in {kind}.csv{hint}")
        return
    old = found[0]
    if "geometry" in values:
        old["geometry_id"] = ""
    if "assumed" not in values:  # what somebody states is not assumed any more
        assumed = [part for part in str(old.get("assumed", "")).split(";") if part and part not in values]
        old["assumed"] = ";".join(assumed)
    old.update(values)


def _remove(rows: Rows, names: dict[str, str], faults: list[str]) -> None:
    """Take links away, and what hangs on them."""
    known = {str(row["link_id"]) for row in rows["link"]}
    for name, where in names.items():
        if name not in known:
            faults.append(f"{where}: link {name!r} is not in link.csv{_near(name, known)}")
    gone = names.keys() | {f"{name}-r" for name in names}
    rows["link"] = [row for row in rows["link"] if row["link_id"] not in names]
    _drop_movements(rows, lambda row: bool({row["ib_link_id"], row["ob_link_id"]} & gone))
    lanes = {row["segment_id"] for row in rows["segment"] if row["link_id"] in gone}
    rows["segment_lane"] = [row for row in rows["segment_lane"] if row["segment_id"] not in lanes]
    for name in ("lane", "segment"):
        rows[name] = [row for row in rows[name] if row["link_id"] not in gone]
    for name in ("sensor", "asset"):
        for row in rows[name]:
            if row.get("link_id") in gone:
                row["link_id"] = ""
                if name == "sensor":
                    row["position_m"] = ""


def _drop_movements(rows: Rows, gone: Callable[[Row], bool]) -> None:
    """Take rows of movement.csv away, and their green."""
    lost = {row.get("mvmt_id") for row in rows["movement"] if gone(row)}
    rows["movement"] = [row for row in rows["movement"] if not gone(row)]
    rows["signal_phase_mvmt"] = [row for row in rows["signal_phase_mvmt"] if row["mvmt_id"] not in lost]


# --- turns ------------------------------------------------------------------------------------------------------------


def _with_turns(network: Network, patch: Patch, faults: list[str]) -> Rows:
    """Return the rows of a network with turns forbidden and allowed.

    At a node whose turns are not listed, the others are listed now.
    """
    rows, pairs = _rows(network), _pairs(network)
    listed = {network.nodes.ids[k] for k in network.movements.nodes_with_rows}
    for kind in ("ban", "allow"):
        for where, row in patch.rows(kind):
            a, b = row["from_link"], row["to_link"]
            node = _meeting(network, a, b, where, faults)
            if node is None:
                continue
            here = pairs.setdefault(node, set())
            if (kind == "allow") == ((a, b) in here):
                faults.append(f"{where}: the turn from {a!r} to {b!r} is {_IS[kind]} already")
                continue
            if node not in listed:
                listed.add(node)
                rows["movement"] += [_movement(node, *pair) for pair in sorted(here)]
            if kind == "allow":
                here.add((a, b))
                rows["movement"].append(_movement(node, a, b))
            else:
                here.discard((a, b))
                _drop_movements(
                    rows,
                    lambda old, node=node, a=a, b=b: (  # type: ignore[misc]
                        old["node_id"] == node and _means(old["ib_link_id"], a) and _means(old["ob_link_id"], b)
                    ),
                )
    return rows


_IS = {"ban": "forbidden", "allow": "allowed"}


def _meeting(network: Network, a: str, b: str, where: str, faults: list[str]) -> str | None:
    """Return the node at which a link ends and another one begins."""
    links = network.links
    for name in (a, b):
        if name not in links.position:
            faults.append(f"{where}: link {name!r} is not in the network{_near(name, links.position)}")
            return None
    end = network.nodes.ids[links.to_node[links.position[a]]]
    begin = network.nodes.ids[links.from_node[links.position[b]]]
    if end != begin:
        faults.append(f"{where}: link {a!r} ends at node {end!r}, but {b!r} begins at node {begin!r}")
        return None
    return str(end)


def _pairs(network: Network) -> dict[str, set[Pair]]:
    """Return the allowed turns of each node as pairs of link ids."""
    city = network.compile()
    pairs: dict[str, set[Pair]] = {}
    for link in range(city.n_links):
        outs = city.movement_out[city.movement_start[link] : city.movement_start[link + 1]].tolist()
        node = city.node_ids[city.to_node[link]]
        pairs.setdefault(node, set()).update((city.link_ids[link], city.link_ids[out]) for out in outs)
    return pairs


def _movement(node: str, a: str, b: str) -> Row:
    return {"mvmt_id": f"{a}>{b}", "node_id": node, "ib_link_id": a, "ob_link_id": b}


def _means(text: object, link: str) -> bool:
    """Return whether a cell of movement.csv means a link: an undirected id means its direction at the node."""
    return text in (link, link.removesuffix("-r"))


# --- signals ----------------------------------------------------------------------------------------------------------


def _with_signals(network: Network, patch: Patch, faults: list[str]) -> Rows:
    """Return the rows of a network with signal plans set anew."""
    rows, plans = _rows(network), dict(network.signals)
    for where, row in patch.rows("signal"):
        node = row["node"]
        if node not in network.nodes.position:
            faults.append(f"{where}: node {node!r} is not in node.csv{_near(node, network.nodes.position)}")
            continue
        plan = _plan(node, row, plans.get(node), where, faults)
        if plan is not None:
            plans[node] = plan
    ids = {(network.links.ids[a], network.links.ids[b]): name for name, (a, b) in network.movements.pairs.items()}
    allowed = _pairs(network)
    listed = {network.nodes.ids[k] for k in network.movements.nodes_with_rows}
    for node, plan in plans.items():
        if node not in listed:  # green belongs to rows of movement.csv
            for pair in sorted(allowed.get(node, ())):
                rows["movement"].append(_movement(node, *pair))
                ids[pair] = f"{pair[0]}>{pair[1]}"
        for pair in {pair for stage in plan.stages for pair in stage.movements} - ids.keys():
            faults.append(
                f"{patch.name}: the signal at node {node!r} gives green to the turn from {pair[0]!r} to {pair[1]!r}, "
                "which is none of the network"
            )
    if faults:
        return rows
    return rows | {name: [] for name in TIMING_TABLES} | timing_rows(plans.values(), ids)


def _plan(node: str, row: Row, old: SignalPlan | None, where: str, faults: list[str]) -> SignalPlan | None:
    """Return the plan of a node with what a table changes; None with a fault."""
    before = len(faults)
    stages = None
    if "stage" in row:
        stages = _stages(where, row["stage"], faults)
        if "cycle_s" not in row:
            faults.append(f"{where}: cycle_s is missing, a plan with stages needs it")
    elif old is None:
        faults.append(f"{where}: node {node!r} has no plan whose times could change, give its [[signal.stage]]")
    else:
        stages = old.stages
    cycle = row.get("cycle_s", old.cycle_s if old is not None else 0.0)
    offset = row.get("offset_s", old.offset_s if old is not None and "stage" not in row else 0.0)
    if "cycle_s" in row and not (_is_number(cycle) and cycle > 0):
        faults.append(f"{where}: cycle_s is {cycle!r}, must be a number > 0")
    if not _is_number(offset):
        faults.append(f"{where}: offset_s is {offset!r}, must be a number")
    greens = row.get("green_s")
    if stages is None or len(faults) > before:
        return None
    if greens is not None:
        right = isinstance(greens, list) and all(_is_number(green) and green > 0 for green in greens)
        if not right or len(greens) != len(stages):
            faults.append(f"{where}: green_s is {greens!r}, must be {len(stages)} numbers > 0, one a stage")
            return None
        stages = tuple(replace(stage, green_s=float(g)) for stage, g in zip(stages, greens, strict=True))
    used = sum(stage.green_s + stage.intergreen_s for stage in stages)
    if used > cycle + 1e-9:
        faults.append(f"{where}: the stages take {used:g} s, the cycle has {cycle:g} s")
    return SignalPlan(node, float(cycle), stages, float(offset))


def _stages(where: str, value: object, faults: list[str]) -> tuple[Stage, ...] | None:
    if not isinstance(value, list) or not value or not all(isinstance(stage, dict) for stage in value):
        faults.append(f"{where}: stage must be written as [[signal.stage]], once for each stage")
        return None
    stages = []
    for number, stage in enumerate(value, 1):
        place = f"{where} stage {number}"
        faults += unknown_keys(stage, _STAGE_KEYS, where=place)
        green, between = stage.get("green_s"), stage.get("intergreen_s", 0)
        if not _is_number(green) or green <= 0 or not _is_number(between) or between < 0:
            faults.append(f"{place}: green_s is {green!r} and intergreen_s {between!r}, must be > 0 and >= 0")
            return None
        parts = [stage.get("movements", []), stage.get("permitted", [])]
        if not all(_are_pairs(part) for part in parts):
            faults.append(f"{place}: movements and permitted must be lists of [in-link, out-link]")
            return None
        protected, permitted = (tuple((a, b) for a, b in part) for part in parts)
        movements = tuple(dict.fromkeys((*protected, *permitted)))
        stages.append(Stage(float(green), float(between), movements, permitted))
    return tuple(stages)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _are_pairs(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair) for pair in value
    )
