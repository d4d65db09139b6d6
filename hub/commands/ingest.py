"""``citytwin ingest``: one worker that takes readings from the broker into the database, until it is stopped."""

import argparse
import contextlib
import fcntl
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from hub.commands import replay_rejected
from hub.commands.arguments import port
from hub.commands.fleet import broker_url, database_url
from hub.log import configure_log
from hub.settings import Settings
from hub.worker_page import worker_page
from ingest.batcher import Batcher
from ingest.database import Database
from ingest.direct import DirectBroker
from ingest.linger import Linger
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.retention import Retention
from ingest.rollup import Rollups
from ingest.spools import Spools
from ingest.store import Store
from ingest.subscriber import Subscriber
from ingest.worker import Worker
from sensors import InputError, WorkError
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag

MOST_WORKERS = 1000  # of one state folder at the same time


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("run", "replay-rejected"),
        default="run",
        help="run a worker (the default), or decode again what was rejected and store what can be used now",
    )
    parser.add_argument(
        "--shared-group", metavar="NAME", help="share the load with the other workers of this group ($share/NAME/...)"
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="be the broker as well: publications go to the writer without a second connection (see [broker] in"
        " city.toml for certificates, users and limits)",
    )
    parser.add_argument(
        "--metrics-port", type=port, metavar="N", help="serve /metrics, /healthz and /readyz on this port of 127.0.0.1"
    )
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="H", help="address for --metrics-port, 0.0.0.0 in a container"
    )
    replay_rejected.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Take readings in until SIGTERM or SIGINT; then finish and acknowledge what has arrived."""
    settings = Settings.read(os.environ)
    configure_log(settings.log)
    if args.action == "replay-rejected":
        replay_rejected.replay(settings, args)
        return 0
    replay_rejected.refuse_without_replay(args)
    clock = CityClock.parse(settings.clock, wall=time.time)
    if args.listen is not None and args.shared_group is not None:
        raise InputError("--shared-group is for workers at a broker: with --listen this process is the broker")
    urls = database_url(settings), broker_url(settings) if args.listen is None else ""
    stop = threading.Event()
    metrics = IngestMetrics()
    metrics.database(up=False, error="not tried yet")
    running: list[Subscriber | DirectBroker] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_signals(stop, running))
        if args.metrics_port is not None:
            address = stack.enter_context(
                worker_page(args.metrics_port, metrics, lambda: _health(metrics, running), host=args.metrics_host)
            )
            say(f"metrics at {address}/metrics")
        client_id = stack.enter_context(session(settings.state, args.shared_group))
        database = stack.enter_context(Database(urls[0]))
        memory = SeriesMemory()
        batcher: Batcher[Any] = Batcher(
            decoder(settings.city.topics),
            clock=clock,
            retention_s=settings.city.retention_s,
            future_s=settings.city.future_s,
            flag=lambda batch: flag(batch, memory),
        )
        store = Store(database, unverified_limit=settings.city.max_unverified_sensors)
        spools = Spools(settings.state / "spool", client_id, limit_bytes=int(settings.city.spool_bytes))
        stack.enter_context(spools)

        def prepare() -> None:
            migrate(database)
            memory.learn_lanes(dict(database.fetch("SELECT sensor_id, lanes FROM sensor WHERE verified")))
            stack.enter_context(Retention(store, clock=clock, retention_s=settings.city.retention_s))
            stack.enter_context(Rollups(database))

        filters = [rule.filter for rule in settings.city.topics]
        takes = f"{client_id} takes readings into {database.name}"
        source: Subscriber | DirectBroker
        if args.listen is not None:
            options = replace(settings.city.broker, listen=args.listen)
            source = DirectBroker(options, filters=filters, client_id=client_id)
            say(f"the broker listens at {', '.join(source.urls.values())}")
            say(takes)
        else:
            source = Subscriber(
                urls[1],
                client_id=client_id,
                filters=filters,
                shared_group=args.shared_group,
                first_connect_s=0.0,  # what the spool holds waits for no broker
                on_subscribed=_once(lambda: say(takes)),
            )
        stack.callback(source.close)
        running.append(source)
        Worker[Any](
            source,
            store,
            batcher,
            metrics=metrics,
            spools=spools,
            prepare=prepare,
            linger=Linger(settings.city.linger_s, settings.city.quiet_linger_s),
        ).run(stop)
    say(", ".join(f"{count} {result}" for result, count in metrics.readings.items()))
    return 0


def _once(call: Callable[[], None]) -> Callable[[], None]:
    calls = iter([call])
    return lambda: next(calls, lambda: None)()


def _health(metrics: IngestMetrics, running: Sequence[Subscriber | DirectBroker]) -> dict[str, dict[str, Any]]:
    """Return whether the database and, once the worker runs, the broker can be worked with."""
    readings = metrics.readings
    database = {"ok": metrics.database_up, "spooled": readings["spooled"], "error": metrics.database_error}
    parts: dict[str, dict[str, Any]] = {"database": database}
    for subscriber in running:
        state = subscriber.state
        parts["broker"] = {"ok": state.connected and not state.error, "queued": state.queued, "error": state.error}
    if not running:
        parts["worker"] = {"ok": False, "error": "it is starting"}
    return parts


def say(text: str) -> None:
    """Tell the person, or the log of the service, what goes on."""
    print(f"citytwin ingest: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def session(state: Path, group: str | None) -> Iterator[str]:
    """Lend an MQTT client id that no other worker of this state folder uses now, the same ones at every start.

    The broker keeps what a worker has not acknowledged under its client id. A worker that comes back must have the id
    of before, and a second worker at the same time another one.

    Raises
    ------
    WorkError
        When the state folder cannot be written.
    """
    kind = re.sub(r"[^\w.-]", "_", group) if group else "alone"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1, MOST_WORKERS + 1):
            with (state / f"ingest-{kind}-{number}").open("a+", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                file.seek(0)
                client_id = file.read().strip()
                if not client_id:
                    client_id = f"citytwin-ingest-{uuid.uuid4().hex[:12]}"
                    file.write(client_id)
                    file.flush()
                    os.fsync(file.fileno())
                yield client_id
                return
    except OSError as error:
        raise WorkError(
            f"the state folder {state} cannot be written ({error.strerror}): set CITYTWIN_STATE to a folder that can"
        ) from error
    raise WorkError(f"{MOST_WORKERS} workers run in {state} already: set CITYTWIN_STATE to another folder for more")


@contextlib.contextmanager
def _signals(stop: threading.Event, running: Sequence[Subscriber | DirectBroker]) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for source in running:
            if isinstance(source, DirectBroker):  # with a broker elsewhere publishers go on meanwhile
                source.drain()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
