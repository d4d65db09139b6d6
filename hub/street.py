"""The living street of the demo: a simulated city that the twin does not see, only its sensors' readings.

Run as ``python -m hub.street``. It plays the typical day under a SimPy real-time clock, lets incidents and sensor
faults happen without announcement, and publishes what its virtual sensors measure. Two lines of JSON on its standard
input say what to play: first the network, with which it warms up, then where to publish and what time it is. What
really happened goes to its standard output, one JSON object a line; it stops when its standard input ends.
"""

import json
import math
import sys
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import simpy
import simpy.rt

from hub.probe import Probe
from ingest.publisher import Publisher
from sensors import InputError, WorkError
from sensors.fault import Fault, FaultKind
from sensors.fleet import Fleet
from simulation import Demand, Simulation
from twin import Network
from twin.placement import place_detectors

Process = Generator[simpy.Event, Any, None]

DAY_S = 86_400.0
STEPS_PER_WALL_S = 5.0  # how smoothly the street moves
TRUTH_EVERY_S = 10.0
TRUTH_OVER_S = 120.0  # a signal's cycle or two: within one, speed swings between red and green
FIRST_INCIDENT_S, INCIDENT_EVERY_S, INCIDENT_LASTS_S = 60.0, 900.0, (600.0, 1500.0)
FIRST_FAULT_S, FAULT_EVERY_S, FAULT_LASTS_S = 180.0, 1200.0, (900.0, 2400.0)
FAULT_KINDS = (FaultKind.DEAD, FaultKind.STUCK, FaultKind.DRIFT)
DRAIN_S = 15.0


