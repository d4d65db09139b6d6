"""The page on sensors lists every quantity, reason, flag, codec and fault, with the numbers that hold."""

import re
from pathlib import Path

import pytest

from hub.settings import City
from sensors import QUANTITIES, Reason
from sensors.codecs import CODECS
from sensors.column_map import ColumnMap
from sensors.fault import FaultKind
from sensors.payload import decoder
from sensors.reading import Quality

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sensors.md").read_text("utf-8")


def shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) < 1e7 else f"{number:.0e}".replace("e+0", "e")


def test_quantities_are_listed_with_range_and_limits():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\S+)\.\.(\S+) \| ?(\S*?) ?\| ?(\S*?) ?\|$", PAGE, re.M)
    limits = {
        q.key: (
            shown(q.minimum),
            shown(q.maximum),
            str(q.stuck_after or ""),
            "" if q.max_rate == float("inf") else f"{q.max_rate:.3g}",
        )
        for q in QUANTITIES.values()
    }
    assert {key: tuple(rest) for key, *rest in rows} == limits


def test_reasons_flags_codecs_and_faults_are_listed():
    names = [*Reason, *CODECS, *FaultKind]
    assert [str(name) for name in names if f"`{name}`" not in PAGE] == []
    flags = [(flag.name, int(flag)) for flag in Quality if flag]
    assert [flag for flag in flags if f"| `{flag[0]}` | {flag[1]} |" not in PAGE] == []


def test_payload_of_the_page_decodes():
    (payload,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    readings, rejected = decoder()("city/centre/D1", payload.encode())
    assert (len(readings), rejected) == (3, [])


def test_topic_rules_of_the_page_are_right(tmp_path: Path):
    path = tmp_path / "city.toml"
    path.write_text("".join(re.findall(r"```toml\n(\[\[topic\]\].*?)```", PAGE, re.S)), "utf-8")
    rules = City.read(path).topics
    assert {rule.codec for rule in rules} == {"citytwin", "hfp", "sensorthings", "ttn"}
    readings, _ = decoder(rules)("plant/north/7/data", b'{"t": 0, "speed_kmh": 1}')
    assert readings[0].sensor_id == "D7"


@pytest.mark.parametrize("number", [3, 5])
def test_column_maps_of_the_page_are_right(tmp_path: Path, number: int):
    path = tmp_path / "map.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.S)[number], "utf-8")
    assert ColumnMap.read(path).quantities["speed_kmh"].factor == 1.609344
