"""``citytwin ingest replay-rejected``: what was rejected is decoded again, and stored where it can be used now."""

import sys
import time

from hub.commands.fleet import database_url
from hub.settings import Settings
from ingest.database import Database
from ingest.migration import migrate
from ingest.rejected import Replayed, replay_rejected
from ingest.store import Store
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag


def replay(settings: Settings) -> Replayed:
    """Try every rejected payload again with the configuration of now, and print what came of them."""
    city = settings.city
    clock = CityClock.parse(settings.clock, wall=time.time)
    with Database(database_url(settings)) as database:
        migrate(database)
        store = Store(database, unverified_limit=city.max_unverified_sensors)
        memory = SeriesMemory(lanes=dict(database.fetch("SELECT sensor_id, lanes FROM sensor WHERE verified")))
        total = replay_rejected(
            database,
            store,
            decoder(city.topics),
            now=clock.now() if clock.started else time.time(),
            retention_s=city.retention_s,
            future_s=city.future_s,
            flag=lambda batch: flag(batch, memory),
            progress=_tell,
        )
    if sys.stderr.isatty() and total.rows:
        print(file=sys.stderr)
    counts = total.readings
    print(
        f"{total.rows} rejected: {total.resolved} resolved, {total.kept} still rejected, {total.cut} cut and not tried"
    )
    print(f"readings: {counts.stored} stored, {counts.duplicate} known before, {counts.conflict} conflicts")
    return total


def _tell(total: Replayed) -> None:
    if sys.stderr.isatty():
        print(f"\r{total.rows} tried, {total.resolved} resolved", end="", file=sys.stderr, flush=True)
