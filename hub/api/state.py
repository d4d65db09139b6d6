"""The live state: all links, one link with its sensors and history, sensors and their readings."""

from collections import Counter
from itertools import compress, islice
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, HTTPException, Query

from hub.app import App
from hub.show import KMH, VEH_H, VEH_KM, link_attributes, number, numbers, parse_stamp, sensor_rows, stamp
from hub.suspects import CODES, suspect_rows
from ingest.store import Store
from twin.state import Snapshot, Source


def _snapshot(app: App) -> Snapshot:
    if app.board.snapshot is None:
        raise HTTPException(503, "the twin has made no snapshot yet, try again in a second")
    return app.board.snapshot


def _names(sources: npt.NDArray[np.uint8]) -> list[str]:
    return [Source(value).name.lower() for value in sources]


def _ends(snapshot: Snapshot) -> list[tuple[str, npt.NDArray[np.float64], float]]:
    """Return name, values and unit of the ends of the 90 % intervals."""
    return [
        ("speed_low_kmh", snapshot.speed_interval[0], KMH),
        ("speed_high_kmh", snapshot.speed_interval[1], KMH),
        ("flow_low_veh_h", snapshot.flow_interval[0], VEH_H),
        ("flow_high_veh_h", snapshot.flow_interval[1], VEH_H),
    ]


def router(app: App) -> APIRouter:
    """Return the routes ``/state``, ``/summary``, ``/links``, ``/sensors``, ``/suspects`` and ``/readings``."""
    routes = APIRouter(tags=["state"])
    position = {link_id: link for link, link_id in enumerate(app.compiled.link_ids)}

    def sensors_shown(snapshot: Snapshot, *, link_id: str | None = None) -> list[dict[str, Any]]:
        dark, dark_zh = app.equipment.dark_sensors(), app.equipment.dark_sensors(language="zh")
        return sensor_rows(app.network, snapshot, link_id=link_id, dark=dark, dark_zh=dark_zh)

    @routes.get("/state")
    def state() -> dict[str, Any]:
        """Return speed, flow and density of every link with deviation, 90 % interval and source.

        `speed_low_kmh` to `speed_high_kmh` holds the true speed of the link nine times in ten, `flow_low_veh_h` to
        `flow_high_veh_h` the flow; a detector there has noise of its own on top. Jams lie below: the middle of the
        interval is not the estimate. `source` is the better one of `speed_source` and `flow_source`.
        """
        snapshot = _snapshot(app)
        return {
            "time": stamp(snapshot.time),
            "sequence": snapshot.sequence,
            "network_sha256": snapshot.network_sha256,
            "link_ids": list(app.compiled.link_ids),
            "speed_kmh": numbers(snapshot.speed, KMH),
            "speed_sd_kmh": numbers(snapshot.speed_deviation, KMH),
            "flow_veh_h": numbers(snapshot.flow, VEH_H),
            "flow_sd_veh_h": numbers(snapshot.flow_deviation, VEH_H),
            **{key: numbers(values, unit) for key, values, unit in _ends(snapshot)},
            "density_veh_km": numbers(snapshot.density, VEH_KM),
            "source": _names(snapshot.source),
            "speed_source": _names(snapshot.speed_source),
            "flow_source": _names(snapshot.flow_source),
        }

    @routes.get("/summary")
    def summary() -> dict[str, Any]:
        """Return the city in a few numbers: speed, congestion, delay, sensors, error of the estimate."""
        _snapshot(app)
        return app.summary()

    @routes.get("/links/{link_id}")
    def link(link_id: str) -> dict[str, Any]:
        """Return one link: attributes, state, sensors and the last 90 minutes.

        `speed_low_kmh` to `speed_high_kmh` holds the true speed nine times in ten, `flow_low_veh_h` to
        `flow_high_veh_h` the flow, in `state` and over time in `history`; a detector there has noise of its own on top.
        """
        if link_id not in position:
            raise HTTPException(404, f"link {link_id!r} is not in this network")
        snapshot, index = _snapshot(app), position[link_id]
        history = app.board.history(index)
        return {
            **link_attributes(app.network, index),
            "state": {
                "time": stamp(snapshot.time),
                "speed_kmh": number(snapshot.speed[index] * KMH),
                "speed_sd_kmh": number(snapshot.speed_deviation[index] * KMH),
                "flow_veh_h": number(snapshot.flow[index] * VEH_H),
                "flow_sd_veh_h": number(snapshot.flow_deviation[index] * VEH_H),
                **{key: number(values[index] * unit) for key, values, unit in _ends(snapshot)},
                "density_veh_km": number(snapshot.density[index] * VEH_KM),
                "source": Source(snapshot.source[index]).name.lower(),
                "speed_source": Source(snapshot.speed_source[index]).name.lower(),
                "flow_source": Source(snapshot.flow_source[index]).name.lower(),
                "measured_at": stamp(float(snapshot.measured_at[index])),
                "probe_vehicles": number(snapshot.probes[index], 1),
            },
            "sensors": sensors_shown(snapshot, link_id=link_id),
            "equipment": app.equipment.of_link(link_id),
            "equipment_zh": app.equipment.of_link(link_id, language="zh"),
            "history": {
                "time": [stamp(time) for time in history.time],
                "speed_kmh": numbers(history.speed, KMH),
                "speed_sd_kmh": numbers(history.speed_deviation, KMH),
                "speed_low_kmh": numbers(history.speed_interval[0], KMH),
                "speed_high_kmh": numbers(history.speed_interval[1], KMH),
                "flow_veh_h": numbers(history.flow, VEH_H),
                "flow_low_veh_h": numbers(history.flow_interval[0], VEH_H),
                "flow_high_veh_h": numbers(history.flow_interval[1], VEH_H),
                "source": _names(history.source),
            },
            "truth": app.truth.of_link(index),
        }

    @routes.get("/sensors")
    def sensors() -> dict[str, Any]:
        """Return every sensor with its last values, and whether it is silent, stuck, suspected or dark, and why."""
        return {"sensors": sensors_shown(_snapshot(app))}

    @routes.get("/suspects")
    def suspects(
        code: Literal["silent", "stuck", "empty", "noisy", "biased", "scaled", "drifting", "swapped"] | None = None,
        limit: Annotated[int, Query(ge=0, le=100_000)] = 200,
    ) -> dict[str, Any]:
        """Return the sensors that are not believed, a row for each fault, the newest first, and how many of each."""
        snapshot = _snapshot(app)
        rows = suspect_rows(app.network, snapshot)
        counts = Counter(row["code"] for row in rows)
        return {
            "time": stamp(snapshot.time),
            "sensors_compared": len(set(compress(snapshot.sensors.sensor_ids, snapshot.sensors.compared))),
            "counts": {name: counts[name] for name in CODES},
            "suspects": list(islice((row for row in rows if code in (None, row["code"])), limit)),
        }

    @routes.get("/readings")
    def readings(
        sensor_id: str,
        quantity: str | None = None,
        from_: Annotated[str | None, Query(alias="from")] = None,
        until: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    ) -> dict[str, Any]:
        """Return stored readings of one sensor, newest first."""
        since, end = parse_stamp(from_, name="from"), parse_stamp(until, name="until")
        return {"sensor_id": sensor_id, "readings": readings_of(app.store, sensor_id, quantity, since, end, limit)}

    return routes


