"""Makes the app of a hub from settings, network and the addresses of database and broker."""

import logging
import time
import uuid
from dataclasses import replace

from hub.alerts import AlertBook
from hub.app import App
from hub.demo import Demo
from hub.desk import Desk
from hub.evidence import NetworkPlaces
from hub.feed import CommittedFeed, PolledFeed
from hub.intake import Intake, client_id
from hub.notify import Notifier
from hub.receivers import MqttTopic, Receiver, Webhook
from hub.rules import RuleSet
from hub.settings import Settings
from hub.whatif import Runs
from ingest.database import Database
from ingest.migration import migrate
from ingest.publisher import Publisher
from ingest.store import Store
from sensors.clock import CityClock
from twin import Network
from twin.furniture import link_zones
from twin.placement import place_detectors

log = logging.getLogger(__name__)
DEMANDS = ("demand.csv", "trips.csv")


def assemble(
    settings: Settings,
    network: Network,
    rules: RuleSet,
    *,
    database_url: str,
    mqtt_url: str,
    demo: Demo | None,
    ingest: bool,
) -> App:
    """Return the app, with the database migrated and the network's sensors registered.

    Raises
    ------
    InputError, WorkError
        When database or broker cannot be used.
    """
    database = Database(database_url)
    migrate(database)
    log.info("%s: %s, PostgreSQL %s", database.name, database.level(), database.version())
    store = Store(database, unverified_limit=settings.city.max_unverified_sensors)
    if demo is not None:
        network = _played(network, demo)
    store.register(network.sensors, zones=link_zones(network.nodes, network.links, network.zones))
    clock = _demo_clock(store, demo) if demo is not None else CityClock.parse(settings.clock, wall=time.time)
    desk = Desk(database, AlertBook(rules, places=NetworkPlaces(network)), now=clock.now, wall=time.time)
    notifier = _notifier(settings, mqtt_url, desk)
    intake = None
    feed: CommittedFeed | PolledFeed = PolledFeed(store, clock)
    if ingest:
        feed = CommittedFeed(clock)
        intake = Intake(
            mqtt_url,
            client_id=client_id(settings.state),
            store=store,
            city=settings.city,
            clock=clock,
            spool=settings.state / "spool",
            lanes={sensor.sensor_id: sensor.lanes for sensor in network.sensors},
            committed=feed.put,
        )
    return App(
        settings,
        network,
        clock=clock,
        store=store,
        rules=rules,
        desk=desk,
        notifier=notifier,
        runs=Runs(network.folder),
        intake=intake,
        feed=feed,
        demo=demo,
    )


def _played(network: Network, demo: Demo) -> Network:
    """Return the network as a demo plays it, with what is assumed about it among its notes."""
    notes = list(network.notes)
    if not network.sensors:
        network = replace(network, sensors=place_detectors(network.compile()))
        notes.append(f"{len(network.sensors)} virtual detectors are placed: the network names no sensors")
    if network.folder is not None and not any((network.folder / name).exists() for name in DEMANDS):
        notes.append("traffic is assumed: a gravity model of a working day, for the network has no demand")
    hour, minute = divmod(round(60 * demo.hour), 60)
    notes.append(f"the street starts at {hour:02d}:{minute:02d} of its typical day, whatever the city's clock says")
    return replace(network, notes=tuple(notes))


def _notifier(settings: Settings, mqtt_url: str, desk: Desk) -> Notifier:
    """Return who tells of alerts: the hub's topic on the broker, and a webhook where one is named."""
    city = settings.city
    publisher = Publisher(mqtt_url, client_id=f"citytwin-alerts-{uuid.uuid4().hex[:8]}")
    receivers: list[Receiver] = [MqttTopic(publisher, base=city.alert_topic, district=city.district)]
    if city.webhook_url:
        receivers.append(Webhook(city.webhook_url))
    return Notifier(receivers, on_receipt=desk.note, on_stop=publisher.close)


def _demo_clock(store: Store, demo: Demo) -> CityClock:
    """Return the demo's clock: from now on, or from the newest stored reading if an earlier demo ran ahead of now."""
    now = time.time()
    newest = float(store.latest().time_ms.max(initial=0)) / 1000
    return CityClock(wall=time.time, wall_start=now, city_start=max(now, newest + 1.0), factor=demo.speed)
