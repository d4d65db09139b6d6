"""Everything that a run reads, read at once, so that the faults of all files are told together before it starts."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensors import InputError
from simulation import events
from simulation.conflicts import Junctions
from simulation.demand import Demand, beside
from simulation.demand_file import read_flows, read_trips
from simulation.places import Places, densities_of
from simulation.reach import reachable
from simulation.route_map import draw_map
from simulation.scenario import Scenario
from simulation.signals import green_table, never_green, sound_plans
from simulation.threads import usable_processors
from twin import Network


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run needs.

    Parameters
    ----------
    scenarios
        One for each file; `scenario` is all of them at once.
    densities : veh/m
        By link, of a street that is full at the start; None for an empty one.
    """

    network: Network
    demand: Demand
    scenarios: tuple[Scenario, ...] = ()
    densities: Mapping[str, float] | None = None

    @property
    def scenario(self) -> Scenario:
        """All scenarios at once."""
        return sum(self.scenarios, Scenario())

    @classmethod
    def read(
        cls,
        folder: Path | str,
        *,
        demand: Path | str | None = None,
        trips: Path | str | None = None,
        scenarios: Sequence[Path | str] = (),
        densities: Path | str | None = None,
        horizon_s: float | None = None,
        allow_unreachable: bool = False,
        together: bool = True,
        faults: Iterable[str] = (),
    ) -> "Inputs":
        """Return network, demand, scenarios and densities of their files.

        Parameters
        ----------
        demand, trips
            As `Demand.read` takes them.
        horizon_s
            Vehicles due later are not looked at.
        together
            Whether the scenarios happen in one run, so that they must not contradict each other.
        faults
            Of other arguments; told with those of the files.

        Raises
        ------
        InputError
            With every fault of all files.
        """
        folder, found = Path(folder), list(faults)
        network: Network | None = None
        try:
            network = Network.read(folder)
        except InputError as error:
            found += error.faults
        places = Places.of_folder(folder) if network is None else Places.of(network)
        wish: Demand | None = None
        try:
            wish = _demand(network, places, folder, demand, trips)
        except InputError as error:
            found += error.faults
        dense = None if densities is None else densities_of(Path(densities), places, found)
        read: list[Scenario] = []
        for path in map(Path, scenarios):
            try:
                scenario = Scenario.read(path)
            except InputError as error:
                found += error.faults
                continue
            read.append(scenario)
            if network is None or wish is None:
                found += _unknown_names(scenario, places, path.name)
            else:
                found += events.faults_of(scenario, network, wish, label=path.name)
        if together:
            found += _twice_planned([Path(path).name for path in scenarios], read)
        if network is None or wish is None:
            raise InputError(dict.fromkeys(found))
        if found:
            _check_trips(network, wish, horizon_s, allow_unreachable, found)
        return cls(network, wish, tuple(read), dense)


def _demand(
    network: Network | None,
    places: Places,
    folder: Path,
    demand: Path | str | None,
    trips: Path | str | None,
) -> Demand | None:
    """Return the demand; None, with its faults raised, while the network has faults of its own."""
    if network is not None:
        return Demand.read(network, demand=demand, trips=trips)
    if demand is None and trips is None:
        demand, trips = beside(folder)
    faults: list[str] = []
    if demand is not None:
        read_flows(Path(demand), places, faults)
    if trips is not None:
        read_trips(Path(trips), places, faults)
    if faults:
        raise InputError(faults)
    return None


def _check_trips(
    network: Network, demand: Demand, horizon_s: float | None, allow_unreachable: bool, faults: Sequence[str]
) -> None:
    """Raise the faults found so far with those of trips that have no way."""
    city = network.compile()
    junctions = Junctions(network)
    plans, _ = sound_plans(junctions, network.signals, ())
    chart = draw_map(city, never_green(city, green_table(junctions, plans)))
    trips = demand.trips(until_s=math.inf if horizon_s is None else horizon_s)
    allowed = allow_unreachable or demand.assumed
    found = list(dict.fromkeys(faults))
    reachable(city, chart, demand, trips, allowed=allowed, threads=usable_processors(), faults=found)


def _unknown_names(scenario: Scenario, places: Places, label: str) -> list[str]:
    """Return a sentence for each name of a scenario that no readable table of the network has."""
    faults = []
    planned = [plan.node_id for plan in scenario.signal] + [control.node_id for control in scenario.control]
    for kind, of_kind, table in (
        ("close", [(entry.links, places.links) for entry in scenario.close], "link.csv"),
        ("incident", [((entry.link,), places.links) for entry in scenario.incident], "link.csv"),
        ("capacity", [(entry.links, places.links) for entry in scenario.capacity], "link.csv"),
        ("speed_limit", [(entry.links, places.links) for entry in scenario.speed_limit], "link.csv"),
        ("lanes", [(entry.links, places.links) for entry in scenario.lanes], "link.csv"),
        ("emergency", [(entry.links, places.links) for entry in scenario.emergency], "link.csv"),
        ("emergency", [((e.from_node, e.to_node), places.nodes) for e in scenario.emergency], "node.csv"),
        (
            "demand",
            [((*entry.origins, *entry.destinations), places.zones) for entry in scenario.demand],
            "the zones of the network",
        ),
        ("signal", [((name,), places.nodes) for name in planned], "node.csv"),
        ("asset_failure", [((entry.asset,), places.assets) for entry in scenario.asset_failure], "asset.csv"),
    ):
        for number, (names, known) in enumerate(of_kind, 1):
            faults += [
                f"{label}: [[{kind}]] {number}: {name!r} is not in {table}"
                for name in dict.fromkeys(names)
                if name not in known
            ]
    return faults


def _twice_planned(labels: Sequence[str], scenarios: Sequence[Scenario]) -> list[str]:
    """Return a sentence for each node to which two files give a signal plan."""
    faults = []
    for (first, one), (second, two) in itertools.combinations(zip(labels, scenarios, strict=False), 2):
        for node in {plan.node_id for plan in one.signal} & {plan.node_id for plan in two.signal}:
            faults.append(f"{second}: [[signal]]: node {node!r} has a plan in {first} already, a node has one")
    return sorted(faults)