def tell(**line: Any) -> None:
    """Say one thing to the hub."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Street:
    """One street, from its warm-up to its last acknowledged payload.

    Parameters
    ----------
    network
        Roads and sensors.
    simulation
        Its traffic, warmed up to the second of the typical day at which the street starts.
    publisher
        Takes what the sensors publish.
    seed
        Of noise, incidents and faults.
    city_start
        City time of that second, s since 1970 UTC.
    speed
        City seconds per wall second.
    """

    def __init__(
        self,
        network: Network,
        simulation: Simulation,
        publisher: Publisher,
        *,
        seed: int,
        city_start: float,
        speed: float,
    ) -> None:
        self._network = network
        self._publisher = publisher
        self._speed = speed
        self._shift = simulation.time_s - city_start
        self._rng = np.random.default_rng([seed, int(simulation.time_s)])
        self._simulation = simulation
        first = self._simulation.cumulative()
        self._probe = Probe(network.compile(), network.sensors, city_start, first, day_shift_s=self._shift)
        districts = {name: district for name, district in _districts(network).items() if district}
        self._fleet = Fleet(network.sensors, seed=seed, districts=districts, start_s=city_start)
        self._stopping = threading.Event()
        self._count = {"published": 0, "acknowledged": 0, "incidents": 0, "faults": 0}

    def stop(self) -> None:
        """Ask it to stop after the step under way."""
        self._stopping.set()

    def play(self, city_now: float) -> None:
        """Play from a city time on at its speed until `stop`, then wait for the last acknowledgements."""
        env = simpy.rt.RealtimeEnvironment(initial_time=city_now, factor=1 / self._speed, strict=False)
        stopped = env.event()
        env.process(self._move(env, stopped))
        env.process(self._say(env))
        env.process(self._incidents(env))
        env.process(self._faults(env))
        env.run(until=stopped)
        self._publisher.drain(DRAIN_S)
        self._tell_count()

    def _move(self, env: simpy.Environment, stopped: simpy.Event) -> Process:
        """Advance the traffic and publish what the sensors saw, several times a second."""
        step = max(1.0, self._speed / STEPS_PER_WALL_S)
        while not self._stopping.is_set():
            self._simulation.advance(env.now + self._shift)
            self._probe.note(env.now, self._simulation.cumulative())
            payloads = self._fleet.payloads(env.now, self._probe.measure)
            self._publisher.publish_all(payloads)
            self._count["published"] += len(payloads)
            yield env.timeout(step)
        stopped.succeed()

    def _say(self, env: simpy.Environment) -> Process:
        """Tell the truth, now and then: the mean of the last minutes, which no single red light decides."""
        while True:
            yield env.timeout(max(TRUTH_EVERY_S, self._speed))
            seen = self._probe.street(env.now - TRUTH_OVER_S, env.now)
            if seen is None:
                continue
            speed = [round(u, 2) if math.isfinite(u) else None for u in seen[0].tolist()]
            flow = [round(q, 5) for q in seen[1].tolist()]
            tell(truth={"time": env.now, "speed": speed, "flow": flow})
            self._tell_count()

    def _incidents(self, env: simpy.Environment) -> Process:
        yield env.timeout(FIRST_INCIDENT_S)
        while True:
            env.process(self._incident(env))
            yield env.timeout(self._rng.exponential(INCIDENT_EVERY_S))

    def _incident(self, env: simpy.Environment) -> Process:
        """Block most lanes of a busy link for a while, and tell nobody but the keeper of the truth."""
        city = self._simulation.city
        busy = self._simulation.cumulative().left * (city.length > 150.0) * np.minimum(city.lanes, 3)
        if busy.sum() == 0:
            return
        link = int(self._rng.choice(city.n_links, p=busy / busy.sum()))
        lanes = int(city.lanes[link])
        blocked = lanes if lanes == 1 else lanes - 1
        position = float(city.length[link] * self._rng.uniform(0.6, 0.9))
        lasts = float(self._rng.uniform(*INCIDENT_LASTS_S))
        handle = self._simulation.add_incident(city.link_ids[link], position_m=position, lanes_blocked=blocked)
        self._count["incidents"] += 1
        tell(
            incident={
                "link_id": city.link_ids[link], "position_m": round(position, 1), "lanes_blocked": blocked,
                "from": env.now, "until": env.now + lasts,
            }
        )  # fmt: skip
        yield env.timeout(lasts)
        self._simulation.remove_incident(handle)

    def _faults(self, env: simpy.Environment) -> Process:
        """Let a sensor die, stick or drift, one after the other."""
        yield env.timeout(FIRST_FAULT_S)
        while self._fleet.sensors:
            sensor = self._fleet.sensors[int(self._rng.integers(len(self._fleet.sensors)))]
            kind = FAULT_KINDS[int(self._rng.integers(len(FAULT_KINDS)))]
            until = env.now + float(self._rng.uniform(*FAULT_LASTS_S))
            self._fleet.inject(Fault(sensor.sensor_id, kind, env.now, until, drift_per_h=0.8))
            self._count["faults"] += 1
            tell(fault={"sensor_id": sensor.sensor_id, "kind": kind.value, "from": env.now, "until": until})
            yield env.timeout(self._rng.exponential(FAULT_EVERY_S))

    def _tell_count(self) -> None:
        self._count["acknowledged"] = self._publisher.acknowledged
        tell(count=self._count)


def _districts(network: Network) -> Mapping[str, str]:
    """Return the district of each sensor, as far as the network names one."""
    rows = network.tables["sensor"].rows if "sensor" in network.tables else ()
    return {row.get("sensor_id", ""): row.get("district", "") for row in rows}


def warmed_up(network: Network, *, seed: int, second_of_day: float) -> Simulation:
    """Return the traffic of the typical day as it is at a second of it."""
    demand = Demand.read(network).over_a_day()
    return Simulation(network, demand, seed=seed, start_s=second_of_day, repeat_s=DAY_S)


def _told() -> dict[str, Any] | None:
    """Return the next line of the hub, None when it has gone."""
    line = sys.stdin.readline()
    return dict(json.loads(line)) if line.endswith("\n") else None


def _run() -> None:
    what = _told()
    if what is None:
        return
    seed, speed = what["seed"], what["speed"]
    network = Network.read(Path(what["network"]))
    if not network.sensors:
        network = replace(network, sensors=place_detectors(network.compile()))
    simulation = warmed_up(network, seed=seed, second_of_day=(what["hour"] * 3600 + what["elapsed_s"]) % DAY_S)
    where = _told()
    if where is None:
        return
    publisher = Publisher(where["mqtt"], client_id=f"citytwin-street-{seed}")
    city_start, wall_start = where["city_start"], where["wall_start"]
    street = Street(network, simulation, publisher, seed=seed, city_start=city_start + what["elapsed_s"], speed=speed)

    def wait_for_end() -> None:
        sys.stdin.buffer.read()  # the hub closes it, or its death does
        street.stop()

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
    tell(ready=True)
    street.play(city_start + (time.time() - wall_start) * speed)
    publisher.close()


def main() -> int:
    """Play the street and return the exit code."""
    try:
        _run()
    except (InputError, WorkError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the hub is gone: nobody listens any more
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