def readings_of(
    store: Store, sensor_id: str, quantity: str | None, since: float | None, until: float | None, limit: int
) -> list[dict[str, Any]]:
    """Return stored readings of a sensor, newest first; of one quantity or of all that it has."""
    window = {key: value for key, value in (("since", since), ("until", until)) if value is not None}
    quantities = [quantity] if quantity is not None else _quantities_of(store, sensor_id)
    rows = []
    for key in quantities:
        series = store.series(sensor_id, key, limit=limit, **window)
        rows += [
            {"time": ms / 1000, "quantity": key, "value": value, "quality": quality, "received_at": received}
            for ms, value, quality, received in zip(
                series.time_ms.tolist(), series.value.tolist(), series.quality.tolist(), series.received_at.tolist(),
                strict=True,
            )
        ]  # fmt: skip
    rows.sort(key=lambda row: (-row["time"], row["quantity"]))
    return [{**row, "time": stamp(row["time"]), "received_at": stamp(row["received_at"])} for row in rows[:limit]]


def _quantities_of(store: Store, sensor_id: str) -> list[str]:
    if "\0" in sensor_id:  # no text of the database holds it
        return []
    return [
        str(row[0]) for row in store.database.fetch("SELECT quantity FROM series WHERE sensor_id = %s", (sensor_id,))
    ]
