"""Equipment in the street: sensors, signals, cabinets, power feeders, communication switches, and what needs what."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from twin.generator.ground import to_degrees
from twin.generator.mesh import ARTERIAL, COLLECTOR, MOTORWAY
from twin.generator.names import DISTRICTS, Name, Names
from twin.generator.roads import Roads
from twin.generator.signals import Signal

Float = npt.NDArray[np.float64]

DETECTORS_PER_JUNCTION = 0.58
CAMERAS_PER_JUNCTION = 0.08
AIR_STATIONS_PER_JUNCTION = 0.035
JUNCTIONS_PER_FEEDER = 60
JUNCTIONS_PER_CABINET = 7
JUNCTIONS_PER_SWITCH = 30

POLICE, ROADS, POWER, ENVIRONMENT, TELECOM = "traffic-police", "roads", "power-grid", "environment", "telecom"
TRANSIT = "transit"
_KIND_NAME: dict[str, Name] = {
    "feeder": ("Feeder", "馈线"),
    "cabinet": ("Cabinet", "机柜"),
    "switch": ("Switch", "交换机"),
    "controller": ("Signal controller", "信号机"),
    "signal": ("Signal", "信号灯"),
    "detector": ("Detector", "检测器"),
    "camera": ("Camera", "摄像机"),
    "air_station": ("Air station", "空气站"),
    "bridge": ("Bridge", "大桥"),
    "weather_station": ("Weather station", "气象站"),
    "car_park": ("Car park", "停车场"),
    "metro_station": ("Metro station", "地铁站"),
    "venue": ("Hall", "会展馆"),
}
_OWNER = {
    "feeder": POWER,
    "cabinet": ROADS,
    "switch": TELECOM,
    "controller": POLICE,
    "signal": POLICE,
    "detector": POLICE,
    "camera": POLICE,
    "air_station": ENVIRONMENT,
    "bridge": ROADS,
    "weather_station": ENVIRONMENT,
    "car_park": ROADS,
    "metro_station": TRANSIT,
    "venue": POLICE,
}
_DEGRADED = {
    "feeder": "dark",
    "cabinet": "dark",
    "switch": "no_data",
    "controller": "flashing",
    "signal": "all_way_stop",
    "detector": "estimated",
    "camera": "estimated",
    "air_station": "no_data",
    "bridge": "closed",
    "weather_station": "no_data",
    "car_park": "no_data",
    "metro_station": "no_data",
    "venue": "no_data",
}


@dataclass(slots=True)
class Equipment:
    """Rows of asset.csv, dependency.csv and sensor.csv."""

    roads: Roads
    names: Names
    node_ids: list[str]
    link_ids: list[str]
    assets: list[dict[str, str | float | int | None]] = field(default_factory=list)
    dependencies: list[dict[str, str | float | int | None]] = field(default_factory=list)
    sensors: list[dict[str, str | float | int | None]] = field(default_factory=list)
    # The cabinet and the switch that serve each junction.
    power: list[str] = field(default_factory=list)
    comms: list[str] = field(default_factory=list)

    def asset(
        self,
        asset_id: str,
        kind: str,
        node: int,
        *,
        link: int | None = None,
        place: Float | None = None,
        autonomy_s: int | None = None,
    ) -> None:
        """Add an asset at a junction, or at a place in metres."""
        lon, lat = to_degrees(*np.split(self.roads.xy[node] if place is None else place, 2))
        en, zh = _KIND_NAME[kind]
        where = self.names.nodes[node] if link is None else self.names.streets[self.roads.street[self.roads.road[link]]]
        self.assets.append(
            {
                "asset_id": asset_id,
                "kind": kind,
                "name": f"{en} {where[0]}",
                "name_zh": f"{where[1]}{zh}",
                "x_coord": round(float(lon[0]), 6),
                "y_coord": round(float(lat[0]), 6),
                "node_id": self.node_ids[node] if link is None else None,
                "link_id": None if link is None else self.link_ids[link],
                "owner": _OWNER[kind],
                "district": DISTRICTS[self.names.district[node]][0],
                "degraded_mode": _DEGRADED[kind],
                "autonomy_s": autonomy_s,
            }
        )

    def needs(self, asset_id: str, depends_on: str, kind: str, *, group: str = "") -> None:
        """Add a dependency; those of one group stand in for each other."""
        self.dependencies.append(
            {
                "asset_id": asset_id,
                "depends_on": depends_on,
                "kind": kind,
                "need": "any" if group else "all",
                "group": group or None,
            }
        )

    def sensor(
        self,
        sensor_id: str,
        node: int,
        *,
        link: int | None,
        position_m: float,
        interval_s: int,
        deviations: dict[str, float],
    ) -> None:
        """Add the sensor of the asset that was added last."""
        asset = self.assets[-1]
        self.sensors.append(
            {
                "sensor_id": sensor_id,
                "kind": asset["kind"],
                "quantities": ";".join(deviations),
                "link_id": None if link is None else self.link_ids[link],
                "position_m": None if link is None else round(position_m, 1),
                "lanes": None if link is None else int(self.roads.lanes[link]),
                "interval_s": interval_s,
                "owner": asset["owner"],
                "asset_id": asset["asset_id"],
                "standard_deviation": ";".join(f"{value:g}" for value in deviations.values()),
                "x_coord": asset["x_coord"],
                "y_coord": asset["y_coord"],
                "zone_id": None,
                "name": asset["name"] if link is None else None,
                "name_zh": asset["name_zh"] if link is None else None,
                "district": DISTRICTS[self.names.district[node]][0],
            }
        )

    def zone_sensor(
        self, sensor_id: str, kind: str, zone_id: str, node: int, *, interval_s: int, deviations: dict[str, float]
    ) -> None:
        """Add a sensor that stands for a whole zone, of whose districts the node's is one; it is no equipment here."""
        self.sensors.append(
            {
                **dict.fromkeys(self.sensors[-1]),
                "sensor_id": sensor_id,
                "kind": kind,
                "quantities": ";".join(deviations),
                "interval_s": interval_s,
                "owner": ENVIRONMENT,
                "standard_deviation": ";".join(f"{value:g}" for value in deviations.values()),
                "zone_id": zone_id,
                "district": DISTRICTS[self.names.district[node]][0],
            }
        )


