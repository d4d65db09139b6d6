"""``citytwin replay``: recorded readings to the broker or the database, at any speed."""

import argparse
import hashlib
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from hub.bar import Bar
from hub.commands.fleet import broker_url, database_url
from hub.settings import Settings
from ingest.backfill import BLOCK_READINGS, Backfill
from ingest.database import Database
from ingest.migration import migrate
from ingest.publisher import Publisher
from ingest.settled import Counts
from ingest.store import Store
from sensors import Batch, InputError, WorkError
from sensors.column_map import ColumnMap
from sensors.payload import PayloadDecoder, decoder
from sensors.quality import SeriesMemory, flag
from sensors.recorded_table import Table
from sensors.recording import NEVER_MS
from sensors.replay import Message, Recording, merged, open_recording, paced

_DRAIN_S = 600.0
_STOP_S = 2.0  # of a replay that is stopped: acknowledgements of what was just sent are on their way
_BLOCK = 500  # messages handed over at once when there is no pace to keep
_BATCH_PAYLOADS = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="table (CSV, Parquet) or captured MQTT, or .gz of it"
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="F",
        help="recorded seconds per second (default 1), 0 or max: as fast as it goes; serve with CITYTWIN_CLOCK=replay",
    )
    parser.add_argument("--to", choices=("mqtt", "database"), default="mqtt", help="where to (default mqtt)")
    parser.add_argument(
        "--from", dest="from_ms", type=_instant_ms, default=-NEVER_MS, metavar="T", help="from this time"
    )
    parser.add_argument("--until", dest="until_ms", type=_instant_ms, default=NEVER_MS, metavar="T", help="before this")
    parser.add_argument("--map", type=Path, metavar="FILE", help="column map (TOML) of a table with other columns")


def run(args: argparse.Namespace) -> int:
    """Replay the files; 0 when everything arrived, 1 when not."""
    if args.from_ms >= args.until_ms:
        raise InputError("--from must be before --until")
    if missing := [path for path in args.files if not path.is_file()]:
        raise InputError([f"{path}: there is no such file" for path in missing])
    settings = Settings.read(os.environ)
    url = broker_url(settings) if args.to == "mqtt" else database_url(settings)
    column_map = ColumnMap.read(args.map) if args.map is not None else None
    recordings = _opened(args.files, column_map, args.from_ms, args.until_ms)
    if args.to == "database" and math.isinf(args.speed) and all(isinstance(one, Table) for one in recordings):
        _backfill(recordings, args, url, settings)
        return 0
    progress = Progress(sum(r.rows for r in recordings))
    messages = progress.counted(paced(merged(recordings), factor=args.speed, wall=time.monotonic, sleep=time.sleep))
    try:
        if args.to == "mqtt":
            publisher = Publisher(url, client_id=f"citytwin-replay-{os.getpid()}")
            publish(messages, publisher, progress, at_pace=args.speed < math.inf)
        else:
            _write(messages, url, settings, progress)
    finally:
        progress.end()
        for line in summary(recordings):
            print(line)
        for fault in (fault for recording in recordings for fault in recording.faults):
            print(f"citytwin replay: {fault}", file=sys.stderr)
    return 0


def _opened(files: Iterable[Path], column_map: ColumnMap | None, from_ms: int, until_ms: int) -> list[Recording]:
    """Return all recordings, or the faults of all files at once."""
    recordings: list[Recording] = []
    faults: list[str] = []
    for path in files:
        try:
            recordings.append(open_recording(path, column_map=column_map, from_ms=from_ms, until_ms=until_ms))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    return recordings


def publish(messages: Iterator[Message], publisher: Publisher, progress: "Progress", *, at_pace: bool) -> None:
    """Publish all messages and wait until each is acknowledged.

    Raises
    ------
    WorkError
        When the broker does not acknowledge everything in time.
    """
    try:
        # Without a pace many at once are faster; with one, each goes when it is due.
        while block := list(islice(messages, 1 if at_pace else _BLOCK)):
            publisher.publish_all([(message.topic, message.payload) for message in block])
        if not publisher.drain(_DRAIN_S):
            raise WorkError(f"the broker did not acknowledge everything: {publisher.backlog()}")
    finally:
        publisher.close(_STOP_S)
        progress.confirmed = publisher.acknowledged
        print(f"published {publisher.published}, acknowledged {publisher.acknowledged}")


