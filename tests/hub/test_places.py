"""Weather, air, parking, transit and events on zones, stations and points: shown with age, and usable in rules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub.alerts import AlertBook
from hub.beside import beside_traffic
from hub.evidence import NetworkPlaces
from hub.places import LEVELS, THEME_OF, Places, level
from hub.rules import evaluate, load
from sensors import QUANTITIES, Batch, Reading, Sensor
from sensors.column_map import ColumnMap
from sensors.recorded_table import Table
from twin import Network
from twin.twin import Twin

ROOT = Path(__file__).parents[2]
NODES = [{"node_id": n, "x_coord": x, "y_coord": 30.0, "zone_id": "Z1"} for n, x in (("A", 120.0), ("B", 120.01))]
LINK = {"link_id": "L1", "from_node_id": "A", "to_node_id": "B", "lanes": 2, "free_speed": 50}
SENSORS = [
    {"sensor_id": "RAIN", "kind": "rain_radar", "quantities": "rain_mm_h", "zone_id": "Z1"},
    {"sensor_id": "AIR", "kind": "air_station", "quantities": "pm25_ug_m3;temperature_c", "x_coord": 120.002,
     "y_coord": 30.001, "name": "River", "name_zh": "江边"},
    {"sensor_id": "PARK", "kind": "car_park", "quantities": "parked_veh;spaces_veh", "link_id": "L1", "position_m": 0},
    {"sensor_id": "MET", "kind": "metro_station", "quantities": "crowding;headway_s", "asset_id": "STATION"},
    {"sensor_id": "D1", "quantities": "speed_kmh", "link_id": "L1"},
]  # fmt: skip
ASSET = {"asset_id": "STATION", "kind": "metro_station", "x_coord": 120.004, "y_coord": 30.0}
START = 1_400_000_000.0


@pytest.fixture(scope="module")
def city() -> Network:
    zone = {"zone_id": "Z1", "name": "Old town"}
    tables = {"node": NODES, "link": [LINK], "sensor": SENSORS, "asset": [ASSET], "zone": [zone]}
    return Network.from_tables(tables)


class Watched:
    """A twin with the rules that are shipped, moved on by readings."""

    def __init__(self, network: Network) -> None:
        self.twin = Twin(network, started_at=START)
        self.network, self.rules = network, load(ROOT / "config" / "rules.toml")
        self.book = AlertBook(self.rules, places=NetworkPlaces(network))

    def say(self, at_s: float, sensor: str, **values: float) -> None:
        now = START + at_s
        readings = [Reading(sensor, key, round(now * 1000), value) for key, value in values.items()]
        self.snapshot = self.twin.assimilate(Batch.of(readings, received_at=now), now=now)
        self.book.update(evaluate(self.rules, self.snapshot, self.twin.compiled), now=now, recorded_at=now)

    def firing(self, rule: str) -> list[dict[str, Any]]:
        return [alert.to_json() for alert in self.book.alerts("firing") if alert.rule == rule]


def shown(watched: Watched, **wish: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = Places(watched.network).rows(watched.snapshot, **wish)
    return {(row["sensor_id"], row["theme"]): row for row in rows}


def test_a_place_is_a_zone_a_station_or_a_point_with_its_newest_values_and_their_age(city: Network) -> None:
    watched = Watched(city)
    watched.say(0, "RAIN", rain_mm_h=3.0)
    watched.say(30, "AIR", pm25_ug_m3=180.0, temperature_c=-2.0)
    rows = shown(watched)
    rain, air, weather = rows["RAIN", "weather"], rows["AIR", "air"], rows["AIR", "weather"]
    assert (rain["on"], rain["name"], rain["lon_lat"]) == ("zone", "Old town", [120.005, 30.0])
    assert (rain["age_s"], rain["level"], rain["values"][0]["value"]) == (30.0, 1, 3.0)
    assert (air["on"], air["name_zh"], air["lon_lat"]) == ("station", "江边", [120.002, 30.001])
    assert (air["level"], weather["level"], air["time"]) == (2, 1, "2014-05-13T16:53:50.000Z")
    assert [value["quantity"] for value in air["values"]] == ["pm25_ug_m3"]
    assert rows["PARK", "parking"]["lon_lat"] == [120.0, 30.0]
    assert rows["PARK", "parking"]["on"] == "point"
    assert rows["MET", "transit"]["lon_lat"] == [120.004, 30.0], "that of its asset"
    assert rows["MET", "transit"]["values"] == []
    assert rows["MET", "transit"]["age_s"] is None
    assert ("D1", "weather") not in rows
    assert not any(sensor == "D1" for sensor, _ in rows)
    assert set(shown(watched, theme="air")) == {("AIR", "air")}


def test_a_stranger_stands_where_its_readings_say_and_is_forgotten_after_hours(city: Network) -> None:
    watched = Watched(city)
    watched.say(0, "Hall", events=1.0, longitude_deg=120.3, latitude_deg=30.2)
    row = shown(watched)["Hall", "event"]
    assert (row["lon_lat"], row["kind"], row["name"]) == ([120.3, 30.2], "unverified", "Hall")
    (alert,) = watched.firing("event begins")
    assert (alert["lon"], alert["lat"]) == (120.3, 30.2)
    watched.say(4 * 3600, "RAIN", rain_mm_h=0.0)
    assert ("Hall", "event") not in shown(watched)


@pytest.mark.parametrize(
    ("rule", "sensor", "before", "high", "after"),
    [
        ("heavy rain", "RAIN", {"rain_mm_h": 7.0}, {"rain_mm_h": 8.0}, {"rain_mm_h": 1.0}),
        ("bad air", "AIR", {"pm25_ug_m3": 110.0}, {"pm25_ug_m3": 120.0}, {"pm25_ug_m3": 20.0}),
        (
            *("car park full", "PARK", {"parked_veh": 90.0, "spaces_veh": 100.0}),
            *({"parked_veh": 96.0, "spaces_veh": 100.0}, {"parked_veh": 80.0, "spaces_veh": 100.0}),
        ),
        ("station crowded", "MET", {"crowding": 0.9}, {"crowding": 1.2}, {"crowding": 0.3}),
        ("trains far apart", "MET", {"headway_s": 300.0}, {"headway_s": 900.0}, {"headway_s": 200.0}),
        ("event begins", "MET", {"events": 0.0}, {"events": 1.0}, {"events": 0.0}),
    ],
)
def test_a_rule_of_each_kind_fires_says_where_and_is_resolved(
    city: Network, rule: str, sensor: str, before: dict[str, float], high: dict[str, float], after: dict[str, float]
) -> None:
    watched = Watched(city)
    for minute in range(20):
        watched.say(60 * minute, sensor, **before)
    assert watched.firing(rule) == []
    for minute in range(20, 40):
        watched.say(60 * minute, sensor, **high)
    (alert,) = watched.firing(rule)
    assert alert["lon"] is not None
    assert "?" not in alert["summary"]["en"] + alert["summary"]["zh"]
    for minute in range(40, 60):
        watched.say(60 * minute, sensor, **after)
    assert watched.firing(rule) == []


def test_a_closed_car_park_without_spaces_is_not_full(city: Network) -> None:
    watched = Watched(city)
    for minute in range(10):
        watched.say(60 * minute, "PARK", parked_veh=0.0, spaces_veh=0.0)
    assert watched.firing("car park full") == []
    assert shown(watched)["PARK", "parking"]["full_share"] is None


@pytest.mark.parametrize(("parked", "level_shown"), [(84.0, 0), (85.0, 1), (94.0, 1), (95.0, 2)])
def test_a_car_park_is_raised_and_high_by_the_share_of_its_spaces(
    city: Network, parked: float, level_shown: int
) -> None:
    watched = Watched(city)
    watched.say(60, "PARK", parked_veh=parked, spaces_veh=100.0)
    assert shown(watched)["PARK", "parking"]["level"] == level_shown


def test_levels_and_themes_are_of_known_quantities() -> None:
    assert set(THEME_OF) <= set(QUANTITIES)
    assert set(LEVELS) <= set(THEME_OF)
    for key, (raised, high) in LEVELS.items():
        assert [level(key, value) for value in (raised * 0.99, raised, high)][:2] == [0, 1], key
        assert level(key, high) == 2 or high == np.inf


def test_the_street_of_the_demo_has_values_for_all_that_its_places_measure() -> None:
    for key in THEME_OF:
        values = [beside_traffic(Sensor("X", quantities=(key,)), hour=h / 4, fullness=0.1)[key] for h in range(96)]
        low, high = QUANTITIES[key].minimum, QUANTITIES[key].maximum
        assert all(value is not None and low <= value <= high for value in values), key


def test_recorded_weather_parking_and_events_of_aarhus_are_replayed_to_places(
    shared_data: Path, tmp_path: Path, city: Network
) -> None:
    maps = {
        "weather_2014-08.csv": """sensor = "weather-aarhus"
            time = "timestamp"
            time_zone = "UTC"
            [quantities]
            temperature_c = "temp_c"
            humidity = { column = "humidity_pct", factor = 0.01 }
            wind_speed_m_s = { column = "wind_kmh", factor = 0.277778 }""",
        "parking_2014-05_2014-08.csv.gz": """sensor_id = "garagecode"
            time = "updatetime"
            time_zone = "Europe/Copenhagen"
            [quantities]
            parked_veh = "vehiclecount"
            spaces_veh = "totalspaces\"""",
        "city_events.csv": """sensor_id = "venue"
            time = "start_local"
            time_zone = "Europe/Copenhagen"
            [quantities]
            events = { value = 1 }
            longitude_deg = "lon"
            latitude_deg = "lat\"""",
    }
    day = (1_407_110_400_000, 1_407_144_600_000)  # 4 August 2014 until 11:30 local time, when an event has begun
    readings: list[Reading] = []
    for name, text in maps.items():
        path = tmp_path / "map.toml"
        path.write_text(text, "utf-8")
        table = Table(shared_data / "aarhus" / name, ColumnMap.read(path), from_ms=day[0], until_ms=day[1])
        assert table.rows, name
        assert not table.n_faults, name
        for block in table.blocks(1_000_000):
            for row in range(len(block)):
                for k, key in enumerate(block.quantities):
                    value = float(block.value[row, k])
                    readings.append(Reading(block.sensor_ids[block.sensor[row]], key, int(block.time_ms[row]), value))
    garages = [{"sensor_id": "NORREPORT", "kind": "car_park", "quantities": "parked_veh;spaces_veh",
                "name": "Nørreport", "x_coord": 10.21284, "y_coord": 56.16184, "interval_s": 1800}]  # fmt: skip
    weather = [{"sensor_id": "weather-aarhus", "kind": "weather_station", "quantities": "temperature_c",
                "interval_s": 1200, "x_coord": 10.2, "y_coord": 56.15}]  # fmt: skip
    network = Network.from_tables({"node": NODES, "link": [LINK], "sensor": [*garages, *weather]})
    now = day[1] / 1000
    snapshot = Twin(network, started_at=day[0] / 1000).assimilate(Batch.of(readings, received_at=now), now=now)
    rows = {row["sensor_id"]: row for row in Places(network).rows(snapshot)}
    assert rows["NORREPORT"]["name"] == "Nørreport"
    assert rows["NORREPORT"]["values"][-1]["value"] == 65.0
    assert -10 < rows["weather-aarhus"]["values"][0]["value"] < 35
    events = [row for row in rows.values() if row["theme"] == "event"]
    assert {row["name"] for row in events} >= {"Aarhus V", "Aarhus"}
    assert all(9 < row["lon_lat"][0] < 11 and 55 < row["lon_lat"][1] < 57 for row in events)
