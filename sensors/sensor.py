"""A sensor: where it stands, what it measures, how often and how well."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sensor:
    """One row of ``sensor.csv``.

    Parameters
    ----------
    sensor_id
        Unique; the last level of its MQTT topic.
    kind
        ``detector``, ``camera``, ``air_station``, ``travel_time``, ... (free text, lower case).
    quantities
        Keys of `sensors.quantity.QUANTITIES`.
    link_id
        The link it measures, or ``""``.
    position_m
        Metres from the upstream end of the link.
    lanes
        Lanes that it covers; a flow is the sum over them.
    interval_s
        Seconds between readings.
    owner, asset_id
        Owning department and the asset it is part of, or ``""``.
    standard_deviation
        In the order and units of ``quantities``; empty when unknown.
    x_coord, y_coord
        Place in the network's coordinates, for sensors without a link.
    zone_id
        The zone for which it stands as a whole, or ``""``.
    name, name_zh
        How people call it, or ``""``.
    """

    sensor_id: str
    kind: str = "detector"
    quantities: tuple[str, ...] = ("flow_veh_h", "speed_kmh", "occupancy")
    link_id: str = ""
    position_m: float = 0.0
    lanes: int = 1
    interval_s: float = 60.0
    owner: str = ""
    asset_id: str = ""
    standard_deviation: tuple[float, ...] = ()
    x_coord: float | None = None
    y_coord: float | None = None
    zone_id: str = ""
    name: str = ""
    name_zh: str = ""
