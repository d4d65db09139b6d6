"""Vehicles that tell where they are: synthetic drives whose links and speeds are known, and a real capture."""

import gzip
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

from sensors import Batch, Reading
from sensors.codecs import hfp
from sensors.errors import PayloadError
from twin import Network
from twin.importers import import_tables
from twin.matching import Streets
from twin.probes import FADING_S, Probes
from twin.state import Source
from twin.twin import Twin

START = 1_700_000_000.0
SIDE = 6


def city() -> Network:
    """Two-way streets of about 220 m between 6 by 6 nodes."""
    nodes = [
        {"node_id": f"{i}.{j}", "x_coord": 25 + 0.004 * i, "y_coord": 60 + 0.002 * j}
        for i in range(SIDE)
        for j in range(SIDE)
    ]
    links = []
    for i in range(SIDE):
        for j in range(SIDE):
            for di, dj in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                if 0 <= i + di < SIDE and 0 <= j + dj < SIDE:
                    a, b = f"{i}.{j}", f"{i + di}.{j + dj}"
                    links.append({"link_id": f"{a}>{b}", "from_node_id": a, "to_node_id": b, "free_speed": 50})
    return Network.from_tables({"node": nodes, "link": links})


CITY = city()


def drive(
    route: list[str],
    speed: float,
    random: np.random.Generator,
    *,
    noise_m: float = 5.0,
    every_s: float = 5.0,
    heading: bool = True,
) -> list[dict[str, float]]:
    """Return fixes with the true link of each, of a vehicle at constant speed along nodes."""
    points = np.array([CITY.nodes.lon_lat[CITY.nodes.position[node]] for node in route])
    scale = np.array([math.cos(math.radians(60)), 1.0]) * 111_319.49
    steps = np.diff(points, axis=0) * scale
    lengths = np.hypot(*steps.T)
    ends = np.cumsum(lengths)
    fixes = []
    for k in range(int(ends[-1] / (speed * every_s))):
        gone = k * every_s * speed
        leg = int(np.searchsorted(ends, gone, side="right"))
        along = (gone - (ends[leg] - lengths[leg])) / lengths[leg]
        place = points[leg] + along * (points[leg + 1] - points[leg]) + random.normal(0, noise_m, 2) / scale
        way = math.degrees(math.atan2(*steps[leg])) % 360
        fix = {"time": k * every_s, "longitude_deg": float(place[0]), "latitude_deg": float(place[1])}
        if heading:
            fix["heading_deg"] = (way + random.normal(0, 10)) % 360
        fixes.append({**fix, "link": CITY.links.position[f"{route[leg]}>{route[leg + 1]}"]})
    return fixes


def batch(fix: dict[str, float], vehicle: str = "V1") -> Batch:
    ms = round((START + fix["time"]) * 1000)
    keys = [key for key in fix if key not in ("time", "link")]
    return Batch.of([Reading(vehicle, key, ms, fix[key]) for key in keys], received_at=START + fix["time"])


def probes() -> Probes:
    return Probes(Streets(CITY), CITY.compile())


ROUTE = ["0.0", "1.0", "2.0", "2.1", "2.2", "3.2", "4.2", "4.3", "4.4", "5.4"]
ON_ROUTE = {CITY.links.position[f"{a}>{b}"] for a, b in itertools.pairwise(ROUTE)}


@pytest.mark.parametrize("heading", [True, False])
@pytest.mark.parametrize("noise_m", [3.0, 8.0])
def test_a_drive_is_found_on_its_own_links_at_its_own_speed(heading: bool, noise_m: float) -> None:
    random = np.random.default_rng(3)
    seen = probes()
    fixes: list[dict[str, float]] = []
    for k in range(4):  # vehicles 100 s apart
        for fix in drive(ROUTE, 9.0, random, noise_m=noise_m, heading=heading):
            fixes.append({**fix, "time": fix["time"] + 100 * k, "vehicle": k})
    for fix in sorted(fixes, key=lambda one: one["time"]):
        vehicle = str(fix.pop("vehicle"))
        seen.learn(batch(fix, vehicle))
    found = seen.speeds(now=START + fixes[-1]["time"])
    counts = dict(zip(found.link.tolist(), found.n_vehicles.tolist(), strict=True))
    right = sum(count for link, count in counts.items() if link in ON_ROUTE)
    assert right >= 0.95 * sum(counts.values())
    assert len(ON_ROUTE & set(counts)) >= len(ON_ROUTE) - 1  # the last link is not driven to its end
    on = [link in ON_ROUTE and counts[link] > 1 for link in found.link.tolist()]
    # Four vehicles a link of 220 m, each place wrong by some metres: a tenth is three deviations.
    np.testing.assert_allclose(found.speed[on], 9.0, rtol=0.1)
    assert (found.deviation > 0.15 * found.speed).all()


