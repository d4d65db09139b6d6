"""Recorded phases of signals (CSV: intersection, t_s, phase) as the cycle that repeats in them.

A row says which phase is shown from then on. A phase that is named again before the next one begins ends there: until
the next one phase 0 is shown, in which CityFlow clears the junction.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from sensors import InputError
from twin.tables import Table

Phases = list[tuple[float, frozenset[int]]]


def recorded_phases(source: Path, known: Mapping[str, Phases]) -> dict[str, Phases]:
    """Return durations (s) and green road links by intersection: the cycle that the record repeats.

    Parameters
    ----------
    known
        The phases of the network, to which the record refers by number.

    Raises
    ------
    InputError
        When an intersection or phase is unknown, or no cycle repeats.
    """
    faults: list[str] = []
    table = Table.read(source, faults)
    if not table.requires("intersection", "t_s", "phase"):
        raise InputError(faults)
    times = table.numbers("t_s", least=0, required=True)
    numbers = table.numbers("phase", least=0, whole=True, required=True)
    rows: dict[str, list[tuple[float, int]]] = {}
    for index, name in enumerate(table.text("intersection")):
        if name not in known:
            table.fault(index, f"intersection {name!r} is not in the network")
        elif numbers[index] >= len(known[name]):
            table.fault(index, f"phase is {numbers[index]:g}, intersection {name} has {len(known[name])} from 0 on")
        elif not faults:
            rows.setdefault(name, []).append((float(times[index]), int(numbers[index])))
    if faults:
        raise InputError(faults)
    result: dict[str, Phases] = {}
    for name, record in rows.items():
        cycle = repeating(spans(sorted(record)))
        if not cycle:
            faults.append(f"{source.name}: intersection {name}: no cycle of phases repeats, so it has no fixed plan")
        result[name] = [(time, known[name][number][1]) for number, time in cycle]
    if faults:
        raise InputError(faults)
    return result


def spans(record: list[tuple[float, int]]) -> list[tuple[int, float]]:
    """Return phase and duration one after the other; the last row only ends what it names.

    Examples
    --------
    >>> spans([(0.0, 1), (15.0, 1), (20.0, 2), (35.0, 2), (40.0, 1)])
    [(1, 15.0), (0, 5.0), (2, 15.0), (0, 5.0)]
    """
    found: list[tuple[int, float]] = []
    ended = False
    for (time, phase), (until, following) in pairwise(record):
        found.append((0 if ended else phase, until - time))
        ended = following == phase and not ended
    return [(phase, time) for phase, time in found if time > 0]


def repeating(shown: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the shortest cycle that a sequence repeats, at least once in full; empty when there is none.

    Examples
    --------
    >>> repeating([(1, 15.0), (0, 5.0), (2, 15.0), (0, 5.0), (1, 15.0), (0, 5.0), (2, 15.0), (0, 5.0), (1, 15.0)])
    [(1, 15.0), (0, 5.0), (2, 15.0), (0, 5.0)]
    """
    for length in range(1, len(shown) // 2 + 1):
        if all(shown[k] == shown[k - length] for k in range(length, len(shown))):
            return shown[:length]
    return []
