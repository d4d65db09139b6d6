"""What it takes to repeat a run: written as ``run.json``, and read again to do it."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sensors import InputError
from simulation.demand import Demand
from simulation.scenario import Scenario
from twin import Network

FORM = 1  # of run.json


def recipe(
    network: Network,
    demand: Demand,
    scenario: Scenario,
    *,
    horizon_s: float | None,
    sample_every_s: float,
    processes: Sequence[object],
    allow_unreachable: bool,
    densities: Mapping[str, float] | None,
    state: Path | str | None,
) -> dict[str, Any]:
    """Return the inputs of a run as they stand in ``run.json``."""
    path = None if demand.path is None else str(demand.path)
    return {
        "form": FORM,
        "run": {
            "network": None if network.folder is None else str(network.folder.absolute()),
            "demand": path if demand.fixed is None else None,
            "trips": path if demand.fixed is not None else None,
            "assumed_demand": demand.assumed,
            "scenario": scenario.to_toml(),
            "horizon_s": horizon_s,
            "sample_every_s": sample_every_s,
            "allow_unreachable": allow_unreachable,
            "densities_veh_m": None if densities is None else dict(densities),
            "state": None if state is None else str(Path(state).absolute()),
            "state_sha256": None if state is None else hashlib.sha256(Path(state).read_bytes()).hexdigest(),
            "processes": [f"{p.__module__}.{getattr(p, '__qualname__', type(p).__name__)}" for p in processes],
        },
        "made_with": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: version_of(name) for name in ("numpy", "numba", "simpy")},
        },
    }


def version_of(name: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def repetition(
    path: Path | str,
    *,
    network: Network | None = None,
    demand: Demand | None = None,
    processes: Sequence[object] = (),
) -> dict[str, Any]:
    """Return the arguments of `simulate` that repeat the run of a ``run.json``.

    Parameters
    ----------
    network, demand
        In place of the files that it names: those that were made in memory, or lie elsewhere now.
    processes
        Those of the run, which no file can hold.

    Raises
    ------
    InputError
        When the file is none of ours, or an input is no longer what it was.
    """
    path = Path(path)
    try:
        saved = json.loads(path.read_text("utf-8-sig"))
        asked = dict(saved["run"])
        right = saved["form"] == FORM
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is no run.json of citytwin simulate") from None
    if not right:
        raise InputError(f"{path}: is of another version of citytwin, {saved.get('version', 'unknown')}")
    if asked["processes"] and len(processes) != len(asked["processes"]):
        raise InputError(
            f"{path}: the run had processes of its own ({', '.join(asked['processes'])}), which no file holds; "
            "repeat it in Python with simulate(**repetition(path, processes=[...]))"
        )
    if network is None:
        if asked["network"] is None:
            raise InputError(f"{path}: its network was made in memory, give it as network")
        network = Network.read(asked["network"])
    faults = [] if network.sha256 == saved["network_sha256"] else [f"{path}: the network is no longer that of the run"]
    if demand is None:
        if asked["assumed_demand"]:
            demand = Demand.gravity(network)
        elif asked["demand"] is None and asked["trips"] is None:
            raise InputError([*faults, f"{path}: its demand was made in memory, give it as demand"])
        else:
            demand = Demand.read(network, demand=asked["demand"], trips=asked["trips"])
    if demand.sha256() != saved["demand_sha256"]:
        faults.append(f"{path}: the demand is no longer that of the run")
    if asked["state"] is not None:
        state = Path(asked["state"])
        if not state.is_file() or hashlib.sha256(state.read_bytes()).hexdigest() != asked["state_sha256"]:
            faults.append(f"{path}: the state {state} from which the run started is gone or has changed")
    if faults:
        raise InputError(faults)
    return {
        "network": network,
        "demand": demand,
        "scenario": Scenario.parse(asked["scenario"], path.name),
        "seed": saved["seed"],
        "horizon_s": asked["horizon_s"],
        "sample_every_s": asked["sample_every_s"],
        "processes": processes,
        "allow_unreachable": asked["allow_unreachable"],
        "densities": asked["densities_veh_m"],
        "state": asked["state"],
    }
