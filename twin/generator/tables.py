"""The generated city as tables: GMNS 0.96 with the tables and columns of our own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.generator.demand import Demand
from twin.generator.ground import line_string, polygon, to_degrees
from twin.generator.names import DISTRICTS, Names
from twin.generator.roads import CAPACITY_VEH_H_LANE, FACILITY_TYPE, FREE_SPEED_KMH, Roads
from twin.generator.scenery import Area, Building
from twin.generator.signals import INTERGREEN_S, Movement, Signal

Table = list[dict[str, str | float | int | None]]


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of nodes, links and zones, in the order of the arrays."""

    nodes: list[str]
    links: list[str]

    @classmethod
    def of(cls, roads: Roads) -> "Ids":
        """Return ids of equal width, from 1."""
        wide_node, wide_link = max(3, len(str(roads.n_nodes))), max(4, len(str(roads.n_links)))
        return cls(
            [f"N{k:0{wide_node}d}" for k in range(1, roads.n_nodes + 1)],
            [f"L{k:0{wide_link}d}" for k in range(1, roads.n_links + 1)],
        )


def _zone_ids(demand: Demand) -> list[str]:
    """Return Z01, ... for zones of the city and X01, ... for gateways."""
    inner = int((demand.gateway < 0).sum())
    return [f"Z{k + 1:02d}" if k < inner else f"X{k + 1 - inner:02d}" for k in range(len(demand.gateway))]


def node_zones(demand: Demand) -> list[str]:
    """Return the zone of each node."""
    zones = _zone_ids(demand)
    return [zones[k] for k in demand.node_zone.tolist()]


def network_tables(
    roads: Roads, names: Names, demand: Demand, signals: list[Signal], ids: Ids, *, seed: int
) -> dict[str, Table]:
    """Return config, note, node and link."""
    en, zh = names.city
    config: Table = [
        {
            "dataset_name": f"{en} (invented, seed {seed})",
            "name": en,
            "name_zh": f"{zh}（虚构）",
            "short_length": "meter",
            "long_length": "meter",
            "speed": "km/h",
            "crs": "EPSG:4326",
            "geometry_field_format": "wkt",
            "currency": "CNY",
            "version_number": 0.96,
            "id_type": "string",
            "timezone": "Asia/Shanghai",
        }
    ]
    notes: Table = [
        {
            "note": "invented",
            "text": f"{en} is an invented city (generated, seed {seed}, {roads.n_nodes} junctions); "
            "it lies on no real map.",
        },
        {
            "note": "demand",
            "text": f"A working day of {demand.trips.sum():.0f} vehicle trips from a gravity model over "
            f"{len(demand.gateway)} zones; flows are not measured.",
        },
    ]
    return {
        "config": config,
        "note": notes,
        "node": _nodes(roads, names, demand, signals, ids),
        "link": _links(roads, names, ids),
    }


def _nodes(roads: Roads, names: Names, demand: Demand, signals: list[Signal], ids: Ids) -> Table:
    lon, lat = to_degrees(roads.xy[:, 0], roads.xy[:, 1])
    zones = _zone_ids(demand)
    signalised = {signal.node for signal in signals}
    interchange = roads.node_class() == 0
    return [
        {
            "node_id": ids.nodes[k],
            "name": names.nodes[k][0],
            "name_zh": names.nodes[k][1],
            "x_coord": round(float(lon[k]), 6),
            "y_coord": round(float(lat[k]), 6),
            "node_type": "gateway" if roads.gateway[k] else "interchange" if interchange[k] else "intersection",
            "ctrl_type": "signal" if k in signalised else "none",
            "zone_id": zones[demand.node_zone[k]],
            "district": DISTRICTS[names.district[k]][0],
        }
        for k in range(roads.n_nodes)
    ]


def _links(roads: Roads, names: Names, ids: Ids) -> Table:
    rows: Table = []
    for k in range(roads.n_links):
        road = int(roads.road[k])
        kind = int(roads.road_class[road])
        en, zh = names.streets[roads.street[road]]
        shape = roads.link_shape(k)
        rows.append(
            {
                "link_id": ids.links[k],
                "name": en,
                "name_zh": zh,
                "from_node_id": ids.nodes[roads.start[k]],
                "to_node_id": ids.nodes[roads.end[k]],
                "directed": 1,
                "geometry": line_string(shape[:, 0], shape[:, 1]),
                "dir_flag": 1,
                "length": float(roads.length[k]),
                "facility_type": FACILITY_TYPE[kind],
                "capacity": CAPACITY_VEH_H_LANE[kind],
                "free_speed": FREE_SPEED_KMH[kind],
                "lanes": int(roads.lanes[k]),
                "bridge": int(roads.bridge[road]),
                "district": DISTRICTS[names.district[int(roads.end[k])]][0],
            }
        )
    return rows


