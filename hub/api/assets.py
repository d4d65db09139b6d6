"""Equipment: what there is, what needs what, how it is, and what people declare failed or restored."""

from collections import Counter
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from hub.api.alerts import Text
from hub.app import App
from hub.equipment import CONDITIONS
from hub.show import parse_stamp


class Declaration(BaseModel):
    """Who says that an asset is failed or restored, and why."""

    model_config = ConfigDict(extra="forbid")
    author: Annotated[Text, Field(min_length=1, max_length=100)] = "operator"
    reason: Annotated[Text, Field(max_length=2000)] = ""


class FailureDeclaration(Declaration):
    """Who says that an asset is failed, why, and since when (RFC 3339; now unless given)."""

    since: str | None = None


def router(app: App) -> APIRouter:
    """Return the routes below ``/assets``, ``/outage`` and ``/causes``."""
    routes = APIRouter(tags=["assets"])
    graph = app.network.assets
    part_of = {
        sensor.sensor_id: name
        for sensor in app.network.sensors
        if (name := sensor.asset_id or sensor.sensor_id) in graph.assets
    }

    def shown(asset_id: str) -> dict[str, Any]:
        found = graph.assets.get(asset_id)
        if found is None:
            raise HTTPException(404, f"asset {asset_id!r} is not in this network")
        return {**asdict(found), **app.equipment.state(asset_id)}

    @routes.get("/assets")
    def assets() -> dict[str, Any]:
        """Return the equipment, how each piece is and why, and what depends on what."""
        return {
            "assets": [shown(name) for name in graph.assets],
            "dependencies": [asdict(dependency) for dependency in graph.dependencies],
            "failed": [failure.asset_id for failure in app.equipment.failures],
        }

    @routes.get("/assets/{asset_id}")
    def asset(asset_id: str) -> dict[str, Any]:
        """Return one asset with how it is, what fails with it, what it hangs on and what people said about it."""
        return {
            **shown(asset_id),
            "downstream": list(graph.downstream(asset_id)),
            "upstream": list(graph.upstream(asset_id)),
            "history": app.equipment.history(asset_id),
        }

    @routes.get("/outage")
    def outage(limit: Annotated[int, Query(ge=0, le=100_000)] = 200) -> dict[str, Any]:
        """Return the assets that do not simply work, the worst first, and how many there are of each state."""
        conditions = app.equipment.conditions()
        counts = Counter(conditions.values())
        return {
            "counts": {condition: counts[condition] for condition in CONDITIONS},
            "dark_sensors": len(app.equipment.dark_sensors()),
            "assets": [shown(name) for name in islice(conditions, limit)],
        }

    @routes.get("/causes")
    def causes() -> dict[str, Any]:
        """Return what may have failed, the likeliest first, given which sensors are silent now and which report."""
        snapshot = app.board.snapshot
        if snapshot is None:
            raise HTTPException(503, "the twin has made no snapshot yet, try again in a second")
        state, silent, heard = snapshot.sensors, set[str](), set[str]()
        for sensor_id, is_silent, is_dark in zip(state.sensor_ids, state.silent, state.dark, strict=True):
            asset_id = part_of.get(sensor_id)
            if asset_id is not None and not is_dark:  # why those are dark is known
                (silent if is_silent else heard).add(asset_id)
        found = graph.common_cause(silent - heard, working=heard, watched=set(part_of.values()))
        return {"silent": sorted(silent - heard), "causes": [cause.to_json() for cause in found]}

    @routes.post("/assets/{asset_id}/fail")
    def fail(asset_id: str, said: Annotated[FailureDeclaration, Body(default_factory=FailureDeclaration)]) -> Any:
        """Declare an asset failed: stored before this answers, in force with the next snapshot."""
        shown(asset_id)
        since = parse_stamp(said.since, name="since")
        app.equipment.fail(asset_id, author=said.author, reason=said.reason, since=since)
        return told(asset_id)

    @routes.post("/assets/{asset_id}/restore")
    def restore(asset_id: str, said: Annotated[Declaration, Body(default_factory=Declaration)]) -> Any:
        """Declare an asset restored: stored before this answers, in force with the next snapshot."""
        shown(asset_id)
        app.equipment.restore(asset_id, author=said.author, reason=said.reason)
        return told(asset_id)

    def told(asset_id: str) -> dict[str, Any]:
        answer = shown(asset_id)
        app.fan.message("asset", asset=answer)  # the other screens see it at once
        return answer

    return routes
