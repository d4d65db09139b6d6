"""Whatever is killed: the hub recovers by itself, and no acknowledged reading is missing or doubled."""

import contextlib
import json
import threading
import time

import psutil
import pytest

from ingest.database import Database, DatabaseAway
from ingest.publisher import Publisher
from sensors import WorkError


class Outsider:
    """A sensor of somebody else: publishes a reading every few milliseconds and keeps what is not acknowledged."""

    def __init__(self, url: str) -> None:
        self.publisher = Publisher(url, client_id="outsider", max_unacknowledged=500)
        self.values: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        time_ms = int(time.time() * 1000)
        while not self._stop.wait(0.005):
            time_ms = max(time_ms + 1, int(time.time() * 1000))
            value = float(len(self.values) % 80)
            payload = json.dumps({"t": time_ms, "speed_kmh": value})
            with contextlib.suppress(WorkError):  # the backlog is full while a part is away
                self.publisher.publish("city/test/outsider", payload, timeout_s=0.5)
                self.values.append((time_ms, value))

    def stop(self, *, drain_s: float) -> bool:
        """Stop publishing and wait until everything is acknowledged."""
        self._stop.set()
        self._thread.join()
        return self.publisher.drain(drain_s)


def stored(url: str) -> list[tuple[int, float]]:
    with Database(url) as database:
        rows = database.fetch(
            "SELECT (extract(epoch FROM time) * 1000)::int8, value FROM reading JOIN series USING (series_id)"
            " WHERE sensor_id = 'outsider' ORDER BY time"
        )
    return [(int(ms), float(value)) for ms, value in rows]


def everything_is_stored_once(hub, outsider: Outsider, until) -> None:
    """What was acknowledged is committed, or on its way from the spool when the database was away."""

    def there() -> bool:
        with contextlib.suppress(DatabaseAway):
            return len(stored(hub.ports()["postgres"])) >= len(outsider.values)
        return False

    until(there, "all that was acknowledged")
    assert stored(hub.ports()["postgres"]) == sorted(outsider.values)


def ready(hub) -> bool:
    answer = hub.get("/readyz")
    return bool(answer and answer["ready"])


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["postgres", "ingest.broker"])
def test_a_killed_part_comes_back_and_nothing_acknowledged_is_missing_or_doubled(start, until, city_folder, victim):
    hub = start("serve", "--network", str(city_folder), "--port", "0")
    until(lambda: ready(hub), "a ready hub")
    outsider = Outsider(hub.ports()["mqtt"])
    until(lambda: outsider.publisher.acknowledged > 100, "acknowledged readings")
    killed = [process for process in hub.named(victim) if "supervisor" not in " ".join(process.cmdline())]
    assert killed
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    before = outsider.publisher.acknowledged
    until(lambda: outsider.publisher.acknowledged > before + 700, "acknowledgements after the kill", within_s=40.0)
    assert outsider.stop(drain_s=30.0), outsider.publisher.backlog()
    everything_is_stored_once(hub, outsider, until)
    until(lambda: ready(hub), "a ready hub again")
    outsider.publisher.close()


@pytest.mark.slow
def test_a_killed_tree_recovers_at_the_next_start_with_everything_that_was_acknowledged(start, until, city_folder):
    hub = start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_MQTT_LISTEN="127.0.0.1:0")
    until(lambda: ready(hub), "a ready hub")
    address = hub.ports()["mqtt"].removeprefix("mqtt://")
    outsider = Outsider(hub.ports()["mqtt"])
    until(lambda: outsider.publisher.acknowledged > 200, "acknowledged readings")
    hub.kill()
    assert hub.family() == []

    again = start("serve", "--network", str(city_folder), "--port", "0", state=hub.state, CITYTWIN_MQTT_LISTEN=address)
    until(lambda: ready(again), "a ready hub on the same state")
    before = outsider.publisher.acknowledged
    until(lambda: outsider.publisher.acknowledged > before + 700, "acknowledgements after the restart", within_s=40.0)
    assert outsider.stop(drain_s=30.0), outsider.publisher.backlog()
    everything_is_stored_once(again, outsider, until)
    outsider.publisher.close()


@pytest.mark.slow
def test_a_dead_hub_takes_its_children_with_it(start, until, city_folder):
    hub = start("demo", "--network", str(city_folder), "--port", "0")
    until(lambda: hub.named("hub.street"), "the street")
    until(lambda: ready(hub), "a ready hub")
    hub.process.kill()
    hub.process.wait()
    until(lambda: hub.family() == [], "the end of broker, street and database", within_s=40.0)


@pytest.mark.slow
def test_a_killed_street_is_played_on(start, until, city_folder):
    hub = start("demo", "--network", str(city_folder), "--port", "0", "--speed", "20")
    until(lambda: hub.named("hub.street"), "the street")
    until(lambda: "measured" in (hub.get("/api/v1/state") or {"source": ()})["source"], "a measured link")
    (street,) = hub.named("hub.street")
    street.kill()
    until(lambda: [p for p in hub.named("hub.street") if p.pid != street.pid], "another street", within_s=30.0)

    def received() -> int:
        return hub.parts()["ingest"]["readings"]["received"]

    before = received()
    until(lambda: received() > before + 100, "readings of the new street", within_s=60.0)
