"""The first form of a what-if: a typical day twice from a time of day on, without and with a scenario, one run each.

Both runs share every random number, so that the difference is the scenario's doing; how much of it chance could do as
well is not told: that takes an ensemble.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simulation.demand import Demand
from simulation.measure import Cumulative
from simulation.scenario import Scenario
from simulation.simulation import Simulation
from twin import Network
from twin.compiled import Float

DAY_S = 86_400.0
# Waiting at origins is integrated over samples of this distance (trapezoids); on links times are exact.
SAMPLE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What happened between two instants of one run."""

    summary: dict[str, float]
    delay: Float  # (n_links,) veh s


def difference(
    folder: Path | str,
    question: Mapping[str, Any],
    *,
    start_s: float,
    horizon_s: float,
    seed: int,
    standing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a baseline and a scenario on the same typical day, and what the scenario changes.

    Parameters
    ----------
    folder
        Network folder, with its demand or a gravity model.
    question
        Tables of a scenario as in TOML; times in seconds from ``start_s``.
    start_s
        Second of the day at which both runs are compared from; the hour before is run unobserved.
    horizon_s
        How long they are compared, s.
    seed
        Of both.
    standing
        Tables of a scenario that holds in both runs, from the start of the hour before: what is failed anyway.

    Returns
    -------
    dict
        ``baseline`` and ``scenario`` (summaries), ``difference`` (scenario less baseline), ``links`` (change of delay
        on every link, vehicle-hours), ``notes``.

    Raises
    ------
    InputError
        For every fault of network, demand or scenario.
    """
    network = Network.read(folder)
    demand = Demand.read(network).over_a_day()
    asked = _shifted(Scenario.of(question), start_s, start_s + horizon_s)
    anyway = Scenario.of(standing or {})
    baseline, notes = _run(network, demand, anyway, start_s=start_s, horizon_s=horizon_s, seed=seed)
    scenario, _ = _run(network, demand, anyway + asked, start_s=start_s, horizon_s=horizon_s, seed=seed)
    change = (scenario.delay - baseline.delay) / 3600.0
    keys = ("total_time_spent_veh_h", "total_delay_veh_h", "arrived")
    return {
        "baseline": baseline.summary,
        "scenario": scenario.summary,
        "difference": {key: round(scenario.summary[key] - baseline.summary[key], 3) for key in keys},
        "links": {
            "link_ids": list(network.compile().link_ids),
            "delay_change_veh_h": [round(value, 4) for value in change.tolist()],
        },
        "notes": list(notes),
    }


def _shifted(scenario: Scenario, start_s: float, end_s: float) -> Scenario:
    """Return the scenario with its closures counted from the start of the day, over at the end of the comparison."""
    close = tuple(
        replace(closure, from_s=closure.from_s + start_s, until_s=min(closure.until_s + start_s, end_s))
        for closure in scenario.close
    )
    return replace(scenario, close=close)


def _run(
    network: Network, demand: Demand, scenario: Scenario, *, start_s: float, horizon_s: float, seed: int
) -> tuple[_Outcome, tuple[str, ...]]:
    simulation = Simulation(network, demand, scenario=scenario, seed=seed, start_s=start_s, repeat_s=DAY_S)
    first, counts = simulation.cumulative(), simulation.counts()
    waiting, begin = [counts.waiting], counts
    times = np.linspace(start_s, start_s + horizon_s, max(2, round(horizon_s / SAMPLE_S) + 1))
    for time in times[1:].tolist():
        simulation.advance(time)
        counts = simulation.counts()
        waiting.append(counts.waiting)
        simulation.note_gridlock()
    last = simulation.cumulative()
    waited = float(np.trapezoid(waiting, times))
    spent = last.vehicle_seconds - first.vehicle_seconds
    delay = np.maximum(0.0, spent - _passed(first, last) * simulation.city.length / simulation.city.free_speed)
    summary = {
        "demanded": counts.demanded - begin.demanded,
        "arrived": counts.arrived - begin.arrived,
        "on_links": counts.on_links,
        "waiting": counts.waiting,
        "total_time_spent_veh_h": round((float(spent.sum()) + waited) / 3600.0, 3),
        "total_delay_veh_h": round((float(delay.sum()) + waited) / 3600.0, 3),
        "total_distance_km": round(float((_passed(first, last) * simulation.city.length).sum()) / 1000.0, 3),
        "gridlocks": len(simulation.rings),
    }
    return _Outcome(summary, delay), simulation.notes


def _passed(first: Cumulative, last: Cumulative) -> Float:
    """Return vehicles that passed each link: the mean of those that entered and those that left."""
    passed: Float = 0.5 * ((last.entered - first.entered) + (last.left - first.left))
    return passed
