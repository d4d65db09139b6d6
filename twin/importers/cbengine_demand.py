"""Demand as CBEngine text: vehicles with their routes, as the rows of ``trips.csv``.

The number of flows and then, for each, ``start end interval`` (s), the number of roads, and the roads of its route: a
vehicle leaves at the start and every interval after it until the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from sensors import InputError
from twin.importers.cbengine import Words
from twin.importers.source import read_text

Row = Mapping[str, object]


def read(sources: Iterable[Path], tables: Mapping[str, Sequence[Row]]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of ``trips.csv`` in order of departure, and what people should know.

    Parameters
    ----------
    tables
        The network's: routes are checked against its links.

    Raises
    ------
    InputError
        When a file is cut off, or with every route that the network does not have.
    """
    ends = {str(row["link_id"]): (str(row["from_node_id"]), str(row["to_node_id"])) for row in tables["link"]}
    rows: list[tuple[float, Row]] = []
    faults: list[str] = []
    done = 0
    for source in sources:
        lines = read_text(source).split("\n")
        words = Words(source.name, [(n, word) for n, line in enumerate(lines, 1) for word in line.split()])
        count = words.count("flows")
        for k in range(count):
            what = f"flow {k + 1} of {count}"
            start, end, gap = (words.number(word, "start, end or interval") for word in words.take(what, 3))
            if start < 0 or gap <= 0:
                rule = "must be >= 0 and > 0"
                faults.append(f"{source.name}: line {words.line}: start is {start:g} and interval {gap:g}, {rule}")
            route = tuple(words.take(what, words.count(f"roads of {what}")))
            if wrong := _wrong(route, ends):
                faults.append(f"{source.name}: line {words.line}: {wrong}")
            if wrong or gap <= 0:
                continue
            places = {"from_node_id": ends[route[0]][0], "to_node_id": ends[route[-1]][1], "link_ids": ";".join(route)}
            for n in range(int((end - start) / gap + 1e-9) + 1 if end >= start else 0):
                time = start + n * gap
                rows.append((time, {"trip_id": f"{done + k + 1}.{n}", "depart_s": time, **places}))
        done += count
    if faults:
        raise InputError(faults)
    return [row for _, row in sorted(rows, key=lambda item: item[0])], []


def _wrong(route: tuple[str, ...], ends: Mapping[str, tuple[str, str]]) -> str:
    """Return what is wrong with a route, ``""`` when nothing is."""
    if not route:
        return "the route has no roads"
    for name in route:
        if name not in ends:
            return f"road {name!r} is not in the network"
    for one, other in pairwise(route):
        if ends[one][1] != ends[other][0]:
            return f"roads {one!r} and {other!r} do not meet"
    return ""
