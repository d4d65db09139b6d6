"""What is still to happen in a run, as plain data, so that a saved state can hold it.

A **task** (a closure, a signal controller, an emergency vehicle) is what a generator would be, with what it remembers
between two instants laid open: called at an instant with its memory, it does what is due and returns **appointments**,
instants and memories with which it is called again.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

import simpy

from simulation.instants import until

if TYPE_CHECKING:
    from simulation.simulation import Simulation

Memory = tuple[Any, ...]  # of what `simulation.saved.pack` can hold; empty at the start of the run
Appointments = Sequence[tuple[float, Memory]]
AT_ONCE = 0  # SimPy's urgent priority: what begins with the run does so before all that its processes do


class Task(ABC):
    """One thing that a run does at certain instants; as ``task(env, simulation)`` it is a SimPy process."""

    @abstractmethod
    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Do what is due ``now`` and return when, with which memory, to be called again."""

    def __call__(self, env: simpy.Environment, simulation: "Simulation") -> Generator[simpy.Event, object, None]:
        """Do all steps in a process of their own."""
        Agenda(simulation, [self]).begin()
        yield env.timeout(0.0)


class Agenda:
    """The appointments of the tasks of a run; those of one instant are kept in the order in which they were made."""

    def __init__(self, simulation: "Simulation", tasks: Sequence[Task]) -> None:
        self._simulation, self._tasks = simulation, tasks
        self._made = 0
        self._open: dict[int, tuple[float, int, Memory]] = {}

    def begin(self) -> None:
        """Call every task for the first time, at this instant."""
        now = float(self._simulation.env.now)
        for number in range(len(self._tasks)):
            self._add(now, number, (), priority=AT_ONCE)

    def state(self) -> list[tuple[float, int, Memory]]:
        """Return the open appointments in the order in which they were made: instant, number of the task, memory."""
        return list(self._open.values())

    def restore(self, state: Sequence[tuple[float, int, Memory]]) -> None:
        """Make the appointments that `state` gave, for the same tasks."""
        for at, number, memory in state:
            self._add(at, number, memory, priority=1 if memory else AT_ONCE)

    def _add(self, at: float, number: int, memory: Memory, *, priority: int = 1) -> None:
        place, env = self._made, self._simulation.env
        self._made += 1
        self._open[place] = (at, number, memory)
        event = simpy.Event(env)
        event._ok, event._value = True, None
        event.callbacks.append(lambda _: self._keep(place))
        env.schedule(event, priority=cast(Any, priority), delay=until(env, at))

    def _keep(self, place: int) -> None:
        at, number, memory = self._open.pop(place)
        for then, new in self._tasks[number].step(self._simulation, at, memory):
            self._add(then, number, new)
