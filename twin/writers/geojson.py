"""GeoJSON (RFC 7946): links, nodes, sensors, equipment, buildings and areas as features of one collection.

Every feature says in ``layer`` what it is; numbers carry their unit in their name.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from twin.files import write_file
from twin.geometry import Float
from twin.links import CLASS_NAMES
from twin.network import Network
from twin.polygon import closed, polygons

Feature = dict[str, object]
DIGITS = 7  # of a degree: a centimetre


def write(network: Network, out: Path, *, overwrite: bool = False) -> list[str]:
    """Write one FeatureCollection in WGS84 degrees; nothing of it needs a note.

    Raises
    ------
    InputError
        When something stands there and is not to be replaced.
    """
    write_file(out, _lines(network), overwrite=overwrite)
    return []


def _lines(network: Network) -> Iterator[str]:
    """Yield the document, a line a feature, so that a large city is never held as text."""
    about = {"name": network.name, "network_sha256": network.sha256, "notes": list(network.notes)}
    head = ", ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in about.items())
    yield f'{{"type": "FeatureCollection", {head}, "features": [\n'
    before = ""
    for feature in features(network):
        yield before + json.dumps(feature, ensure_ascii=False, allow_nan=False)
        before = ",\n"
    yield "\n]}\n"


def features(network: Network) -> Iterator[Feature]:
    """Yield all features of a network: links first, then nodes, sensors, assets, buildings and areas."""
    yield from _links(network)
    compiled, nodes = network.compile(), network.nodes
    for k, name in enumerate(nodes.ids):
        words = {
            "name": nodes.names[k],
            "name_zh": nodes.names_zh[k],
            "zone_id": nodes.zone_ids[k],
            "ctrl_type": nodes.ctrl_types[k],
            "in_links": int(compiled.in_start[k + 1] - compiled.in_start[k]),
            "out_links": int(compiled.out_start[k + 1] - compiled.out_start[k]),
            "cycle_s": network.signals[name].cycle_s if name in network.signals else None,
        }
        yield _feature("node", name, "Point", _point(nodes.lon_lat[k]), words)
    for sensor in network.sensors:
        place = network.sensor_point(sensor)
        if place is not None:
            words = {"kind": sensor.kind, "quantities": list(sensor.quantities), "link_id": sensor.link_id}
            more = {"interval_s": sensor.interval_s, "owner": sensor.owner}
            yield _feature("sensor", sensor.sensor_id, "Point", _point(place), {**words, **more})
    for asset in network.assets.assets.values():
        if asset.lon_lat is not None:
            words = {"kind": asset.kind, "name": asset.name, "name_zh": asset.name_zh, "node_id": asset.node_id}
            more = {"link_id": asset.link_id, "owner": asset.owner}
            yield _feature("asset", asset.asset_id, "Point", _point(asset.lon_lat), {**words, **more})
    for building in network.buildings:
        kind, coordinates = _polygons(building.rings)
        yield _feature("building", building.building_id, kind, coordinates, {"height_m": building.height_m})
    for area in network.areas:
        kind, coordinates = _polygons(area.rings)
        yield _feature("area", area.area_id, kind, coordinates, {"kind": area.kind})


def _links(network: Network) -> Iterator[Feature]:
    compiled, links = network.compile(), network.links
    for k, name in enumerate(links.ids):
        yield _feature(
            "link",
            name,
            "LineString",
            np.round(links.geometry[k], DIGITS).tolist(),
            {
                "name": links.names[k],
                "name_zh": links.names_zh[k],
                "from_node_id": compiled.node_ids[links.from_node[k]],
                "to_node_id": compiled.node_ids[links.to_node[k]],
                "class": CLASS_NAMES[links.link_class[k]],
                "length_m": round(float(links.length[k]), 3),
                "lanes": int(links.lanes[k]),
                "free_speed_kmh": round(float(links.free_speed[k]) * 3.6, 3),
                "capacity_veh_h": round(float(links.capacity[k]) * 3600, 1),
                "assumed": list(links.assumed[k]),
            },
        )


def _feature(layer: str, name: str, kind: str, coordinates: object, properties: Feature) -> Feature:
    geometry = {"type": kind, "coordinates": coordinates}
    return {
        "type": "Feature",
        "id": f"{layer}:{name}",
        "geometry": geometry,
        "properties": {"layer": layer, f"{layer}_id": name, **properties},
    }


def _point(lon_lat: Sequence[float] | Float) -> list[float]:
    return [round(float(value), DIGITS) for value in lon_lat]


def _polygons(rings: Sequence[Float]) -> tuple[str, object]:
    """Return one polygon, or several where rings lie beside each other."""
    parts = [[np.round(closed(ring), DIGITS).tolist() for ring in part] for part in polygons(rings)]
    return ("Polygon", parts[0]) if len(parts) == 1 else ("MultiPolygon", parts)