def signal_tables(
    roads: Roads, names: Names, movements: list[Movement], signals: list[Signal], ids: Ids
) -> dict[str, Table]:
    """Return movement and the tables of controllers, coordination, plans, phases and the movements of each phase."""
    wide = max(4, len(str(len(movements))))
    movement_ids = [f"M{k:0{wide}d}" for k in range(1, len(movements) + 1)]
    signalised = {signal.node for signal in signals}
    tables: dict[str, Table] = {
        "movement": _movements(roads, names, movements, movement_ids, signalised, ids),
        "signal_controller": [],
        "signal_coordination": [],
        "signal_timing_plan": [],
        "signal_timing_phase": [],
        "signal_phase_mvmt": [],
    }
    digits = max(3, len(str(len(signals))))
    for k, signal in enumerate(signals, 1):
        controller, plan = f"CTL-{k:0{digits}d}", f"TP-{k:0{digits}d}"
        tables["signal_controller"].append({"controller_id": controller, "node_id": ids.nodes[signal.node]})
        tables["signal_coordination"].append(
            {
                "coordination_id": f"CO-{k:0{digits}d}",
                "timing_plan_id": plan,
                "controller_id": controller,
                "coord_phase": 1,
                "coord_ref_to": "begin_of_green",
                "offset": signal.offset_s,
            }
        )
        tables["signal_timing_plan"].append(
            {
                "timing_plan_id": plan,
                "controller_id": controller,
                "time_day": "11111111_0000_2400",
                "cycle_length": signal.cycle_s,
            }
        )
        for position, stage in enumerate(signal.stages, 1):
            phase = f"{plan}-{position}"
            tables["signal_timing_phase"].append(
                {
                    "timing_phase_id": phase,
                    "timing_plan_id": plan,
                    "signal_phase_num": position,
                    "min_green": stage.green_s,
                    "max_green": stage.green_s,
                    "extension": 0,
                    "clearance": INTERGREEN_S,
                    "ring": 1,
                    "barrier": 1 if stage.main else 2,
                    "position": position,
                }
            )
            for number in stage.movements:
                tables["signal_phase_mvmt"].append(
                    {
                        "signal_phase_mvmt_id": f"PM{len(tables['signal_phase_mvmt']) + 1:0{wide}d}",
                        "timing_phase_id": phase,
                        "mvmt_id": movement_ids[number],
                        "link_id": None,
                        "protection": "permitted" if number in stage.permitted else "protected",
                    }
                )
    return tables


def _movements(
    roads: Roads, names: Names, movements: list[Movement], movement_ids: list[str], signalised: set[int], ids: Ids
) -> Table:
    return [
        {
            "mvmt_id": movement_ids[k],
            "node_id": ids.nodes[m.node],
            "name": f"{names.streets[roads.street[roads.road[m.link_in]]][0]} to "
            f"{names.streets[roads.street[roads.road[m.link_out]]][0]}",
            "ib_link_id": ids.links[m.link_in],
            "start_ib_lane": m.first_lane,
            "end_ib_lane": m.last_lane,
            "ob_link_id": ids.links[m.link_out],
            "start_ob_lane": 1,
            "end_ob_lane": int(roads.lanes[m.link_out]),
            "type": m.turn,
            "ctrl_type": "signal" if m.node in signalised else "no_control",
            "pocket_m": m.pocket_m or None,
        }
        for k, m in enumerate(movements)
    ]


def demand_tables(roads: Roads, names: Names, demand: Demand, ids: Ids) -> dict[str, Table]:
    """Return zone, zone_node and demand."""
    zones = _zone_ids(demand)
    size = np.bincount(demand.node_zone, minlength=len(zones))
    middle = [np.bincount(demand.node_zone, roads.xy[:, k], len(zones)) / size for k in (0, 1)]
    lon, lat = to_degrees(middle[0], middle[1])
    zone: Table = []
    for k, zone_id in enumerate(zones):
        inside = np.flatnonzero(demand.node_zone == k)
        node = int(inside[np.hypot(*(roads.xy[inside] - [middle[0][k], middle[1][k]]).T).argmin()])
        district = DISTRICTS[names.district[node]]
        zone.append(
            {
                "zone_id": zone_id,
                "name": f"{district[1]}, {names.nodes[node][0]}",
                "name_zh": f"{district[2]}{names.nodes[node][1]}",
                "x_coord": round(float(lon[k]), 6),
                "y_coord": round(float(lat[k]), 6),
                "district": district[0],
                "population": int(demand.population[k]),
                "jobs": int(demand.jobs[k]),
                "external": int(demand.gateway[k] >= 0),
            }
        )
    shares = demand.shares(roads)
    zone_node: Table = [
        {"zone_id": zones[demand.node_zone[k]], "node_id": ids.nodes[k], "share": round(float(shares[k]), 6)}
        for k in np.lexsort((np.arange(roads.n_nodes), demand.node_zone)).tolist()
        if shares[k] > 0
    ]
    trips: npt.NDArray[np.float64] = demand.trips.round(2)
    rows: Table = [
        {
            "o_zone_id": zones[demand.origin[pair]],
            "d_zone_id": zones[demand.destination[pair]],
            "volume": float(trips[pair, period]),
            "start_s": int(demand.start_s[period]),
            "end_s": int(demand.end_s[period]),
        }
        for period in range(trips.shape[1])
        for pair in np.flatnonzero(trips[:, period] > 0).tolist()
    ]
    return {"zone": zone, "zone_node": zone_node, "demand": rows}


def scenery_tables(areas: list[Area], buildings: list[Building]) -> dict[str, Table]:
    """Return area and building."""
    wide = max(4, len(str(len(buildings))))
    return {
        "area": [
            {
                "area_id": f"A{k:03d}",
                "kind": area.kind,
                "name": area.name[0],
                "name_zh": area.name[1],
                "geometry": polygon(area.ring[:, 0], area.ring[:, 1]),
            }
            for k, area in enumerate(areas, 1)
        ],
        "building": [
            {
                "building_id": f"B{k:0{wide}d}",
                "height_m": building.height_m,
                "geometry": polygon(building.ring[:, 0], building.ring[:, 1]),
            }
            for k, building in enumerate(buildings, 1)
        ],
    }
