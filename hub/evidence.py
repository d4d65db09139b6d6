"""What an alert says beside its condition: where it is, and the values that made it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from hub.rules import Findings
from hub.rules_tables import LinkTable, NetworkTable, SensorTable
from sensors import Sensor
from twin.state import Source


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subject is, as people say it.

    Parameters
    ----------
    link_id
        Its link, or None.
    lon, lat
        Degrees, or None.
    where
        In words, by language.
    """

    link_id: str | None = None
    lon: float | None = None
    lat: float | None = None
    where: dict[str, str] = field(default_factory=dict)


class Places(Protocol):
    """Knows where links and sensors are."""

    def place(self, on: str, subject: str) -> Place:
        """Return the place of a subject of a rule; an unknown one has its id as words."""


class PlacedNetwork(Protocol):
    """What `NetworkPlaces` needs of a network; `twin.network.Network` has it."""

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The table of sensors."""

    def compile(self) -> Any:
        """Return the arrays of the network."""

    def link_names(self, position: int) -> dict[str, str]:
        """Return how people call a link, by language."""

    def geometry(self, position: int) -> Any:
        """Return the points of a link, (k, 2) degrees."""

    def sensor_point(self, sensor: Sensor) -> tuple[float, float] | None:
        """Return longitude and latitude of a sensor, None where nobody knows."""


class NetworkPlaces:
    """Places of one network.

    Parameters
    ----------
    network
        Links with names and geometry, and the table of sensors.
    """

    def __init__(self, network: PlacedNetwork) -> None:
        self._network = network
        self._position = {link_id: i for i, link_id in enumerate(network.compile().link_ids)}
        self._sensors = {sensor.sensor_id: sensor for sensor in network.sensors}

    def place(self, on: str, subject: str) -> Place:
        """Return the place of a link, a sensor or the whole network; a sensor without a link is called by its name."""
        if on == "network":
            return Place(where={"en": "whole network", "zh": "全网"})
        sensor = self._sensors.get(subject) if on == "sensor" else None
        link_id = subject if on == "link" else sensor.link_id if sensor else ""
        position = self._position.get(link_id)
        if position is None:
            point = None if sensor is None else self._network.sensor_point(sensor)
            en, zh = (sensor.name, sensor.name_zh) if sensor else ("", "")
            where = {"en": en or zh or subject, "zh": zh or en or subject}
            lon, lat = point or (None, None)
            return Place(None, lon, lat, where)
        points = np.asarray(self._network.geometry(position), np.float64)
        middle = points[len(points) // 2] if len(points) != 2 else points.mean(axis=0)
        names = self._network.link_names(position)
        where = {language: names.get(language) or link_id for language in ("en", "zh")}
        return Place(link_id, float(middle[0]), float(middle[1]), where)


class IdPlaces:
    """Places where only ids are known."""

    def place(self, on: str, subject: str) -> Place:
        """Return the id as words, and the link for a link."""
        return Place(subject if on == "link" else None, None, None, {"en": subject, "zh": subject})


def _number(value: float, factor: float = 1.0, digits: int = 1) -> float | None:
    return round(float(value) * factor, digits) if np.isfinite(value) else None


def rfc3339(time: float) -> str:
    """Return a time as RFC 3339 in UTC.

    Examples
    --------
    >>> rfc3339(1406851200.0)
    '2014-08-01T00:00:00Z'
    """
    stamp = datetime.fromtimestamp(time, UTC)
    return stamp.isoformat(timespec="milliseconds" if stamp.microsecond else "seconds").replace("+00:00", "Z")


def _time(time: float) -> str | None:
    return rfc3339(time) if np.isfinite(time) else None


def _readings(findings: Findings, rows: Iterable[int]) -> list[dict[str, Any]]:
    sensors = findings.snapshot.sensors
    return [
        {
            "sensor_id": sensors.sensor_ids[row],
            "quantity": sensors.quantities[row],
            "value": _number(sensors.value[row], digits=3),
            "time": _time(sensors.time[row]),
        }
        for row in rows
    ]


def link_evidence(findings: Findings, row: int) -> dict[str, Any]:
    """Return the state of a link that made its alert, with the readings behind it and its slowest upstream link."""
    snapshot, compiled = findings.snapshot, findings.compiled
    start, of = LinkTable(snapshot, compiled).adjacent("upstream")
    upstream = of[start[row] : start[row + 1]]
    ratio = snapshot.speed[upstream] / compiled.free_speed[upstream]
    link_id = compiled.link_ids[row]
    return {
        "link_id": link_id,
        "time": _time(snapshot.time),
        "speed_kmh": _number(snapshot.speed[row], 3.6),
        "speed_sd_kmh": _number(snapshot.speed_deviation[row], 3.6),
        "free_speed_kmh": _number(compiled.free_speed[row], 3.6),
        "flow_veh_h": _number(snapshot.flow[row], 3600, 0),
        "flow_sd_veh_h": _number(snapshot.flow_deviation[row], 3600, 0),
        "density_veh_km": _number(snapshot.density[row], 1000),
        "source": Source(snapshot.speed_source[row]).name.lower(),
        "measured_at": _time(snapshot.measured_at[row]),
        "upstream_link_id": compiled.link_ids[upstream[np.argmin(ratio)]] if len(upstream) else None,
        "readings": _readings(findings, (i for i, at in enumerate(snapshot.sensors.link_ids) if at == link_id)),
    }


def sensor_evidence(findings: Findings, row: int) -> dict[str, Any]:
    """Return what is known of a sensor that made its alert."""
    table = SensorTable(findings.snapshot, findings.compiled)
    sensor_id = table.subjects[row]
    rows = [i for i, of in enumerate(findings.snapshot.sensors.sensor_ids) if of == sensor_id]
    age, unchanged = float(table.column("age_s")[row]), float(table.column("unchanged_s")[row])
    return {
        "sensor_id": sensor_id,
        "link_id": findings.snapshot.sensors.link_ids[rows[0]],
        "time": _time(findings.snapshot.time),
        "age_s": _number(age),
        "age_min": _number(age, 1 / 60, 0),
        "interval_s": _number(float(table.column("interval_s")[row])),
        "unchanged_s": _number(unchanged),
        "unchanged_min": _number(unchanged, 1 / 60, 0),
        "repeats": int(table.column("repeats")[row]),
        "reason": "; ".join(str(found) for i in rows if (found := findings.snapshot.sensors.findings[i])),
        **_last_values(findings, rows),
        "readings": _readings(findings, rows),
    }


def _last_values(findings: Findings, rows: Iterable[int]) -> dict[str, float | None]:
    """Return the newest values of a sensor by quantity."""
    state = findings.snapshot.sensors
    return {state.quantities[row]: _number(state.value[row], digits=4) for row in rows}


def network_evidence(findings: Findings, row: int) -> dict[str, Any]:
    """Return the figures of the whole network."""
    table = NetworkTable(findings.snapshot, findings.compiled)
    ratio = float(table.column("speed_ratio")[row])
    return {
        "time": _time(findings.snapshot.time),
        "sensors_total": int(table.column("sensors_total")[row]),
        "sensors_silent": _number(float(table.column("sensors_silent")[row]), digits=0),
        "silent_percent": _number(float(table.column("silent_share")[row]), 100, 0),
        "speed_percent": _number(ratio, 100, 0),
    }


EVIDENCE = {"link": link_evidence, "sensor": sensor_evidence, "network": network_evidence}
