"""How the hub shows what it knows: times, numbers, links and sensors as JSON, in field units."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sensors import QUANTITIES, InputError
from twin import Network, Snapshot
from twin.finding import Finding
from twin.suspect import STEP_S

KMH = 3.6
VEH_H = 3600.0
VEH_KM = 1000.0


def stamp(time_s: float | None) -> str | None:
    """Return a time as RFC 3339 UTC with milliseconds, None for an unknown one.

    Examples
    --------
    >>> stamp(0.0)
    '1970-01-01T00:00:00.000Z'
    """
    if time_s is None or not math.isfinite(time_s):
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(text: str | None, *, name: str) -> float | None:
    """Return the time of an RFC 3339 text.

    Raises
    ------
    InputError
        When it is not one or has no zone.
    """
    if text is None:
        return None
    try:
        # A plus sign that was not escaped in a URL arrives as a blank.
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InputError(f"{name} is {text!r}, must be a time with zone such as 2026-01-31T08:00:00Z")
    return time.timestamp()


def number(value: float, digits: int = 3) -> float | None:
    """Return a rounded number for JSON, None for NaN and infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


def numbers(values: Iterable[float], factor: float = 1.0, digits: int = 3) -> list[float | None]:
    """Return a column for JSON, scaled and rounded."""
    return [number(value * factor, digits) for value in values]


def link_attributes(network: Network, link: int) -> dict[str, Any]:
    """Return what is known of a link apart from its state; `assumed` names what was imputed."""
    links = network.links
    compiled = network.compile()
    return {
        "link_id": links.ids[link],
        "name": network.link_names(link),
        "from_node_id": network.nodes.ids[links.from_node[link]],
        "to_node_id": network.nodes.ids[links.to_node[link]],
        "length_m": number(links.length[link], 1),
        "lanes": int(links.lanes[link]),
        "free_speed_kmh": number(links.free_speed[link] * KMH, 1),
        "capacity_veh_h": number(compiled.capacity[link] * VEH_H, 0),
        "link_class": int(links.link_class[link]),
        "assumed": list(network.assumed(link)),
    }


def finding_shown(finding: Finding) -> dict[str, Any]:
    """Return a finding as the API shows it: code, quantity and unit of its figures, parameters, evidence, words."""
    evidence = finding.evidence
    return {
        "code": finding.suspicion.name.lower(),
        "quantity": finding.quantity,
        "unit": QUANTITIES[finding.quantity].unit,
        "parameters": {name: _figure(value) for name, value in finding.parameters.items()},
        "evidence": {
            "answer": number(evidence.answer),
            "read": number(evidence.read),
            "expected": number(evidence.expected),
            "readings": evidence.readings,
            "step_s": STEP_S,
        },
        "reason": str(finding),
    }


def sensor_rows(
    network: Network,
    snapshot: Snapshot,
    *,
    link_id: str | None = None,
    dark: Mapping[str, str] | None = None,
    dark_zh: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return each sensor with its last values, or those of one link, in the order of the twin's memory.

    ``dark`` says of sensors why they are dark, ``dark_zh`` in Chinese. ``suspected`` is why its neighbours and its own
    past contradict a sensor, None when they do not; ``reason`` says it in words, ``suspected_since`` since when,
    ``finding`` with its figures.
    """
    dark, dark_zh = dark or {}, dark_zh or {}
    kinds = {sensor.sensor_id: sensor for sensor in network.sensors}
    state = snapshot.sensors
    rows: dict[str, dict[str, Any]] = {}
    for series, sensor_id in enumerate(state.sensor_ids):
        if link_id is not None and state.link_ids[series] != link_id:
            continue
        sensor = kinds.get(sensor_id)
        row = rows.setdefault(
            sensor_id,
            {
                "sensor_id": sensor_id,
                "kind": sensor.kind if sensor else "unverified",
                "owner": sensor.owner if sensor else "",
                "link_id": state.link_ids[series] or None,
                "interval_s": number(state.interval_s[series], 1),
                "quantities": [],
                "values": {},
                "last_time": None,
                "silent": True,
                "stuck": False,
                "dark": False,
                "because": dark.get(sensor_id, ""),
                "because_zh": dark_zh.get(sensor_id, ""),
                "suspected": None,
                "reason": None,
                "suspected_since": None,
                "finding": None,
                "registered": bool(state.registered[series]),
            },
        )
        quantity, time = state.quantities[series], float(state.time[series])
        row["quantities"].append(quantity)
        row["values"][quantity] = number(state.value[series])
        if math.isfinite(time):
            row["last_time"] = max(row["last_time"] or time, time)
        row["silent"] = row["silent"] and bool(state.silent[series])
        row["stuck"] = row["stuck"] or bool(state.stuck[series])
        row["dark"] = row["dark"] or bool(state.dark[series])
        finding = state.findings[series]
        if finding is not None and row["finding"] is None:
            shown = finding_shown(finding)
            row["finding"], row["suspected"], row["reason"] = shown, shown["code"], shown["reason"]
            row["suspected_since"] = stamp(float(state.suspected_since[series]))
    for row in rows.values():
        row["last_time"] = stamp(row["last_time"])
    return list(rows.values())


def _figure(value: float | str) -> float | str | None:
    return value if isinstance(value, str | int) else number(value)


def sensor_counts(snapshot: Snapshot) -> tuple[int, int]:
    """Return how many sensors report, and how many should; a sensor reports when one of its series does.

    Nobody waits for a sensor that is not registered: it counts as long as it reports, a bus until it is in its depot.
    """
    state = snapshot.sensors
    rows = zip(state.sensor_ids, state.silent | state.dark, np.isfinite(state.time), state.registered, strict=True)
    reporting, wanted = set[str](), set[str]()
    for sensor_id, silent, heard, registered in rows:
        if heard and not silent:
            reporting.add(sensor_id)
        if registered:
            wanted.add(sensor_id)
    return len(reporting), len(wanted | reporting)
