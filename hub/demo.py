"""How the street of a demo is played."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demo:
    """How the street of a demo is played.

    Parameters
    ----------
    speed
        City seconds per wall second.
    seed
        Of demand, noise, incidents and faults.
    hour
        Hour of its typical day at which the street starts.
    """

    speed: float = 1.0
    seed: int = 1
    hour: float = 7.5
