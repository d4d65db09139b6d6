"""CityJSON 2.0: roads as ribbons of lanes, buildings as blocks, equipment as points, water and parks as surfaces.

Coordinates are UTM metres and height above the street, which is taken as flat. Source: OGC 20-072r5, CityJSON 2.0.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twin.files import write_file
from twin.geometry import Float, all_at_once
from twin.links import CLASS_NAMES
from twin.network import Network
from twin.polygon import opened, polygons
from twin.projection import utm_zone
from twin.ribbon import LANE_WIDTH_M, ribbons

Object = dict[str, object]
Ring = list[int]

SCALE_M = 0.001
_AREAS = {"water": "WaterBody", "park": "PlantCover"}


def write(network: Network, out: Path, *, overwrite: bool = False) -> list[str]:
    """Write a city as one CityJSON document, and return what people should know of it.

    Raises
    ------
    InputError
        When something stands there and is not to be replaced.
    """
    city = _City(network)
    write_file(out, city.lines(), overwrite=overwrite)
    notes = ["heights are above the street, which is taken as flat"]
    if city.without_place:
        notes.append(f"{city.without_place} sensors and assets without a place are left out")
    return notes


class _City:
    """The objects of a city, whose corners share one list of vertices."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.epsg, self.projection = utm_zone(network.origin)
        self.points: list[tuple[int, int, int]] = []
        self.index: dict[tuple[int, int, int], int] = {}
        # Whole metres below all that is drawn; what a ribbon adds at its side is less.
        self.shift = np.floor(self.projection.to_metres(network.nodes.lon_lat).min(axis=0))
        self.objects: dict[str, Object] = {}
        self.without_place = 0
        self._roads()
        self._buildings()
        self._furniture()
        self._areas()

    def lines(self) -> Iterator[str]:
        """Yield the document."""
        yield json.dumps(self.head())[:-1] + ',\n"CityObjects": {\n'
        before = ""
        for name, thing in self.objects.items():
            yield f"{before}{json.dumps(name, ensure_ascii=False)}: {json.dumps(thing, ensure_ascii=False)}"
            before = ",\n"
        yield f'\n}},\n"vertices": {json.dumps(self.points)}}}\n'

    def head(self) -> Object:
        corners = np.array(self.points or [(0, 0, 0)]) * SCALE_M + [*self.shift, 0.0]
        extent = [*corners.min(axis=0), *corners.max(axis=0)]
        return {
            "type": "CityJSON",
            "version": "2.0",
            "transform": {"scale": [SCALE_M] * 3, "translate": [*self.shift.tolist(), 0.0]},
            "metadata": {
                "title": self.network.name,
                "identifier": self.network.sha256,
                "referenceSystem": f"https://www.opengis.net/def/crs/EPSG/0/{self.epsg}",
                "geographicalExtent": [round(float(value), 3) for value in extent],
            },
        }

    def _metres(self, lon_lat: Float) -> Float:
        return np.asarray(self.projection.to_metres(lon_lat) - self.shift, np.float64)

    def _vertices(self, xy: Float, z: float = 0.0) -> Ring:
        """Return the numbers of points, those that are there already and new ones."""
        height = round(z / SCALE_M)
        numbers = []
        for x, y in np.rint(xy / SCALE_M).astype(np.int64).tolist():
            key = (x, y, height)
            at = self.index.setdefault(key, len(self.points))
            if at == len(self.points):
                self.points.append(key)
            numbers.append(at)
        return numbers

    def _add(self, name: str, kind: str, geometry: list[Object], attributes: Object) -> None:
        words = {key: value for key, value in attributes.items() if value not in ("", None, [])}
        self.objects[name] = {"type": kind, "attributes": words, "geometry": geometry}

    def _roads(self) -> None:
        links, compiled = self.network.links, self.network.compile()
        lines = all_at_once(self._metres, links.geometry)
        sides = [line[::-1] for line in lines] if self.network.drives_left else lines
        points, faces, owner = ribbons(sides, links.lanes.astype(np.float64) * LANE_WIDTH_M)
        first = np.searchsorted(owner, np.arange(len(links) + 1))
        for k, name in enumerate(links.ids):
            surface = self._ribbon(points, faces[first[k] : first[k + 1], 1:])
            centre = _apart(self._vertices(lines[k]))
            geometry: list[Object] = []
            if len(centre) > 1:
                geometry.append({"type": "MultiLineString", "lod": "0", "boundaries": [centre]})
            if surface:
                meaning = {"surfaces": [{"type": "TrafficArea", "function": "driving lane"}]}
                whole = {**meaning, "values": [0] * len(surface)}
                geometry.append({"type": "MultiSurface", "lod": "1", "boundaries": surface, "semantics": whole})
            words: Object = {
                "name": links.names[k],
                "name_zh": links.names_zh[k],
                "class": CLASS_NAMES[links.link_class[k]],
                "from_node_id": compiled.node_ids[links.from_node[k]],
                "to_node_id": compiled.node_ids[links.to_node[k]],
                "length_m": round(float(links.length[k]), 3),
                "lanes": int(links.lanes[k]),
                "free_speed_kmh": round(float(links.free_speed[k]) * 3.6, 3),
                "assumed": list(links.assumed[k]),
            }
            self._add(f"link:{name}", "Road", geometry, words)

    def _ribbon(self, points: Float, quads: npt.NDArray[np.int64]) -> list[list[Ring]]:
        """Return the surfaces of a road, seen from above anticlockwise; what has no area is left out."""
        found = []
        for quad in quads:
            ring = _apart(self._vertices(points[quad[::-1], :2]), ring=True)
            if len(ring) > 2:
                found.append([ring])
        return found

    def _buildings(self) -> None:
        for building in self.network.buildings:
            solids = []
            for part in polygons([self._metres(opened(ring)) for ring in building.rings]):
                solids.append([self._block(part, building.height_m)])
            kind: Object = {"type": "Solid", "lod": "1", "boundaries": solids[0]}
            if len(solids) > 1:
                kind = {"type": "MultiSolid", "lod": "1", "boundaries": solids}
            self._add(f"building:{building.building_id}", "Building", [kind], {"height_m": building.height_m})

    def _block(self, rings: Sequence[Float], height: float) -> list[list[Ring]]:
        """Return the shell of a block: its top, its bottom, and a wall for each side of every ring."""
        low = [_apart(self._vertices(ring), ring=True) for ring in rings]
        high = [_apart(self._vertices(ring, height), ring=True) for ring in rings]
        walls = [
            [[a, b, above[(k + 1) % len(below)], above[k]]]
            for below, above in zip(low, high, strict=True)
            for k, (a, b) in enumerate(zip(below, [*below[1:], below[0]], strict=True))
        ]
        return [high, [ring[::-1] for ring in low], *walls]

    def _furniture(self) -> None:
        for asset in self.network.assets.assets.values():
            words: Object = {"class": asset.kind, "name": asset.name, "name_zh": asset.name_zh, "owner": asset.owner}
            self._stand(f"asset:{asset.asset_id}", asset.lon_lat, {**words, "link_id": asset.link_id})
        for sensor in self.network.sensors:
            words = {"class": sensor.kind, "quantities": list(sensor.quantities), "owner": sensor.owner}
            place = self.network.sensor_point(sensor)
            self._stand(f"sensor:{sensor.sensor_id}", place, {**words, "link_id": sensor.link_id})

    def _stand(self, name: str, place: tuple[float, float] | None, words: Object) -> None:
        if place is None:
            self.without_place += 1
            return
        point = self._vertices(self._metres(np.array([place])))
        self._add(name, "CityFurniture", [{"type": "MultiPoint", "lod": "0", "boundaries": point}], words)

    def _areas(self) -> None:
        for area in self.network.areas:
            parts = polygons([self._metres(opened(ring)) for ring in area.rings])
            surface = [[_apart(self._vertices(ring), ring=True) for ring in part] for part in parts]
            geometry: Object = {"type": "MultiSurface", "lod": "0", "boundaries": surface}
            self._add(f"area:{area.area_id}", _AREAS[area.kind], [geometry], {"class": area.kind})


def _apart(numbers: Ring, *, ring: bool = False) -> Ring:
    """Return vertices without those that repeat the one before, in a ring also the first one at its end.

    Examples
    --------
    >>> _apart([1, 1, 2, 3, 1], ring=True), _apart([1, 1])
    ([1, 2, 3], [1])
    """
    kept = [number for k, number in enumerate(numbers) if not k or number != numbers[k - 1]]
    while ring and len(kept) > 1 and kept[0] == kept[-1]:
        kept.pop()
    return kept
