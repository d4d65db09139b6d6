"""Gridlock: a ring of full links in which each waits for room on the next. Reported, never hidden."""

from simulation.engine_riders import dead_queues
from simulation.street import Roads, Traffic


def rings(roads: Roads, traffic: Traffic) -> list[tuple[int, ...]]:
    """Return each ring of links that wait for each other, in road order, beginning with the smallest position."""
    dead, ahead = dead_queues(roads, traffic)
    if not dead.any():
        return []
    found: set[tuple[int, ...]] = set()
    seen: set[int] = set()
    for start in dead.nonzero()[0].tolist():
        trail: dict[int, None] = {}
        queue = start
        while queue >= 0 and queue not in seen and queue not in trail and dead[queue]:
            trail[queue] = None
            queue = int(ahead[queue])
        if queue in trail:
            walk = list(trail)
            ring = [int(roads.part["link"][roads.queue["part"][q]]) for q in walk[walk.index(queue) :]]
            links = list(dict.fromkeys(ring))
            first = links.index(min(links))
            found.add((*links[first:], *links[:first]))
        seen.update(trail)
    return sorted(found)
