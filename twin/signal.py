"""Fixed signal plans: a cycle of stages, each a set of movements that are green together."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """Movements green together, then an all-red intergreen.

    Parameters
    ----------
    green_s, intergreen_s
        Seconds.
    movements
        Pairs (in-link id, out-link id).
    permitted
        Those of them that give way to the others; the rest is protected.
    """

    green_s: float
    intergreen_s: float
    movements: tuple[tuple[str, str], ...]
    permitted: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """The fixed plan of one node: stage 1 starts at ``offset_s + n cycle_s``; what the stages leave over is all red.

    A movement that no stage lists is never green.
    """

    node_id: str
    cycle_s: float
    stages: tuple[Stage, ...]
    offset_s: float = 0.0
