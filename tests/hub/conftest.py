"""A hub without a broker: real database, twin's loop and web server; readings are handed in by the test."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hub.alerts import AlertBook
from hub.app import App
from hub.desk import Desk
from hub.evidence import NetworkPlaces
from hub.feed import CommittedFeed
from hub.notify import Notifier
from hub.parts import listen
from hub.rules import RuleSet, parse
from hub.server import create_server
from hub.settings import City, Settings
from hub.whatif import Runs
from ingest.database import Database
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from sensors import Batch, Reading, Sensor
from sensors.clock import CityClock
from twin import Network
from twin.furniture import link_zones
from twin.generate import generate

SLOW = {
    "name": "slow",
    "on": "link",
    "when": "speed < 15 * kmh and source == measured",
    "clear_when": "speed > 25 * kmh",
    "severity": 2,
    "labels": {"department": "traffic-police"},
    "summary": {"en": "{name}: {speed_kmh} km/h", "zh": "{name}：{speed_kmh}"},
}


def wait_until(condition: Callable[[], Any], what: str, *, within_s: float = 30.0) -> Any:
    """Return the first true answer of a condition; fail with what was waited for."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {within_s} s: {what}")


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """Poll a condition: ``until(condition, "what is waited for", within_s=30.0)``."""
    return wait_until


@contextlib.contextmanager
def served(app: App) -> Iterator[httpx.Client]:
    """Serve an app on a free port as the hub does, and give a client of it."""
    server, serving = create_server(app), threading.Event()
    app.on_serving = serving.set
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            assert serving.wait(30.0)
            port = sock.getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def workers() -> Callable[[], list[psutil.Process]]:
    """Return the worker processes of what-if runs that this process has just now."""

    def found() -> list[psutil.Process]:
        alive = []
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "multiprocessing.spawn" in " ".join(child.cmdline()):
                    alive.append(child)
        return alive

    return found


class Hub:
    """One hub of a test: its app, a client of its API, and the detectors of its city."""

    def __init__(self, app: App, client: httpx.Client, feed: CommittedFeed) -> None:
        self.app, self.client, self.feed = app, client, feed
        self._fresh = iter([s for s in app.network.sensors if s.link_id and "speed_kmh" in s.quantities])

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.client.base_url.port}"

    def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        """Return the JSON of a resource below the API; the status must be as expected."""
        answer = self.client.get(path if path.startswith("/") else f"/api/v1/{path}", params=parameters or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def say(self, *readings: Reading) -> None:
        """Commit readings as the writer does: stored, then handed to the twin; returns when a snapshot has them."""
        batch = Batch.of(list(readings), received_at=self.app.clock.now())
        self.app.store.write(batch)
        self.feed.put(batch)
        before = self.app.board.snapshot  # read after the batch is there: a slow write lets many turns pass
        sequence = before.sequence if before is not None else 0
        # One turn may have begun before the batch was there; the second one has taken it.
        wait_until(lambda: (s := self.app.board.snapshot) is not None and s.sequence >= sequence + 2, "a snapshot")

    def detector(self) -> Sensor:
        """Return a detector that no test has asked for yet."""
        return next(self._fresh)

    def drive(self, speed_kmh: float, *, sensor: Sensor | None = None, flow_veh_h: float = 600.0) -> Sensor:
        """Let one detector, a new one unless it is given, report now."""
        sensor, now = sensor or self.detector(), round(self.app.clock.now() * 1000)
        self.say(
            Reading(sensor.sensor_id, "speed_kmh", now, speed_kmh),
            Reading(sensor.sensor_id, "flow_veh_h", now, flow_veh_h),
        )
        return sensor

    def alert(self, sensor: Sensor | None = None) -> dict[str, Any]:
        """Let a link become slow and return the alert that fires."""
        slow = self.drive(5.0, sensor=sensor)

        def firing() -> Any:
            return next((a for a in self.get("alerts")["alerts"] if a["subject"] == slow.link_id), None)

        return wait_until(firing, "a firing alert")


@pytest.fixture(scope="session")
def town_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated city; no test may write into it."""
    folder = tmp_path_factory.mktemp("town") / "network"
    Network.from_tables(generate(seed=3, junctions=60)).write(folder)
    return folder


@pytest.fixture(scope="session")
def town(town_folder: Path) -> Network:
    return Network.read(town_folder)


@pytest.fixture(scope="session")
def slow_rule() -> RuleSet:
    return parse({"rule": [SLOW]})


@contextlib.contextmanager
def made_app(database: Database, network: Network, rules: RuleSet, state: Path) -> Iterator[tuple[App, CommittedFeed]]:
    """Make an app as `hub.assemble` does, but nobody is told by a broker and readings come from the test."""
    store = Store(database)
    store.register(network.sensors, zones=link_zones(network.nodes, network.links, network.zones))
    clock = CityClock(wall=time.time)
    feed = CommittedFeed(clock)
    desk = Desk(database, AlertBook(rules, places=NetworkPlaces(network)), now=clock.now, wall=time.time)
    app = App(
        Settings(state=state, city=City(snapshot_every_s=0.02)), network, clock=clock, store=store, rules=rules,
        desk=desk, notifier=Notifier([], on_receipt=desk.note), runs=Runs(network.folder), intake=None, feed=feed,
    )  # fmt: skip
    try:
        yield app, feed
    finally:
        app.close()


@contextlib.contextmanager
def running_hub(database: Database, network: Network, rules: RuleSet, state: Path, *, started: bool) -> Iterator[Hub]:
    """Make an app, serve it and let the twin live."""
    with made_app(database, network, rules, state) as (app, feed), served(app) as client:
        if started:
            app.start()
            wait_until(lambda: app.board.snapshot is not None, "the first snapshot")
        yield Hub(app, client, feed)
        if started:
            app.finish()


@pytest.fixture
def make_hub(tmp_path: Path, town: Network, slow_rule: RuleSet) -> Iterator[Callable[..., Hub]]:
    """Make hubs on a database: ``make_hub(database, started=True)``; they end with the test."""
    with contextlib.ExitStack() as stack:

        def make(database: Database, *, started: bool = True) -> Hub:
            return stack.enter_context(running_hub(database, town, slow_rule, tmp_path, started=started))

        yield make


@pytest.fixture(scope="module")
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres,
    template_database: str, town: Network, slow_rule: RuleSet,
) -> Iterator[Hub]:  # fmt: skip
    """One running hub for the tests of a module; each takes detectors of its own."""
    name = "hub_" + request.module.__name__.rpartition(".")[2]
    with Database(postgres.url) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        with running_hub(
            Database(postgres.url_of(name)), town, slow_rule, tmp_path_factory.mktemp("state"), started=True
        ) as made:
            yield made
        maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