def _backfill(recordings: Sequence[Recording], args: argparse.Namespace, url: str, settings: Settings) -> None:
    """Write tables as columns, one after the other, each from where an earlier call was stopped."""
    counts = Counts()
    with Database(url) as database, Bar("rows", sum(recording.rows for recording in recordings)) as bar:
        migrate(database)
        store = Store(database, unverified_limit=settings.city.max_unverified_sensors)
        before = 0
        try:
            for path, table in zip(args.files, recordings, strict=True):
                assert isinstance(table, Table)
                source = fingerprint(path, f"{args.map and args.map.read_bytes()!r} {args.from_ms} {args.until_ms}")
                backfill = Backfill(store, source=source, name=table.name)
                if backfill.progress.rows:
                    bar.say(
                        f"citytwin replay: {table.name}: goes on after {backfill.progress.rows} of {table.rows} rows"
                    )
                for progress in backfill.steps(table.blocks(BLOCK_READINGS)):
                    bar.to(before + progress.rows)
                before += table.rows
                counts += backfill.progress.counts
        finally:
            told(counts)
    for line in summary(recordings):
        print(line)
    for fault in (fault for recording in recordings for fault in recording.faults):
        print(f"citytwin replay: {fault}", file=sys.stderr)


def told(counts: Counts) -> None:
    """Print what became of the readings."""
    print(
        f"received {counts.received}, stored {counts.stored}, duplicate {counts.duplicate}, "
        f"conflict {counts.conflict}, rejected {counts.rejected}"
    )


def fingerprint(path: Path, how: str) -> str:
    """Return what tells a file, and how it is read, from every other one."""
    digest = hashlib.sha256(how.encode())
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _write(messages: Iterator[Message], url: str, settings: Settings, progress: "Progress") -> None:
    counts = Counts()
    with Database(url) as database:
        migrate(database)
        store = Store(database, unverified_limit=settings.city.max_unverified_sensors)
        try:
            for batch in batches(messages, decoder(settings.city.topics)):
                counts += store.write(batch)
                progress.confirmed = progress.taken
        finally:
            told(counts)


def batches(messages: Iterator[Message], decode: PayloadDecoder) -> Iterator[Batch]:
    """Yield the messages as flagged batches; each is received at the event time of its newest message."""
    memory = SeriesMemory()
    while block := list(islice(messages, _BATCH_PAYLOADS)):
        columns = decode.columns([message.topic for message in block], [message.payload for message in block])
        received_at = max(message.time_ms for message in block) / 1000
        yield flag(columns.batch(received_at=received_at), memory)


def summary(recordings: Iterable[Recording]) -> Iterator[str]:
    """Yield one line a recording: what was in it and what was left out."""
    for recording in recordings:
        line = f"{recording.name}: {recording.rows} messages, {recording.duplicates} of them exact duplicates"
        if recording.empty:
            line += f", {recording.empty} rows without a value left out"
        if recording.n_faults:
            line += f", {recording.n_faults} lines that cannot be replayed left out"
        yield line


class Progress:
    """One line on a terminal: how much is done and where in time; and from when to go on after a stop."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        # (messages taken, their time) now and then, as far back as a publisher may still wait for acknowledgements
        self._marks: deque[tuple[int, int]] = deque(maxlen=200)
        self.taken = 0
        self.confirmed = 0

    def counted(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield the messages and show where they are, twice a second."""
        for message in messages:
            if self.taken % _BLOCK == 0:
                self._marks.append((self.taken, message.time_ms))
                self._show(message.time_ms)
            self.taken += 1
            yield message

    def _show(self, time_ms: int) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            share = f" of {self._total}" if self._total else ""
            print(f"\r{self.taken}{share} messages, {_stamp(time_ms)} ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Finish the line; after a stop before the end say how to go on: what came twice is stored once."""
        if self._shown:
            print(file=sys.stderr)
        if sys.exc_info()[0] is not None and self._marks:
            from_ms = next((ms for taken, ms in reversed(self._marks) if taken <= self.confirmed), self._marks[0][1])
            print(f"citytwin replay: stopped, go on with --from {_stamp(from_ms)}", file=sys.stderr)


def _stamp(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _speed(text: str) -> float:
    """Return recorded seconds per second; infinite for 0 and max."""
    try:
        factor = float("inf" if text in ("0", "max") else text)
    except ValueError:
        factor = math.nan
    if not factor > 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, or 0 or max for as fast as it goes, not {text!r}")
    return factor


def _instant_ms(text: str) -> int:
    """Return ms since 1970 UTC of RFC 3339, or of a date alone: its midnight UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or (instant.tzinfo is None and len(text) > 10):
        raise argparse.ArgumentTypeError(f"must be a time with zone such as 2014-08-05T06:00:00Z, not {text!r}")
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
