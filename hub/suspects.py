"""The sensors of the city that are not believed: one row a fault, with its code, figures, evidence and since when."""

import math
from typing import Any

import numpy as np

from hub.show import finding_shown, number, stamp
from sensors import QUANTITIES
from twin import Network, Snapshot
from twin.finding import Suspicion

# Codes of the faults, in the order in which they are counted; those that comparison finds are of `Suspicion`.
CODES = ("silent", "stuck", *(kind.name.lower() for kind in Suspicion if kind != Suspicion.NONE))


def suspect_rows(network: Network, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return a row for each fault, the newest first; dark sensors are left out, why they are silent is known.

    A sensor is silent as a whole, its quantities are stuck or suspected each by itself. Nobody waits for a sensor that
    the network does not name: it is never silent.
    """
    state = snapshot.sensors
    sensors = {sensor.sensor_id: sensor for sensor in network.sensors}
    rows, silent = list[dict[str, Any]](), dict[str, dict[str, Any]]()
    for series, sensor_id in enumerate(state.sensor_ids):
        if state.dark[series]:
            continue
        sensor = sensors.get(sensor_id)
        about = {
            "sensor_id": sensor_id,
            "kind": sensor.kind if sensor else "unverified",
            "owner": sensor.owner if sensor else "",
            "link_id": state.link_ids[series] or None,
            "lon_lat": None if sensor is None else network.sensor_point(sensor),
        }
        finding, key = state.findings[series], state.quantities[series]
        if finding is not None:
            rows.append({**about, **finding_shown(finding), "since": float(state.suspected_since[series])})
        if state.silent[series]:
            if state.registered[series]:
                row = silent.setdefault(sensor_id, {**about, "heard": -math.inf})
                row["heard"] = float(np.fmax(row["heard"], state.time[series]))
                row["expected"] = float(state.expected_since[series])
                row["interval_s"] = number(state.interval_s[series], 1)
        elif state.stuck[series]:
            value, repeats = number(state.value[series]), int(state.repeats[series])
            told = {
                "code": "stuck",
                "quantity": key,
                "unit": QUANTITIES[key].unit if key in QUANTITIES else "",
                "parameters": {"value": value, "repeats": repeats},
                "evidence": None,
                "reason": f"{key} has been {value:g} for {repeats + 1} readings",
            }
            rows.append({**about, **told, "since": float(state.unchanged_since[series])})
    rows += [_silent(row, snapshot.time) for row in silent.values()]
    rows.sort(key=lambda row: (-row["since"], row["sensor_id"], row["code"]))
    return [{**row, "since": stamp(row["since"])} for row in rows]


def _silent(row: dict[str, Any], now: float) -> dict[str, Any]:
    heard, expected, interval = row.pop("heard"), row.pop("expected"), row.pop("interval_s")
    ever = math.isfinite(heard)
    minutes = (now - heard) / 60
    return {
        **row,
        "code": "silent",
        "quantity": None,
        "unit": None,
        "parameters": {"age_s": number(now - heard, 1) if ever else None, "interval_s": interval},
        "evidence": None,
        "reason": f"has not reported for {minutes:.3g} min" if ever else "has never reported",
        "since": heard if ever else expected,
    }
