"""Trips of the TNTP collection (trips.tntp) as the rows of ``demand.csv``.

``Origin 1`` and then, as often as needed, ``destination : trips ;``.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sensors import InputError
from twin.importers.tntp import metadata

Row = Mapping[str, object]
_ORIGIN = re.compile(r"origin\s+(\S+)", re.IGNORECASE)


def read(
    sources: Iterable[Path], tables: Mapping[str, Sequence[Row]], *, hours: float = 1.0
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of ``demand.csv``, and what people should know.

    Parameters
    ----------
    tables
        The network's: zones are checked against it.
    hours
        For how many hours the trips are.

    Raises
    ------
    InputError
        With every row that is none, every zone that the network does not have, and a total that does not fit.
    """
    zones = {str(row["zone_id"]) for row in tables.get("zone", ())}
    faults: list[str] = []
    rows: list[Row] = []
    inside = 0.0
    for source in sources:
        marks, lines = metadata(source)
        origin, total = "", 0.0
        for number, text in lines:
            if found := _ORIGIN.match(text):
                origin = found.group(1)
                if origin not in zones:
                    faults.append(f"{source.name}: line {number}: origin {origin!r} is no zone of the network")
                continue
            for part in filter(str.strip, text.split(";")):
                target, volume = _pair(part)
                if not origin or not volume >= 0 or target not in zones:
                    rule = "must be a zone of the network : a number of trips >= 0, below an Origin"
                    faults.append(f"{source.name}: line {number}: has {part.strip()[:40]!r}, {rule}")
                    continue
                total += volume
                if target == origin:
                    inside += volume
                elif volume > 0:
                    ends = {"o_zone_id": origin, "d_zone_id": target}
                    rows.append({**ends, "volume": volume, "start_s": 0, "end_s": hours * 3600})
        stated = _number(marks.get("TOTAL OD FLOW", ""))
        if not faults and math.isfinite(stated) and abs(stated - total) > 0.001 * max(stated, 1.0):
            rule = f"<TOTAL OD FLOW> says {stated:g}; the file is cut off or its numbers are wrong"
            faults.append(f"{source.name}: has {total:g} trips, {rule}")
    if faults:
        raise InputError(faults)
    notes = [("note", f"{inside:g} trips within a zone are left out")] if inside else []
    return rows, notes


def _pair(part: str) -> tuple[str, float]:
    target, _, volume = part.partition(":")
    return target.strip(), _number(volume)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
