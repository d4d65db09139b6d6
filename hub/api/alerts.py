"""Alerts and what people do with them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hub.app import App
from ingest.catalogue import storable


def _text(text: str) -> str:
    if not storable(text):
        raise ValueError("holds a character that the database cannot keep")
    return text


Text = Annotated[str, AfterValidator(_text)]


class Acknowledgement(BaseModel):
    """Who has seen an alert, and what they say about it."""

    model_config = ConfigDict(extra="forbid")
    author: Annotated[Text, Field(min_length=1, max_length=100)] = "operator"
    comment: Annotated[Text, Field(max_length=2000)] = ""


def router(app: App) -> APIRouter:
    """Return the routes below ``/alerts``."""
    routes = APIRouter(tags=["alerts"])

    @routes.get("/alerts")
    def alerts(state: Literal["firing", "resolved", "all"] = "firing") -> dict[str, Any]:
        """Return alerts, the most severe first, then the newest."""
        return {"alerts": app.desk.alerts(state)}

    @routes.get("/alerts/{alert_id}")
    def alert(alert_id: str) -> dict[str, Any]:
        """Return one alert."""
        found = app.desk.alert(alert_id)
        if found is None:
            raise HTTPException(404, f"alert {alert_id!r} is not known")
        return found

    @routes.post("/alerts/{alert_id}/acknowledge")
    def acknowledge(
        alert_id: str, said: Annotated[Acknowledgement, Body(default_factory=Acknowledgement)]
    ) -> dict[str, Any]:
        """Note that somebody has seen an alert; stored before this answers, and saying it twice changes nothing."""
        found = app.desk.acknowledge(alert_id, author=said.author, comment=said.comment)
        if found is None:
            raise HTTPException(404, f"alert {alert_id!r} is not known")
        app.fan.message("alert", alert=found)  # the other screens see it at once
        return found

    return routes
