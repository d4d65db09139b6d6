"""What-if: the traffic engine, demand, signals, incidents, routes and their results."""

from simulation.demand import Demand
from simulation.departures import Flow, Surge, Trips
from simulation.link_times import LinkTimes, Recorder
from simulation.measure import Cumulative, LinkMeasure
from simulation.result import Result
from simulation.run import equilibrium, simulate
from simulation.scenario import Scenario
from simulation.simulation import Simulation
from simulation.user_equilibrium import Equilibrium
from simulation.warm_up import compile_kernels

__all__ = [
    "Cumulative",
    "Demand",
    "Equilibrium",
    "Flow",
    "LinkMeasure",
    "LinkTimes",
    "Recorder",
    "Result",
    "Scenario",
    "Simulation",
    "Surge",
    "Trips",
    "compile_kernels",
    "equilibrium",
    "simulate",
]