def install(
    rng: np.random.Generator,
    roads: Roads,
    names: Names,
    signals: list[Signal],
    flow: Float,
    *,
    node_ids: list[str],
    link_ids: list[str],
) -> Equipment:
    """Return the equipment of a city."""
    kit = Equipment(roads, names, node_ids, link_ids)
    power, comms = kit.power, kit.comms = _supply(rng, kit, roads)
    for k, road in enumerate(np.flatnonzero(roads.bridge).tolist(), 1):
        link = int(np.flatnonzero(roads.road == road)[0])
        kit.asset(
            f"BRG-{k:02d}", "bridge", int(roads.start[link]), link=link, place=_at(roads, link, roads.length[link] / 2)
        )
    digits = max(3, len(str(len(signals))))
    for k, signal in enumerate(signals, 1):
        controller, lamp = f"CTL-{k:0{digits}d}", f"SIG-{k:0{digits}d}"
        kit.asset(controller, "controller", signal.node)
        kit.needs(controller, power[signal.node], "power")
        kit.needs(controller, comms[signal.node], "comms")
        kit.asset(lamp, "signal", signal.node)
        kit.needs(lamp, controller, "control")
    _detectors(rng, kit, roads, flow, power, comms)
    _cameras(kit, roads, signals, flow, power, comms)
    _air_stations(rng, kit, roads, power, comms)
    return kit


def spread(rng: np.random.Generator, places: Float, n: int) -> npt.NDArray[np.int64]:
    """Return n of the places, each far from the others."""
    chosen = [int(rng.integers(len(places)))]
    away = np.hypot(*(places - places[chosen[0]]).T)
    while len(chosen) < min(n, len(places)):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.hypot(*(places - places[chosen[-1]]).T))
    return np.array(chosen)


