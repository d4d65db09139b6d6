"""Demand of CityFlow (flow.json): vehicles with their routes, as the rows of ``trips.csv``.

A flow lets a vehicle go at ``startTime`` and every ``interval`` seconds after it until ``endTime``. A route may be a
few roads to pass; where they do not meet, the way between them is left to the engine.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sensors import InputError
from twin.importers.cityflow import load

Row = Mapping[str, object]
MOST_VEHICLES = 10_000_000  # of one flow; more is a slip of the interval


def read(sources: Iterable[Path], tables: Mapping[str, Sequence[Row]]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of ``trips.csv`` in order of departure, and what people should know.

    Parameters
    ----------
    tables
        The network's: routes are checked against its links and movements.

    Raises
    ------
    InputError
        With every flow that is none, or that the network does not have the roads of.
    """
    ends = {str(row["link_id"]): (str(row["from_node_id"]), str(row["to_node_id"])) for row in tables["link"]}
    turns = {(str(row["ib_link_id"]), str(row["ob_link_id"])) for row in tables.get("movement", ())}
    faults: list[str] = []
    rows: list[tuple[float, Row]] = []
    open_ways = done = 0
    for source in sources:
        flows = load(source)
        if not isinstance(flows, list):
            raise InputError(
                f"{source.name}: must be a list of flows with vehicle, route, interval, startTime, endTime"
            )
        for k, flow in enumerate(flows):
            who = f"{source.name}: flow {k}"
            times = _times(flow, who, faults)
            route = flow.get("route") if isinstance(flow, dict) else None
            if not isinstance(route, list) or not route:
                faults.append(f"{who}: route must be a list of roads")
                continue
            if unknown := [road for road in route if not isinstance(road, str) or road not in ends]:
                faults.append(f"{who}: road {unknown[0]!r} is not in the network")
                continue
            whole = all(pair in turns for pair in pairwise(route))
            open_ways += not whole
            places: Row = {
                "from_node_id": ends[route[0]][0],
                "to_node_id": ends[route[-1]][1],
                "link_ids": ";".join(route) if whole else "",
            }
            rows += [(time, {"trip_id": f"{done + k}.{n}", "depart_s": time, **places}) for n, time in enumerate(times)]
        done += len(flows)
    if faults:
        raise InputError(faults)
    notes = [("note", "trips begin at the upstream end of their first link and leave at the end of their last")]
    if open_ways:
        text = f"{open_ways} flows name roads that do not meet: their way is chosen, from the first road to the last"
        notes.append(("approximation", text))
    return [row for _, row in sorted(rows, key=lambda item: item[0])], notes


def _times(flow: Any, who: str, faults: list[str]) -> list[float]:
    """Return the departures of a flow."""
    if not isinstance(flow, dict):
        faults.append(f"{who}: must be an object with vehicle, route, interval, startTime, endTime")
        return []
    values = {key: flow.get(key) for key in ("startTime", "endTime", "interval")}
    for key, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            faults.append(f"{who}: {key} is {value!r}, must be a number")
            return []
    start, end, gap = (float(values[key]) for key in ("startTime", "endTime", "interval"))  # type: ignore[arg-type]
    if start < 0 or end < start:
        open_end = "; a flow without an end (-1) needs one here" if end == -1 else ""
        faults.append(f"{who}: startTime {start:g} and endTime {end:g} must be >= 0 and in order{open_end}")
        return []
    if end > start and not (gap > 0 and (end - start) / gap <= MOST_VEHICLES):
        faults.append(f"{who}: interval is {gap:g}, must be > 0 and leave fewer than {MOST_VEHICLES:,} vehicles")
        return []
    return [start + n * gap for n in range(int((end - start) / gap + 1e-9) + 1)] if end > start else [start]
