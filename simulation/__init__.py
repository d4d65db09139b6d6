"""What-if: the traffic engine, demand, signals, incidents, routes and their results."""

from simulation.demand import Demand
from simulation.departures import Flow, Surge, Trips
from simulation.measure import Cumulative, LinkMeasure
from simulation.result import Result
from simulation.run import compile_kernels, simulate
from simulation.scenario import Scenario
from simulation.simulation import Simulation

__all__ = [
    "Cumulative",
    "Demand",
    "Flow",
    "LinkMeasure",
    "Result",
    "Scenario",
    "Simulation",
    "Surge",
    "Trips",
    "compile_kernels",
    "simulate",
]