def test_the_other_direction_is_another_link() -> None:
    seen = probes()
    for fix in drive(ROUTE[::-1], 9.0, np.random.default_rng(1)):
        seen.learn(batch(fix))
    found = set(seen.speeds(now=START + 300).link.tolist())
    assert found
    assert not found & ON_ROUTE


def test_a_queue_at_a_red_light_slows_its_link_and_a_parked_vehicle_does_not() -> None:
    fixes = drive(ROUTE[:4], 9.0, np.random.default_rng(1), noise_m=1.0)

    def speed_after(stand_s: float) -> float:
        seen, shift = probes(), 0.0
        for k, fix in enumerate(fixes):
            if k == 10:
                for wait in np.arange(5.0, stand_s + 1, 5.0):
                    seen.learn(batch({**fixes[9], "time": fixes[9]["time"] + wait}))
                shift = stand_s
            seen.learn(batch({**fix, "time": fix["time"] + shift}))
        found = seen.speeds(now=START + fixes[-1]["time"] + shift)
        link = int(fixes[9]["link"])
        return float(found.speed[found.link.tolist().index(link)])

    free, red, parked = speed_after(0.0), speed_after(60.0), speed_after(600.0)
    assert free == pytest.approx(9.0, rel=0.1)
    assert red < 0.5 * free
    assert parked > 0.0


def test_late_repeated_and_impossible_fixes_change_nothing() -> None:
    fixes = drive(ROUTE, 9.0, np.random.default_rng(1))
    clean, noisy = probes(), probes()
    for k, fix in enumerate(fixes):
        clean.learn(batch(fix))
        noisy.learn(batch(fix))
        noisy.learn(batch(fix))
        if k:
            noisy.learn(batch(fixes[k - 1]))
    a, b = clean.speeds(now=START + 300), noisy.speeds(now=START + 300)
    np.testing.assert_array_equal(a.link, b.link)
    np.testing.assert_array_equal(a.speed, b.speed)
    far = probes()
    far.learn(batch({"time": 0.0, "longitude_deg": 0.0, "latitude_deg": 0.0}))
    far.learn(batch({"time": 9.0, "longitude_deg": float("nan"), "latitude_deg": 60.0}))
    far.learn(batch({"time": 18.0, "longitude_deg": 25.0}))
    assert (far.n_fixes, far.n_off_road) == (1, 1)
    assert len(far.speeds(now=START).link) == 0


def test_vehicles_measure_links_of_the_twin_less_surely_than_detectors_do_and_are_forgotten() -> None:
    twin = Twin(CITY, started_at=START, probes=probes())
    fixes = drive(ROUTE, 5.0, np.random.default_rng(1))
    for fix in fixes:
        snapshot = twin.assimilate(batch(fix), now=START + fix["time"])
    link = CITY.links.position["2.0>2.1"]
    assert snapshot.speed_source[link] == Source.MEASURED
    assert snapshot.flow_source[link] == Source.GUESSED
    assert snapshot.speed[link] == pytest.approx(5.0, abs=1.5)
    assert snapshot.measured_at[link] > START
    left = 3 * 222.5 / 5.0  # s; three links of 222.5 m at 5 m/s
    one = math.exp(-(fixes[-1]["time"] - left) / FADING_S)  # one passage, which fades; half a link's passage earlier
    assert snapshot.probes[link] == pytest.approx(one, rel=0.15)
    assert snapshot.probes[CITY.links.position["5.5>5.4"]] == 0
    later = twin.assimilate(Batch(), now=START + 7200.0)
    assert later.speed_source[link] == Source.GUESSED


def test_the_capture_of_helsinki_is_matched_to_its_streets() -> None:
    data = Path(os.environ.get("CITYTWIN_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    capture = data / "mqtt" / "hsl_hfp_20181009T0432Z_first3000.txt.gz"
    if not capture.is_file():
        pytest.skip(f"NO REAL INPUT DATA: {data} is not a folder; set CITYTWIN_TEST_DATA to the shared data folder")
    network = Network.from_tables(import_tables(data / "osm" / "helsinki_centre.osm.pbf"))
    seen = Probes(Streets(network), network.compile())
    west, south = np.min([line.min(axis=0) for line in network.links.geometry], axis=0)
    east, north = np.max([line.max(axis=0) for line in network.links.geometry], axis=0)
    inside = 0
    for line in gzip.decompress(capture.read_bytes()).decode().splitlines():
        _, rest = line.split(" ", 1)
        at = rest.index(" {")
        try:
            readings, _ = hfp.decode(rest[:at], rest[at + 1 :].encode())
        except PayloadError:
            continue
        where = {reading.quantity: reading.value for reading in readings}
        if west <= where.get("longitude_deg", 0) <= east and south <= where.get("latitude_deg", 0) <= north:
            inside += 1
            seen.learn(Batch.of(readings, received_at=0.0))
    assert inside > 50
    assert seen.n_fixes > 20
    # Trains run beside the streets and depots lie off them.
    assert seen.n_off_road < 0.6 * seen.n_fixes
