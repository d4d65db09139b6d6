"""What-if runs: ask, watch the progress, read the difference."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from hub.app import App

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Closure(BaseModel):
    """Links that nobody may enter for a while; seconds from the start of the run."""

    model_config = ConfigDict(extra="forbid")
    links: Annotated[list[str], Field(min_length=1, max_length=1000)]
    from_s: Seconds = 0.0
    until_s: Seconds | None = None
    reroute: bool = False


class Question(BaseModel):
    """A scenario in the form that the cockpit asks for: closures on a typical day."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=200)] = ""
    close: Annotated[list[Closure], Field(min_length=1, max_length=100)]
    horizon_s: Annotated[float, Field(gt=0, le=14_400, allow_inf_nan=False)] = 3600.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1


def router(app: App) -> APIRouter:
    """Return the routes ``/scenarios`` and ``/runs``."""
    routes = APIRouter(tags=["what-if"])

    @routes.post("/scenarios", status_code=202)
    def ask(question: Question) -> dict[str, str]:
        """Start a run of the typical day without and with the scenario; returns at once with the id of the run."""
        run = app.ask(
            question.model_dump(exclude_none=True, include={"close"}),
            name=question.name,
            horizon_s=question.horizon_s,
            seed=question.seed,
        )
        return {"run_id": run.run_id}

    @routes.get("/runs")
    def runs() -> dict[str, Any]:
        """Return the kept runs, newest first."""
        return {"runs": [run.as_json() for run in app.runs.all()]}

    @routes.get("/runs/{run_id}")
    def run(run_id: str) -> dict[str, Any]:
        """Return one run: how far it is, and the difference once it is done."""
        found = app.runs.get(run_id)
        if found is None:
            raise HTTPException(404, f"run {run_id!r} is not kept")
        return found.as_json()

    return routes
