"""``citytwin ingest replay-rejected``: what was rejected is decoded again, and stored where it can be used now."""

import argparse
import sys
import time

from hub.commands.arguments import instant, topic_filter
from hub.commands.fleet import database_url
from hub.settings import Settings
from ingest.database import Database
from ingest.migration import migrate
from ingest.rejected import Chosen, Replayed, replay_rejected
from ingest.store import Store
from sensors import InputError, Reason
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose what is tried."""
    group = parser.add_argument_group("replay-rejected tries")
    group.add_argument("--reason", choices=[str(reason) for reason in Reason], metavar="R", help="only this reason")
    group.add_argument("--topic", type=topic_filter, metavar="FILTER", help="only topics that this filter matches")
    group.add_argument("--since", type=instant, metavar="TIME", help="only what was received since, RFC 3339")
    group.add_argument(
        "--clock-was-wrong", action="store_true", help="judge times by the city clock of now, not of the reception"
    )


def refuse_without_replay(args: argparse.Namespace) -> None:
    """Raise InputError when a worker was given what is for a replay."""
    given = {"--reason": args.reason, "--topic": args.topic, "--since": args.since}
    given |= {"--clock-was-wrong": args.clock_was_wrong or None}
    if faults := [f"{name} is for 'ingest replay-rejected'" for name, value in given.items() if value is not None]:
        raise InputError(faults)


def replay(settings: Settings, args: argparse.Namespace) -> Replayed:
    """Try rejected payloads again with the configuration of now, and print what came of them."""
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
            chosen=Chosen(None if args.reason is None else Reason(args.reason), args.topic, args.since),
            clock_was_wrong=args.clock_was_wrong,
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
