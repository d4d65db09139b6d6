"""Where the invented city measures more than traffic: weather, car parks, metro stations, venues, rain by zone."""

import numpy as np

from twin.generator.equipment import Equipment, spread
from twin.generator.mesh import COLLECTOR
from twin.generator.roads import Roads

# Kind, prefix of its ids, places a junction and at least, seconds between readings, deviation by quantity.
_KINDS: tuple[tuple[str, str, float, int, int, dict[str, float]], ...] = (
    (
        *("weather_station", "WEA", 0.01, 2, 60),
        {"temperature_c": 0.2, "rain_mm_h": 0.1, "wind_speed_m_s": 0.3, "humidity": 0.01},
    ),
    ("car_park", "PARK", 0.02, 3, 60, {"parked_veh": 0.0, "spaces_veh": 0.0}),
    ("metro_station", "MET", 0.03, 4, 60, {"crowding": 0.02, "headway_s": 5.0, "passengers": 4.0}),
    ("venue", "VEN", 0.01, 2, 300, {"events": 0.0}),
)
RAIN_EVERY_S = 60


def add_places(rng: np.random.Generator, kit: Equipment, roads: Roads, zone_ids: list[str]) -> None:
    """Add what is measured beside traffic, at junctions far from each other, and rain for every zone.

    Parameters
    ----------
    zone_ids
        Zone of each node.
    """
    inner = np.flatnonzero(~roads.gateway & (roads.node_class() <= COLLECTOR))
    for kind, prefix, share, least, interval_s, deviations in _KINDS:
        nodes = inner[spread(rng, roads.xy[inner], max(least, round(share * roads.n_nodes)))]
        for k, node in enumerate(nodes.tolist(), 1):
            name = f"{prefix}-{k:02d}"
            kit.asset(name, kind, node, place=roads.xy[node] + rng.uniform(30.0, 60.0, 2))
            kit.needs(name, kit.power[node], "power")
            kit.needs(name, kit.comms[node], "comms")
            kit.sensor(name, node, link=None, position_m=0.0, interval_s=interval_s, deviations=deviations)
    city = [k for k in range(roads.n_nodes) if not roads.gateway[k]]
    for k, zone_id in enumerate(sorted({zone_ids[node] for node in city}), 1):
        node = next(node for node in city if zone_ids[node] == zone_id)
        kit.zone_sensor(
            f"RAIN-{k:02d}", "rain_radar", zone_id, node, interval_s=RAIN_EVERY_S, deviations={"rain_mm_h": 0.1}
        )
