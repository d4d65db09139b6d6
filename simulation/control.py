"""What changes the roads while vehicles are on them: capacity, lanes, speed and closures.

Every change takes effect at its instant and goes back exactly: what a vehicle still had to wait or to drive when it
came is worked off at the new rate.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulation.engine_kernel import wake
from simulation.paving import set_lookahead
from simulation.street import MIN_PART_M, Long, Roads, Traffic
from twin.compiled import CompiledNetwork, Float


class Control:
    """The state of all that a scenario may change, and the hand that changes it."""

    def __init__(self, network: CompiledNetwork, roads: Roads, traffic: Traffic) -> None:
        self._network = network
        self._factors: dict[int, list[float]] = {}
        self._stop_headway = np.zeros(network.n_links)
        self._closed = np.zeros(network.n_links, np.int64)
        self._limits: dict[int, list[float]] = {}
        self._blocked: dict[tuple[int, float], float] = {}
        self._narrowed: dict[int, float] = {}
        self._debt: dict[tuple[bool, int], float] = {}
        self.bind(roads, traffic)

    def bind(self, roads: Roads, traffic: Traffic) -> None:
        """Work on these arrays from now on."""
        self.roads, self.traffic = roads, traffic
        self._first = np.flatnonzero(roads.part["first"])
        self._end = np.concatenate([self._first[1:], [len(roads.part)]])
        for link in self._narrowed:
            self._fit(link)

    def state(self) -> dict[str, object]:
        """Return what changes while it runs."""
        made_anew = {"_network", "roads", "traffic", "_first", "_end"}
        return {name: value for name, value in vars(self).items() if name not in made_anew}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)

    def move(self, part: Long, queue: Long) -> None:
        """Follow parts and queues to new positions."""
        self._debt = {
            (entry, int((part if entry else queue)[place])): owed for (entry, place), owed in self._debt.items()
        }

    @property
    def closed(self) -> Float:
        """Number of closures in force by link."""
        return self._closed.astype(float)

    def _wake(self, nodes: Iterable[int], now: float) -> None:
        for node in nodes:
            if now < self.traffic.wake[node]:
                wake(self.roads, self.traffic, node, now)

    def _pace(self, entry: bool, place: int, headway: float, now: float) -> None:
        """Set the headway of a part's entrance or a queue's exit; the time still to wait changes in proportion."""
        headways = self.roads.part["headway"] if entry else self.roads.queue["headway"]
        frees = self.traffic.entry["free"] if entry else self.traffic.queue["free"]
        old = headways[place]
        if headway == old:
            return
        key = (entry, place)
        owed = max(0.0, frees[place] - now) / old if math.isfinite(old) else self._debt.pop(key, 0.0)
        headways[place] = headway
        if math.isinf(headway):
            self._debt[key] = owed
            frees[place] = math.inf
        else:
            frees[place] = now + owed * headway

    def _open(self, link: int, position: float) -> float:
        """Return the share of the lanes that is open at a point of a link."""
        lanes = float(self._network.lanes[link])
        shut = self._blocked.get((link, position), 0.0) + self._narrowed.get(link, 0.0)
        return max(0.0, lanes - shut) / lanes

    def _repace(self, link: int, now: float) -> None:
        """Set all headways of a link from what is in force on it."""
        roads, q = self.roads, float(self._network.capacity[link])
        factor = math.prod(self._factors.get(link, ()))
        length = float(self._network.length[link])
        first, end = int(self._first[link]), int(self._end[link])
        edges = [0.0, *np.cumsum(roads.part["length"][first : end - 1]).tolist(), length]
        edges[1:-1] = [self._edge(link, edge) for edge in edges[1:-1]]
        for k, part in enumerate(range(first, end)):
            entry = q * self._open(link, edges[k]) * (factor if k == 0 else 1.0)
            self._pace(True, part, 1.0 / entry if entry > 0 else math.inf, now)
            for queue in range(roads.part["queue"][part], roads.part["end_queue"][part]):
                share = float(roads.queue["share"][queue])
                rate = q * share * self._open(link, edges[k + 1])
                if part == end - 1:
                    rate *= factor
                    if self._stop_headway[link] > 0:
                        rate = min(rate, share * float(self._network.lanes[link]) / self._stop_headway[link])
                self._pace(False, queue, 1.0 / rate if rate > 0 else math.inf, now)
            self._wake((int(roads.part["from_node"][part]), int(roads.part["to_node"][part])), now)

    def _edge(self, link: int, edge: float) -> float:
        """Return the key under which a cut is booked: the given position, free of rounding."""
        near = [position for key, position in self._blocked if key == link and abs(position - edge) < 1e-6]
        return near[0] if near else edge

    def snap(self, link: int, position_m: float) -> float:
        """Return the point at which an incident stands: the link's end where it is nearer than a vehicle's width."""
        length = float(self._network.length[link])
        if position_m < MIN_PART_M:
            return 0.0
        return length if position_m > length - MIN_PART_M else position_m

    def block(self, link: int, position_m: float, lanes: float, now: float) -> None:
        """Block (or with negative ``lanes`` free) lanes at a point at which the link is cut."""
        key = (link, self.snap(link, position_m))
        self._blocked[key] = self._blocked.get(key, 0.0) + lanes
        self._repace(link, now)
        if self._blocked[key] <= 0:
            del self._blocked[key]

    def scale(self, link: int, factor: float, now: float, *, add: bool) -> None:
        """Add or lift a factor on what enters and leaves a link; factors multiply."""
        factors = self._factors.setdefault(link, [])
        factors.append(factor) if add else factors.remove(factor)
        self._repace(link, now)

    def close(self, link: int, now: float) -> None:
        """Let nothing enter a link."""
        self._closed[link] += 1
        self.roads.part["closed"][self._first[link]] = 1

    def reopen(self, link: int, now: float) -> None:
        """End one closure of a link."""
        self._closed[link] -= 1
        part = self._first[link]
        self.roads.part["closed"][part] = self._closed[link] > 0
        self._wake((int(self.roads.part["from_node"][part]),), now)

    def limit(self, link: int, speed: float, now: float, *, add: bool) -> None:
        """Add or lift a speed limit (m/s); the lowest counts, for the distance still to go."""
        limits = self._limits.setdefault(link, [])
        limits.append(speed) if add else limits.remove(speed)
        roads, traffic = self.roads, self.traffic
        speed = min([float(self._network.free_speed[link]), *limits])
        for part in range(int(self._first[link]), int(self._end[link])):
            travel = roads.part["length"][part] / speed
            ratio = travel / roads.part["travel"][part]
            roads.part["travel"][part] = travel
            for queue in range(roads.part["queue"][part], roads.part["end_queue"][part]):
                slots = traffic.slot[roads.queue["slot"][queue] : roads.queue["end_slot"][queue]]
                ready = slots["time"]
                on_the_way = (slots["vehicle"] >= 0) & (ready > now)
                slots["time"] = np.where(on_the_way, now + (ready - now) * ratio, ready)
            self._wake((int(roads.part["to_node"][part]),), now)
        set_lookahead(roads)

    def narrow(self, link: int, lanes: float, now: float) -> None:
        """Close (or with negative ``lanes`` open) lanes over the whole length of a link: capacity and storage.

        Vehicles that are more than the open lanes hold leave before others enter.
        """
        self._narrowed[link] = self._narrowed.get(link, 0.0) + lanes
        self._fit(link)
        self._repace(link, now)
        if self._narrowed[link] <= 0:
            del self._narrowed[link]

    def _fit(self, link: int) -> None:
        """Set the slots in use on a link, and the time that their holes take, to its open lanes."""
        roads, network = self.roads, self._network
        lanes = float(network.lanes[link])
        share = max(0.0, lanes - self._narrowed.get(link, 0.0)) / lanes
        wave, density = float(network.wave_speed[link]), float(network.jam_density[link])
        for part in range(int(self._first[link]), int(self._end[link])):
            storage = _slots_of(
                roads.part[part] if roads.part["slot"][part] >= 0 else roads.queue[roads.part["queue"][part]]
            )
            room = _room(storage, share)
            roads.part["room"][part] = room
            if share > 0:
                roads.part["hole"][part] = room / (wave * density * share)
            for queue in range(int(roads.part["queue"][part]), int(roads.part["end_queue"][part])):
                room = _room(_slots_of(roads.queue[queue]), share)
                roads.queue["room"][queue] = room
                if share > 0:
                    roads.queue["hole"][queue] = room / (wave * (density * float(roads.queue["share"][queue])) * share)
        set_lookahead(roads)

    def stop(self, link: int, headway_s: float, now: float) -> None:
        """Let at least this time pass between two vehicles of one lane at the end of a link; 0 ends it."""
        self._stop_headway[link] = headway_s
        self._repace(link, now)


def _slots_of(row: Any) -> int:
    """Return the number of slots of a part with several queues, or of a queue."""
    return int(row["end_slot"] - row["slot"])


def _room(storage: int, share: float) -> int:
    """Return the slots that a share of the lanes has of a storage: rounded up, as the whole is."""
    return max(1, math.ceil(storage * share - 1e-9)) if share > 0 else 0
