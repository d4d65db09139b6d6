"""``citytwin fleet``: virtual sensors that publish a plausible day to the broker."""

import argparse
import functools
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from hub import ports
from hub.commands.arguments import seconds, speed
from hub.settings import Settings
from ingest.publisher import Publisher
from sensors import InputError, Sensor, WorkError
from sensors.clock import CityClock
from sensors.daily_profile import typical
from sensors.fault import Fault, draw_faults
from sensors.fleet import Fleet

_DRAIN_S = 30.0
_STEP_S = 0.05
_DAY_S = 86_400.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("network", metavar="NETWORK", help="network folder, whose sensors publish")
    parser.add_argument("--sensors", type=int, metavar="N", help="so many sensors, copies of the network's if need be")
    parser.add_argument("--rate", type=float, metavar="R", help="payloads per second of all sensors together")
    parser.add_argument("--faults", action="store_true", help="some sensors die, lose payloads, stick or drift")
    parser.add_argument("--speed", type=speed, default=1.0, metavar="F", help="city seconds per second (default 1)")
    parser.add_argument("--for", type=seconds, dest="for_s", metavar="S", help="stop by itself after S seconds")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another noise (default 0)")


def run(args: argparse.Namespace) -> int:
    """Publish until a signal or for some time; 1 when the broker did not acknowledge everything."""
    from twin import Network  # slow to import, and not needed to refuse a wrong option

    settings = Settings.read(os.environ)
    sensors = chosen(Network.read(args.network).sensors, args.sensors, rate=args.rate, factor=args.speed)
    base = CityClock.parse(settings.clock, wall=time.time)
    if not base.started:
        raise InputError("CITYTWIN_CLOCK is 'replay': virtual sensors need 'live' or a time and a factor")
    start = base.now()
    clock = CityClock(wall=time.time, wall_start=time.time(), city_start=start, factor=base.factor * args.speed)
    until = start + args.for_s * clock.factor if args.for_s else math.inf
    faults = _faults(sensors, start, until, seed=args.seed) if args.faults else ()
    fleet = Fleet(sensors, seed=args.seed, faults=faults, start_s=start)
    url = broker_url(settings)
    publisher = Publisher(url, client_id=f"citytwin-fleet-{os.getpid()}")
    print(f"citytwin fleet: {len(sensors)} sensors publish to {url.rpartition('@')[2]}", file=sys.stderr)
    try:
        _publish(fleet, publisher, clock, until=until, zone=ZoneInfo(settings.city.timezone))
    except KeyboardInterrupt:
        pass
    finally:
        acknowledged = publisher.drain(_DRAIN_S)
        publisher.close()
    print(f"published {publisher.published}, acknowledged {publisher.acknowledged}")
    if not acknowledged:
        raise WorkError("the broker did not acknowledge everything, is an ingest running? see citytwin doctor")
    return 0


def _faults(sensors: Sequence[Sensor], start: float, until: float, *, seed: int) -> tuple[Fault, ...]:
    """Return faults for a fifth of the sensors within a short run, or per day of a long one, so that some are seen."""
    span = min(until - start, _DAY_S)
    return draw_faults(
        [sensor.sensor_id for sensor in sensors],
        rng=np.random.default_rng(seed),
        from_s=start,
        until_s=min(until, start + 30 * _DAY_S),
        per_sensor_day=0.2 * _DAY_S / span,
        mean_duration_s=min(3600.0, span / 4),
    )


def _publish(fleet: Fleet, publisher: Publisher, clock: CityClock, *, until: float, zone: ZoneInfo) -> None:
    offset = datetime.fromtimestamp(clock.now(), zone).utcoffset() or timedelta()
    measure = functools.partial(typical, utc_offset_s=offset.total_seconds())
    told: set[Fault] = set()
    while (now := clock.now()) < until:
        publisher.publish_all(fleet.payloads(now, measure))
        for fault in fleet.faults(now):
            if fault not in told:
                print(f"citytwin fleet: {fault.sensor_id}: {fault.kind.value}", file=sys.stderr)
                told.add(fault)
        time.sleep(_STEP_S)


def chosen(sensors: Sequence[Sensor], number: int | None, *, rate: float | None, factor: float) -> list[Sensor]:
    """Return the sensors that publish: the first ones, or copies of them with other ids when more are wanted.

    Parameters
    ----------
    number
        How many; without it, all there are.
    rate
        Payloads per wall second of all together, by changing their intervals; without it, their own intervals.
    factor
        City seconds per wall second.

    Raises
    ------
    InputError
        When there are no sensors, or a number is out of its range.

    Examples
    --------
    >>> [s.sensor_id for s in chosen([Sensor("A"), Sensor("B")], 3, rate=None, factor=1.0)]
    ['A', 'B', 'A-2']
    >>> chosen([Sensor("A"), Sensor("B")], None, rate=10, factor=1.0)[0].interval_s
    0.2
    """
    faults = []
    if not sensors:
        faults.append("sensor.csv: the network has no sensors")
    if number is not None and not 1 <= number <= 1_000_000:
        faults.append(f"--sensors is {number}, must be 1 to 1,000,000")
    if rate is not None and not 0 < rate <= 1e6:
        faults.append(f"--rate is {rate}, must be above 0 and at most 1,000,000 payloads per second")
    if faults:
        raise InputError(faults)
    wanted = len(sensors) if number is None else number
    taken = {s.sensor_id for s in sensors}
    fleet: list[Sensor] = list(sensors[:wanted])
    copy = 2
    while len(fleet) < wanted:
        names = (f"{s.sensor_id}-{copy}" for s in sensors)
        fleet += [replace(s, sensor_id=n) for s, n in zip(sensors, names, strict=True) if n not in taken]
        copy += 1
    fleet = fleet[:wanted]
    if rate is not None:
        interval = max(0.001, wanted * factor / rate)
        fleet = [replace(s, interval_s=interval) for s in fleet]
    return fleet


def broker_url(settings: Settings) -> str:
    """Return where to publish: CITYTWIN_MQTT_URL, else the broker of the hub that runs on this state folder.

    Raises
    ------
    WorkError
        When there is neither.
    """
    return _url("mqtt", settings.mqtt_url, ports.read(settings.state), "CITYTWIN_MQTT_URL")


def database_url(settings: Settings) -> str:
    """Return where to store: CITYTWIN_DATABASE_URL, else the database of the hub that runs on this state folder.

    Raises
    ------
    WorkError
        When there is neither.
    """
    return _url("postgres", settings.database_url, ports.read(settings.state), "CITYTWIN_DATABASE_URL")


def _url(name: str, given: str | None, running: Mapping[str, str], variable: str) -> str:
    url = given or running.get(name)
    if url is None:
        raise WorkError(f"nothing runs here: start 'citytwin serve' or 'citytwin demo' first, or set {variable}")
    return url
