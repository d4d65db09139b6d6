"""What a run of the demo says at its end: counts in and out, incidents and alerts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.app import App


@dataclass(frozen=True, slots=True)
class Report:
    """Lines for a person, and whether all counts agree."""

    lines: tuple[str, ...]
    good: bool


def report(app: App, street: Mapping[str, Any] | None) -> Report:
    """Return what went through: readings in and out, and what the street did without saying so.

    Parameters
    ----------
    street
        The street's own last words: payloads and readings published, acknowledged; incidents and faults.
    """
    lines: list[str] = []
    good = True
    if app.intake is not None:
        count = app.intake.metrics.readings
        out = sum(count.values()) - count["received"]
        agree = count["received"] == out
        good = good and agree
        lines.append(
            f"readings: received {count['received']} {'=' if agree else '!='} stored {count['stored']} + duplicate "
            f"{count['duplicate']} + conflict {count['conflict']} + rejected {count['rejected']}"
            + (f" + in the spool {count['spooled']}" if count["spooled"] else "")
        )
    if street is not None:
        waiting = street["published"] - street["acknowledged"]
        good = good and waiting == 0
        lines.append(
            f"street: published {street['published']} payloads, acknowledged {street['acknowledged']}"
            + (f", {waiting} NOT acknowledged" if waiting else "")
        )
        lines.append(f"incidents injected {street['incidents']}, sensor faults injected {street['faults']}")
    lines.append(f"alerts raised {app.desk.fired}")
    error = app.truth.error
    if error is not None:
        lines.append(
            f"error of the estimate against the street: speed {_known(error.speed_kmh_mae)} km/h, "
            f"flow {error.flow_veh_h_mae:.0f} veh/h (mean absolute, all links)"
        )
    return Report(tuple(lines), good)


def _known(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "unknown"
