"""The app wires one city: store, twin, rules, alerts and what the API shows; its loop is the life of the twin."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from hub.board import Board
from hub.desk import Desk
from hub.live import Fan
from hub.rules import load
from hub.settings import Settings
from hub.truth import Truth
from hub.whatif import Runs
from ingest.database import Database
from ingest.store import Store
from twin import Network
from twin.twin import Twin

log = logging.getLogger(__name__)
FULL_FRAME_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Demo:
    """How the street of a demo is played.

    Parameters
    ----------
    speed
        City seconds per wall second.
    seed
        Of demand, noise, incidents and faults.
    hour
        Hour of its typical day at which the street starts.
    """

    speed: float = 1.0
    seed: int = 1
    hour: float = 7.5


class App:
    """One city: what was committed becomes snapshots, snapshots become alerts, and all of it is shown.

    Parameters
    ----------
    settings
        Of this process.
    network
        The city's network.
    clock
        The city's clock.
    database_url, mqtt_url
        Where the store and the broker are.
    demo
        How the street is played, None when the sensors are real.
    ingest
        Whether this process takes readings in; else the database is asked for them.
    """

    def __init__(
        self,
        settings: Settings,
        network: Network,
        *,
        database_url: str,
        mqtt_url: str,
        demo: Demo | None = None,
        ingest: bool = True,
    ) -> None:
        self.settings = settings
        self.network = network
        self.demo = demo
        self.compiled = network.compile()
        self.database = Database(database_url)
        self.store = Store(self.database)
        self.clock = self._clock()
        self.twin = Twin(network, started_at=self.clock.now())
        self.rules = load(settings.config / "rules.toml")
        self.desk = Desk(self.database, network, settings.city)
        self.board = Board()
        self.fan = Fan()
        self.truth = Truth()
        self.runs = Runs(network)
        self.on_serving: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._sent = None
        self._full_at = 0.0
