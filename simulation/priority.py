"""Who yields to whom, and the gap that it takes: permitted turns at a signal, and a flashing signal.

A movement yields to its **rivals**: it goes once the last vehicle of each is the **critical gap** ago and the last one
of its own the **follow-up time**.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from simulation.conflicts import FACING_DEG, LEFT, RIGHT, THROUGH, U_TURN, Junctions, Movement, apart
from twin.compiled import CompiledNetwork

# Critical gap and follow-up time (s). Under green, left: Highway Capacity Manual 2000, chapter 16, appendix C (measured
# at 45 approaches in five states since: 4.9 and 2.7 s). Others: as at a stop sign.
UNDER_GREEN_S = {LEFT: (4.5, 2.5), U_TURN: (4.5, 2.5), RIGHT: (6.2, 3.3), THROUGH: (6.5, 4.0)}
# Two-way stop, base values by turn for a major road of one lane each way and of more: ibidem, exhibit 17-5.
FROM_MAJOR_S = ({LEFT: (4.1, 2.2), U_TURN: (4.1, 2.2)}, {LEFT: (4.1, 2.2), U_TURN: (4.1, 2.2)})
FROM_MINOR_S = (
    {LEFT: (7.1, 3.5), U_TURN: (7.1, 3.5), THROUGH: (6.5, 4.0), RIGHT: (6.2, 3.3)},
    {LEFT: (7.5, 3.5), U_TURN: (7.5, 3.5), THROUGH: (6.5, 4.0), RIGHT: (6.9, 3.3)},
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom a movement yields to (rows of movements), and the gap and follow-up time that it needs (s)."""

    rivals: tuple[int, ...]
    gap: float
    follow_up: float


def permitted_rule(turn: Movement, green: Sequence[Movement], permitted: set[int], junctions: Junctions) -> Rule | None:
    """Return the rule of a permitted movement among those that are green together; None where it need not yield.

    It yields to its `rivals`, but not in a lane group of several lanes that others use as well (`is_shared`).
    """
    lanes = lanes_of(junctions.city, turn.row)
    yields_to = rivals(turn, green, permitted, junctions)
    if not yields_to or is_shared(turn, green, permitted, junctions.city):
        return None
    gap, follow_up = UNDER_GREEN_S[turn.kind]
    return Rule(tuple(other.row for other in yields_to), gap, follow_up / lanes)


def is_shared(turn: Movement, green: Sequence[Movement], permitted: set[int], city: CompiledNetwork) -> bool:
    """Return whether a permitted movement is in a lane group of several lanes that protected ones use as well.

    A queue that is one for all lanes would hold them all; in the street the waiting vehicle stands in one of them.
    """
    return lanes_of(city, turn.row) >= 2 and any(
        other.row not in permitted and city.movement_group[other.row] == city.movement_group[turn.row]
        for other in green
    )


def rivals(turn: Movement, green: Sequence[Movement], permitted: set[int], junctions: Junctions) -> list[Movement]:
    """Return the movements that conflict with a permitted one and go before it.

    Where no direction tells which those are, all protected ones of other links.
    """
    others = [other for other in green if other.into != turn.into]
    found = [
        other
        for other in others
        if junctions.conflict(turn, other) and (other.row not in permitted or other.kind < turn.kind)
    ]
    return found or [o for o in others if o.row not in permitted and not junctions.distinct(turn, o)]


def lanes_of(city: CompiledNetwork, movement: int) -> float:
    """Return the lanes of a movement's lane group."""
    return max(1.0, float(city.group_lanes[city.movement_group[movement]]))


def major_links(junctions: Junctions, node: int) -> set[int]:
    """Return the approaches that have priority when the signal flashes: those of the higher class, else capacity.

    Empty where all are alike, or where the higher ones cross each other: then no road has priority.
    """
    city = junctions.city
    links = city.in_link[city.in_start[node] : city.in_start[node + 1]].tolist()
    for rank in (city.link_class, -city.capacity):
        best = min((float(rank[link]) for link in links), default=0.0)
        major = {link for link in links if float(rank[link]) <= best + 1e-9}
        straight = [turn for turn in junctions.movements(node).values() if turn.into in major and turn.kind == THROUGH]
        if len(major) < len(links):
            alone = not any(junctions.cross(a, b) for k, a in enumerate(straight) for b in straight[:k])
            return major if alone else set()
    return set()


def flashing_rules(junctions: Junctions, node: int) -> dict[int, Rule | None] | None:
    """Return the rule of every movement while the signal flashes, by row; None where no road has priority.

    Ranks as at a two-way stop: the major road goes; then its left turns and the minor road's right turns; then the
    minor road straight on; then its left turns. Each yields to the conflicting ones of higher rank.
    """
    city, turns = junctions.city, junctions.movements(node)
    major = major_links(junctions, node)
    if not major:
        return None
    several = int(max(city.lanes[link] for link in major) >= 2)

    def rank(turn: Movement) -> int:
        if turn.into in major:
            return 2 if turn.kind in (LEFT, U_TURN) else 1
        return {RIGHT: 2, THROUGH: 3}.get(turn.kind, 4)

    rules: dict[int, Rule | None] = {}
    for turn in turns.values():
        rivals = tuple(
            other.row
            for other in turns.values()
            if rank(other) < rank(turn) and (junctions.cross(turn, other) or junctions.merge(turn, other))
        )
        table = (FROM_MAJOR_S if turn.into in major else FROM_MINOR_S)[several]
        shared = turn.into in major and lanes_of(city, turn.row) >= 2
        if not rivals or turn.kind not in table or shared:
            rules[turn.row] = None
            continue
        gap, follow_up = table[turn.kind]
        rules[turn.row] = Rule(rivals, gap, follow_up / lanes_of(city, turn.row))
    return rules


def opposite(junctions: Junctions, links: Sequence[int]) -> bool:
    """Return whether two approaches face each other."""
    first, second = (junctions.direction(link) for link in links)
    return apart(first, second) > FACING_DEG
