"""What is measured beside traffic, and where: weather, air, parking, public transport, events."""

from typing import Any

from fastapi import APIRouter, HTTPException

from hub.app import App
from hub.places import Places, Theme


def router(app: App) -> APIRouter:
    """Return the route ``/places``."""
    routes = APIRouter(tags=["places"])
    places = Places(app.network)

    @routes.get("/places")
    def all_places(theme: Theme | None = None) -> dict[str, Any]:
        """Return zones, stations and points with the newest values of weather, air, parking, transit and events."""
        snapshot = app.board.snapshot
        if snapshot is None:
            raise HTTPException(503, "the twin has made no snapshot yet, try again in a second")
        dark, dark_zh = app.equipment.dark_sensors(), app.equipment.dark_sensors(language="zh")
        return {"places": places.rows(snapshot, theme=theme, dark=dark, dark_zh=dark_zh)}

    return routes
