"""The network as the cockpit draws it: names once, geometry once as binary, the background as GeoJSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Response

from hub import frames
from hub.app import App
from hub.show import link_attributes
from twin import Network
from twin.compiled import Float


def router(app: App) -> APIRouter:
    """Return the routes below ``/api/v1/network``."""
    routes = APIRouter(tags=["network"])
    network, compiled = app.network, app.compiled
    names = [network.link_names(link) for link in range(compiled.n_links)]
    lines = [network.geometry(link) for link in range(compiled.n_links)]
    points = np.concatenate(lines) if lines else np.zeros((1, 2))
    description: dict[str, Any] = {
        "name": network.name or app.settings.city.name,
        "name_zh": network.name_zh or app.settings.city.name_zh,
        "network_sha256": network.sha256,
        "n_nodes": compiled.n_nodes,
        "n_links": compiled.n_links,
        "origin": [float(value) for value in compiled.origin],
        "bounds": [float(value) for value in (*points.min(axis=0), *points.max(axis=0))],
        "link_ids": list(compiled.link_ids),
        "link_names_en": [name["en"] for name in names],
        "link_names_zh": [name["zh"] for name in names],
        "link_class": [int(value) for value in compiled.link_class],
        "notes": list(network.notes),
        "demo": app.demo is not None,
        "timezone": app.timezone,
        "clock_factor": None if app.clock.event_time is not None else app.clock.factor,
        "folder": None if network.folder is None else str(network.folder.resolve()),
    }
    geometry = frames.geometry(compiled, lines)
    background = _background(network)

    @routes.get("/network")
    def describe() -> dict[str, Any]:
        """Return what the network is called, how large it is and the ids and names of its links in array order."""
        return description

    @routes.get("/network/geometry", response_class=Response)
    def shape() -> Response:
        """Return the geometry of all links as one binary document (`hub.frames.geometry`)."""
        return Response(geometry, media_type="application/octet-stream", headers={"Cache-Control": "max-age=3600"})

    @routes.get("/network/base")
    def base() -> dict[str, Any]:
        """Return water, parks and buildings as GeoJSON."""
        return background

    @routes.get("/network/links")
    def links() -> dict[str, Any]:
        """Return all links as GeoJSON, with their attributes in field units."""
        return {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": link_id,
                    "geometry": {"type": "LineString", "coordinates": lines[link].tolist()},
                    "properties": link_attributes(network, link),
                }
                for link, link_id in enumerate(compiled.link_ids)
            ],
        }

    return routes


def _background(network: Network) -> dict[str, Any]:
    """Return water, parks and buildings as GeoJSON."""
    features = [_feature(area.area_id, area.rings, {"kind": area.kind}) for area in network.areas]
    features += [
        _feature(house.building_id, house.rings, {"kind": "building", "height_m": house.height_m})
        for house in network.buildings
    ]
    return {"type": "FeatureCollection", "features": features}


def _feature(name: str, rings: Sequence[Float], properties: dict[str, Any]) -> dict[str, Any]:
    shape = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
    return {"type": "Feature", "id": name, "geometry": shape, "properties": properties}