def _supply(rng: np.random.Generator, kit: Equipment, roads: Roads) -> tuple[list[str], list[str]]:
    """Add feeders, cabinets and switches; return the cabinet and the switch that serve each junction."""
    n = roads.n_nodes
    inner = np.flatnonzero(~roads.gateway)
    feeders = inner[spread(rng, roads.xy[inner], max(2, n // JUNCTIONS_PER_FEEDER))]
    for k, node in enumerate(feeders.tolist(), 1):
        kit.asset(f"FDR-{k:02d}", "feeder", node, place=roads.xy[node] + rng.uniform(-90.0, 90.0, 2))
    cabinets = inner[spread(rng, roads.xy[inner], max(2, n // JUNCTIONS_PER_CABINET))]
    near = _nearest(roads.xy[feeders], roads.xy[cabinets], k=2)
    for k, (node, (first, second)) in enumerate(zip(cabinets.tolist(), near.tolist(), strict=True), 1):
        name = f"CAB-{k:03d}"
        battery = int(rng.choice([3_600, 7_200, 14_400])) if rng.random() < 0.4 else None
        kit.asset(name, "cabinet", node, place=roads.xy[node] + rng.uniform(8.0, 14.0, 2), autonomy_s=battery)
        twice = rng.random() < 0.2
        for feeder in (first, second)[: 1 + twice]:
            kit.needs(name, f"FDR-{feeder:02d}", "power", group="supply" if twice else "")
    cabinet_of = _nearest(roads.xy[cabinets], roads.xy)[:, 0]
    switches = inner[spread(rng, roads.xy[inner], max(3, n // JUNCTIONS_PER_SWITCH))]
    for k, node in enumerate(switches.tolist(), 1):
        name = f"SW-{k:02d}"
        kit.asset(
            name,
            "switch",
            node,
            place=roads.xy[node] + rng.uniform(-14.0, -8.0, 2),
            autonomy_s=7_200 if k <= 2 else 1_800,
        )
        kit.needs(name, f"CAB-{cabinet_of[node]:03d}", "power")
        if k > 2:  # the first two are the core; either will do
            kit.needs(name, "SW-01", "comms", group="uplink")
            kit.needs(name, "SW-02", "comms", group="uplink")
    switch_of = _nearest(roads.xy[switches], roads.xy)[:, 0]
    return [f"CAB-{k:03d}" for k in cabinet_of.tolist()], [f"SW-{k:02d}" for k in switch_of.tolist()]


def _nearest(places: Float, points: Float, *, k: int = 1) -> npt.NDArray[np.int64]:
    """Return the numbers, from 1, of the k places nearest to each point, (n, k)."""
    found = cKDTree(places).query(points, k=list(range(1, k + 1)))[1]
    return np.asarray(found, np.int64) + 1


def _at(roads: Roads, link: int, position_m: float) -> Float:
    """Return the place (2,) m at a distance from the upstream end of a link."""
    shape = roads.link_shape(link)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(shape, axis=0).T))))
    return np.array([np.interp(position_m, along, shape[:, k]) for k in (0, 1)])


def _detectors(
    rng: np.random.Generator, kit: Equipment, roads: Roads, flow: Float, power: list[str], comms: list[str]
) -> None:
    """Add detectors: on bridges and ring roads first, then where much traffic is, some on quiet streets."""
    n = round(DETECTORS_PER_JUNCTION * roads.n_nodes)
    kind = roads.link_class
    wish = rng.random(roads.n_links) * 0.5 + np.sqrt(flow / max(1.0, float(flow.max())))
    wish += np.array([0.55, 0.5, 0.12, 0.0])[kind] + np.where(roads.bridge[roads.road], 5.0, 0.0)
    links = np.sort(np.argsort(-wish, kind="stable")[:n])
    digits = max(4, len(str(n)))
    for k, link in enumerate(links.tolist(), 1):
        name, node, length = f"D-{k:0{digits}d}", int(roads.end[link]), float(roads.length[link])
        # Far enough from the stop line that only long queues stand on it, never in the first metres of the link.
        position = min(max(0.55 * length, length - 120.0), length - 15.0)
        kit.asset(name, "detector", node, link=link, place=_at(roads, link, position))
        kit.needs(name, power[node], "power")
        kit.needs(name, comms[node], "comms")
        if roads.bridge[roads.road[link]]:
            bridge = int(np.flatnonzero(np.flatnonzero(roads.bridge) == roads.road[link])[0]) + 1
            kit.needs(name, f"BRG-{bridge:02d}", "structure")
        interval = 10 if kind[link] == MOTORWAY else 20 if kind[link] == ARTERIAL else 30
        lanes = int(roads.lanes[link])
        deviations = {"flow_veh_h": 40.0 * lanes, "speed_kmh": 3.0, "occupancy": 0.02}
        kit.sensor(name, node, link=link, position_m=position, interval_s=interval, deviations=deviations)


def _cameras(
    kit: Equipment, roads: Roads, signals: list[Signal], flow: Float, power: list[str], comms: list[str]
) -> None:
    """Add a camera at each of the busiest junctions, which counts its main approach."""
    load = np.bincount(roads.end, flow, roads.n_nodes)
    nodes = sorted((signal.node for signal in signals), key=lambda node: (-load[node], node))
    for k, node in enumerate(nodes[: round(CAMERAS_PER_JUNCTION * roads.n_nodes)], 1):
        name = f"CAM-{k:03d}"
        link = max(np.flatnonzero(roads.end == node).tolist(), key=lambda m: flow[m])
        kit.asset(name, "camera", node, link=link, place=roads.xy[node] + np.array([6.0, 6.0]))
        kit.needs(name, power[node], "power")
        kit.needs(name, comms[node], "comms")
        position = float(roads.length[link]) - 12.0
        deviations = {"count_veh": 1.0, "speed_kmh": 4.0}
        kit.sensor(name, node, link=link, position_m=position, interval_s=30, deviations=deviations)


def _air_stations(rng: np.random.Generator, kit: Equipment, roads: Roads, power: list[str], comms: list[str]) -> None:
    """Add air stations spread over the city, some beside busy roads; they have no link."""
    inner = np.flatnonzero(~roads.gateway & (roads.node_class() <= COLLECTOR))
    nodes = inner[spread(rng, roads.xy[inner], max(3, round(AIR_STATIONS_PER_JUNCTION * roads.n_nodes)))]
    for k, node in enumerate(nodes.tolist(), 1):
        name = f"AIR-{k:02d}"
        kit.asset(name, "air_station", node, place=roads.xy[node] + rng.uniform(15.0, 40.0, 2), autonomy_s=86_400)
        kit.needs(name, power[node], "power")
        kit.needs(name, comms[node], "comms")
        deviations = {"pm25_ug_m3": 4.0, "pm10_ug_m3": 7.0, "no2_ug_m3": 5.0, "o3_ug_m3": 6.0}
        kit.sensor(name, node, link=None, position_m=0.0, interval_s=60, deviations=deviations)
