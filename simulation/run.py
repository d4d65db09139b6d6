"""``simulate``: one run, sampled, to its result."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import simpy

from sensors import InputError
from simulation.demand import Demand
from simulation.detectors import DetectorLog
from simulation.instants import Late, until
from simulation.link_times import Experienced, LinkTimes, Recorder
from simulation.measure import Cumulative
from simulation.outcome import result_of
from simulation.progress import CancelError, Progress, bar
from simulation.recipe import recipe
from simulation.result import Result
from simulation.scenario import Scenario
from simulation.simulation import Process, Simulation
from simulation.user_equilibrium import Equilibrium, settle
from simulation.warm_up import compile_kernels
from twin import Network

PATIENCE_S = 86400.0  # without a horizon: how long after the last departure a run may last
LONGEST_STEP_S = 60.0  # of recorded link times
MOST_ROWS = 1e8  # of links.csv: 5 GB


def simulate(
    network: Network,
    demand: Demand | None = None,
    *,
    scenario: Scenario | None = None,
    seed: int = 0,
    horizon_s: float | None = None,
    sample_every_s: float = 60.0,
    processes: Sequence[Process] = (),
    allow_unreachable: bool = False,
    densities: Mapping[str, float] | None = None,
    state: Path | str | None = None,
    save_state: Path | str | None = None,
    progress: Callable[[Progress], object] | None = None,
    cancelled: Callable[[], bool] | None = None,
    threads: int | None = None,
    times: LinkTimes | None = None,
    on_iteration: Callable[[int, float], object] | None = None,
) -> Result:
    """Return the result of one run; of the last of several where routes depend on what vehicles met before.

    Parameters
    ----------
    demand
        That of the network's folder by default, else a gravity model marked assumed.
    horizon_s
        End of the run; by default when everyone has arrived, at most 24 h after the last departure.
    sample_every_s
        Interval of ``result.links``.
    processes
        SimPy processes of your own, called as ``process(env, simulation)``.
    densities : veh/m
        By link: the street is that full at the start, see `simulation.fill`.
    state
        File of `Simulation.save`: the run goes on from there.
    save_state
        File to which the state at the end is saved.
    progress
        Called after every sample; what it raises ends the run. By default a bar on standard error, if that is a
        terminal.
    cancelled
        Asked between events; once it is true the run ends.
    threads
        As many as there are processors by default; the result does not depend on it.
    times
        Of another run, for routes on experienced times; by default a run on instantaneous ones is made before.
    on_iteration
        Called with number, from 1, and relative gap of every run towards an equilibrium.

    Raises
    ------
    InputError
        With every fault of demand and scenario, before anything runs.
    CancelError
        When ``cancelled`` said so.
    """
    for name, value in (("horizon_s", horizon_s), ("sample_every_s", sample_every_s)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}, must be a number > 0")
    scenario = scenario or Scenario()
    demand = Demand.read(network) if demand is None else demand
    compile_kernels()
    if state is not None and densities is not None:
        raise InputError("both densities and a state are given to start from, give one")
    routing = scenario.routing
    if save_state is not None and (routing.update == "equilibrium" or routing.times == "experienced"):
        raise InputError("a run whose routes depend on a run before it cannot be saved: no file holds that one")
    if state is not None and routing.update == "equilibrium":
        raise InputError("an equilibrium cannot go on from a saved state, whose vehicles have chosen; leave one out")
    options: dict[str, Any] = {
        "demand": demand,
        "scenario": scenario,
        "seed": seed,
        "horizon_s": horizon_s,
        "sample_every_s": sample_every_s,
        "processes": processes,
        "allow_unreachable": allow_unreachable,
        "densities": densities,
        "state": state,
        "progress": progress,
        "cancelled": cancelled,
        "threads": threads,
    }
    if routing.update == "equilibrium":
        return _settle(network, options, on_iteration).result
    if routing.times == "experienced" and times is None:
        recorder = Recorder(step_s=min(routing.interval_s, LONGEST_STEP_S))
        _once(network, **options, drivers=(recorder,))
        times = recorder.times()
    drivers = () if times is None else (Experienced(times),)
    result, simulation = _once(network, **options, drivers=drivers)
    if save_state is not None:
        simulation.save(save_state)
    return result


def equilibrium(
    network: Network,
    demand: Demand | None = None,
    *,
    iterations: int = 20,
    gap: float = 0.01,
    scenario: Scenario | None = None,
    seed: int = 0,
    horizon_s: float | None = None,
    sample_every_s: float = 60.0,
    threads: int | None = None,
    on_iteration: Callable[[int, float], object] | None = None,
) -> Equilibrium:
    """Return routes by which hardly any vehicle would arrive earlier on another one, and the run that shows it.

    Parameters
    ----------
    demand, seed, horizon_s, sample_every_s, threads
        As for `simulate`. Without a horizon, runs end when everyone has arrived.
    iterations, gap
        At most so many runs, fewer once the relative gap is no larger.
    scenario
        Its ``[routing]`` counts for ``interval_s`` alone.
    on_iteration
        Called after every run with its number, from 1, and its gap.

    Raises
    ------
    InputError
        With every fault of demand and scenario, before anything runs.

    Notes
    -----
    See `simulation.user_equilibrium`.
    """
    if not iterations >= 1:
        raise InputError(f"iterations is {iterations}, must be at least 1")
    scenario = scenario or Scenario()
    routing = replace(scenario.routing, update="equilibrium", times="instantaneous", iterations=iterations, gap=gap)
    compile_kernels()
    options = {
        "demand": Demand.read(network) if demand is None else demand,
        "scenario": replace(scenario, routing=routing),
        "seed": seed,
        "horizon_s": horizon_s,
        "sample_every_s": sample_every_s,
        "processes": (),
        "allow_unreachable": False,
        "densities": None,
        "state": None,
        "progress": None,
        "cancelled": None,
        "threads": threads,
    }
    return _settle(network, options, on_iteration)


def _settle(
    network: Network, options: Mapping[str, Any], on_iteration: Callable[[int, float], object] | None
) -> Equilibrium:
    """Make runs that approach an equilibrium; the wall time is that of all."""
    begin, routing = time.perf_counter(), options["scenario"].routing
    found = settle(
        lambda commuters: _once(network, **options, drivers=(commuters,))[0],
        iterations=routing.iterations,
        gap=routing.gap,
        step_s=min(routing.interval_s, LONGEST_STEP_S),
        on_iteration=on_iteration,
    )
    totals = {**found.result.totals, "engine_wall_s": round(time.perf_counter() - begin, 6)}
    return replace(found, result=replace(found.result, totals=totals))


def _once(
    network: Network,
    *,
    demand: Demand,
    scenario: Scenario,
    seed: int,
    horizon_s: float | None,
    sample_every_s: float,
    processes: Sequence[Process],
    allow_unreachable: bool,
    densities: Mapping[str, float] | None,
    state: Path | str | None,
    progress: Callable[[Progress], object] | None,
    cancelled: Callable[[], bool] | None,
    threads: int | None,
    drivers: Sequence[Process],
) -> tuple[Result, Simulation]:
    """Make one run, ``drivers`` being processes of ours."""
    begin = time.perf_counter()
    end = math.inf if horizon_s is None else horizon_s
    common: dict[str, Any] = {
        "scenario": scenario,
        "seed": seed,
        "until_s": end,
        "processes": (*processes, *drivers),
        "allow_unreachable": allow_unreachable,
        "threads": threads,
    }
    if state is None:
        simulation = Simulation(network, demand, densities=densities, **common)
    else:
        simulation = Simulation.load(state, network, demand, **common)
    detectors = DetectorLog(simulation)
    samples = _run(simulation, horizon_s, sample_every_s, progress, cancelled)
    wall = time.perf_counter() - begin
    made = recipe(
        network,
        demand,
        scenario,
        horizon_s=horizon_s,
        sample_every_s=sample_every_s,
        processes=processes,
        allow_unreachable=allow_unreachable,
        densities=densities,
        state=state,
    )
    return result_of(simulation, demand, samples, wall, made, detectors.table()), simulation


def _run(
    simulation: Simulation,
    horizon_s: float | None,
    sample_every_s: float,
    progress: Callable[[Progress], object] | None,
    cancelled: Callable[[], bool] | None,
) -> list[Cumulative]:
    """Advance to the end, and return the samples on the way."""
    start, n_trips, n_links = simulation.time_s, len(simulation.trips), simulation.city.n_links
    last = float(simulation.trips.depart[-1]) if n_trips else 0.0
    if horizon_s is not None and horizon_s <= start:
        raise InputError(f"horizon_s is {horizon_s:g}, must be > {start:g}, the time at which the run begins")
    rows = ((last if horizon_s is None else horizon_s) - start) / sample_every_s * n_links
    if rows > MOST_ROWS:
        raise InputError(
            f"sample_every_s is {sample_every_s:g}: links.csv would have {rows:.2g} rows, must be at most {MOST_ROWS:g}"
        )
    samples = [simulation.cumulative()]
    latest = horizon_s if horizon_s is not None else max(start, last) + PATIENCE_S
    done = simulation.env.event()
    simulation.env.process(
        _sampling(simulation, samples, sample_every_s, latest, done, stop_when_empty=horizon_s is None)
    )
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(bar(start, horizon_s, n_trips)) if progress is None else progress
        told = 1
        while not done.triggered:
            if cancelled is not None and cancelled():
                raise CancelError(f"the run was cancelled at {simulation.time_s:g} s")
            simulation.advance_to_event()
            if shown is not None and len(samples) > told:
                told = len(samples)
                shown(Progress(samples[-1].time_s, horizon_s, simulation.counts().arrived, n_trips))
    return samples


def _sampling(
    simulation: Simulation,
    samples: list[Cumulative],
    every_s: float,
    latest: float,
    done: simpy.Event,
    *,
    stop_when_empty: bool,
) -> Generator[simpy.Event, object, None]:
    """Take a sample at the end of every interval.

    A sample at t holds what happened before t: nothing has entered a link that is closed until t.
    """
    number = math.floor(simulation.time_s / every_s)
    while True:
        number += 1
        at = min(number * every_s, latest)
        yield Late(simulation.env, until(simulation.env, at), rank=2)  # after detectors
        samples.append(simulation.cumulative())
        simulation.settle()
        simulation.note_gridlock()
        counts = simulation.counts()
        everyone = counts.arrived == len(simulation.trips)
        if at >= latest or (stop_when_empty and everyone):
            done.succeed()
            return
