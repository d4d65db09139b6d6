"""A restart does not forget what the sensors taught: kept in the store, taken up by the next hub."""

from typing import Any

import numpy as np
import pytest

from hub.keeping import Keeping
from ingest.database import Database, DatabaseAway
from sensors import Batch, InputError
from twin import Network
from twin.memory import Memory
from twin.suspect import STEP_S, Kept, Suspects

START = 1_700_006_400.0


def learned(town: Network) -> Kept:
    """What two days of the town's detectors taught."""
    sensors = [sensor for sensor in town.sensors if sensor.link_id and "speed_kmh" in sensor.quantities]
    n, random = len(sensors), np.random.default_rng(1)
    memory, suspects = Memory(town.sensors, started_at=START), Suspects(town.compile(), town.sensors)
    for step in range(1, 600):
        now = START + STEP_S * step
        common = 10 * np.sin(step / 40)
        batch = Batch(
            sensor_id=tuple(sensor.sensor_id for sensor in sensors), quantity=("speed_kmh",) * n,
            time_ms=np.full(n, round(now * 1000), np.int64), value=40 + common + random.normal(0, 2, n),
            quality=np.zeros(n, np.uint16), received_at=now,
        )  # fmt: skip
        memory.learn(batch, now=now)
        suspects.learn(memory, now=now)
    assert suspects.compared.sum() == n
    return suspects.keep(memory)


def test_a_restarted_hub_compares_its_sensors_at_once(make_hub: Any, database: Database, town: Network) -> None:
    keeping, kept = Keeping(database), learned(town)
    keeping.put(kept)
    assert keeping.do()
    assert not keeping.do(), "it is written once"
    first = make_hub(database)
    first.drive(40.0)
    compared = first.get("suspects")["sensors_compared"]
    assert compared == sum(bool(sensor.link_id) and "speed_kmh" in sensor.quantities for sensor in town.sensors)
    first.app.finish()  # the hub stops, and what it has learned since is kept
    again = Keeping(database).read()
    assert again is not None
    assert set(again["sensor_id"].tolist()) == set(kept["sensor_id"].tolist())
    second = make_hub(database)
    second.drive(40.0)
    assert second.get("suspects")["sensors_compared"] == compared


def test_a_hub_without_a_past_or_with_an_unreadable_one_begins_anew(
    make_hub: Any, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    assert Keeping(database).read() is None
    database.execute("INSERT INTO kept (part, content) VALUES ('suspects', '\\x00'::bytea)")
    with pytest.raises(InputError, match="cannot be read"):
        Keeping(database).read()
    hub = make_hub(database)
    hub.drive(40.0)
    assert hub.get("suspects")["sensors_compared"] == 0
    assert "sensors are compared from the beginning" in caplog.text


def test_what_is_too_old_is_left_and_what_could_not_be_written_waits(
    database: Database, town: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping, kept = Keeping(database), learned(town)
    keeping.put(kept)
    with monkeypatch.context() as patch:

        def away() -> None:
            raise DatabaseAway("the database is away")

        patch.setattr(database, "connection", away)
        with pytest.raises(DatabaseAway):
            keeping.do()
    assert keeping.do()
    keeping.put({name: column[:0] for name, column in kept.items()})
    assert not keeping.do(), "nothing does not replace something"
    assert keeping.read() is not None
    database.execute("UPDATE kept SET recorded_at = now() - interval '15 days'")
    assert keeping.read() is None
