"""The app of one city: what was committed becomes snapshots, snapshots become alerts, and all of it is shown."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hub import frames
from hub.board import Board
from hub.demo import Demo
from hub.desk import Desk
from hub.equipment import Equipment
from hub.experience import Experience
from hub.feed import CommittedFeed, PolledFeed, instants
from hub.habit import Habit
from hub.intake import Intake
from hub.keeping import EVERY_S as KEEP_EVERY_S
from hub.keeping import Keeping
from hub.live import Fan
from hub.notify import Notifier
from hub.rules import RuleSet, evaluate
from hub.settings import Settings
from hub.show import number, sensor_counts, stamp
from hub.summary import summarise
from hub.truth import Truth
from hub.whatif import Run, Runs
from ingest.database import DatabaseAway
from ingest.retention import Retention
from ingest.rollup import Rollups
from ingest.store import Store
from sensors import Batch, InputError, WorkError
from sensors.clock import CityClock
from twin import Network, Snapshot
from twin.matching import Streets
from twin.probes import Probes
from twin.twin import Twin

log = logging.getLogger(__name__)
FULL_FRAME_EVERY_S = 10.0
LATELY_S = 900.0  # a sensor that nobody registered is looked for so long after a restart
NOTIFY_S = 5.0  # how long a stopping hub waits for its receivers; what is not told then is told at the next start


class App:
    """Holds the parts of one running city and turns the twin's loop; made by `hub.running`.

    Parameters
    ----------
    settings, network, clock, store, rules, desk
        What the city is made of.
    intake
        Takes readings in within this process, None when others do.
    demo
        How the street is played, None when the sensors are real.
    """

    def __init__(
        self,
        settings: Settings,
        network: Network,
        *,
        clock: CityClock,
        store: Store,
        rules: RuleSet,
        desk: Desk,
        notifier: Notifier,
        runs: Runs,
        intake: Intake | None,
        feed: CommittedFeed | PolledFeed,
        demo: Demo | None = None,
    ) -> None:
        self.settings = settings
        self.network = network
        self.compiled = network.compile()
        self.clock = clock
        self.store = store
        self.rules = rules
        self.desk = desk
        self.notifier = notifier
        self.runs = runs
        self.intake = intake
        self.demo = demo
        self.equipment = Equipment(network, store.database, now=clock.now)
        self.board = Board()
        self.fan = Fan()
        self.truth = Truth()
        self._retention = Retention(store, clock=clock, retention_s=settings.city.retention_s)
        self._rollups = Rollups(store.database)
        holidays = frozenset(settings.city.holidays)
        self._habit = Habit(store.database, network, clock=clock, time_zone=self.timezone, holidays=holidays)
        self._experience = Experience(store.database, network, clock=clock)
        self._keeping, self._kept_at = Keeping(store.database), time.monotonic()
        self._level = store.database.level().value
        self.on_serving: Callable[[], None] = lambda: None
        self._feed = feed
        self._twin: Twin | None = None
        self._judging = False
        self._awake = threading.Event()
        if demo is None:
            self._awake.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="twin", daemon=True)
        self._since = float("-inf")
        self._sent: frames.LinkBytes | None = None
        self._full_at = float("-inf")
        self._step_s = 0.0
        self._published_at: float | None = None
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Take up what earlier runs left, and begin to live."""
        self.desk.restore()
        self.equipment.take_up()
        self.desk.on_event = self.notifier.push
        self.notifier.start(self.desk.recorded(since=time.time() - 3600.0))
        self._thread.start()
        self._retention.start()
        self._rollups.start()
        self._keeping.start()
        if self.demo is None:  # its street has a day of its own, whatever the city's clock says
            self._habit.start()
            self._experience.start()
        if self.intake is not None:
            self.intake.on_failure = lambda: self.on_failure()
            self.intake.start()

    def finish(self) -> None:
        """Take in what has arrived, make the last snapshot and stop; the street must have stopped before."""
        self._retention.stop()
        self._rollups.stop()
        self._keeping.stop()
        self._habit.stop()
        self._experience.stop()
        if self.intake is not None:
            self.intake.stop()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            if self.failure is None:
                self._turn()
        self.notifier.settled(timeout_s=NOTIFY_S)
        self.desk.save()
        self.truth.save(self.store.database)
        self._keep()

    def close(self) -> None:
        """Let go of everything; also of an app that never started."""
        self._stop.set()
        self._retention.stop()
        self._rollups.stop()
        self._keeping.stop()
        self._habit.stop()
        self._experience.stop()
        self._feed.close()
        if self.intake is not None:
            self.intake.stop()
        if self._thread.is_alive():
            self._thread.join()
        self.notifier.stop()
        self.runs.close()
        self.store.database.close()

    @property
    def timezone(self) -> str:
        """IANA zone of the city: the network's own, else that of the settings."""
        return self.network.timezone or self.settings.city.timezone

    def wake(self) -> None:
        """Begin to expect readings and to judge: the street of the demo moves from now on."""
        self._awake.set()

    def fail(self, error: BaseException) -> None:
        """Note that a part cannot go on, and have the hub stopped."""
        self.failure = error
        self._feed.close()  # the writer of a replay may wait for a twin that takes nothing any more
        self.on_failure()

    def full_frame(self) -> bytes | None:
        """Return the state of every link as one frame, None before the first snapshot."""
        snapshot = self.board.snapshot
        if snapshot is None:
            return None
        state = frames.link_bytes(snapshot, self.compiled.free_speed)
        return frames.full_frame(state, frames.Stamps(snapshot.sequence, snapshot.time, time.time()))

    def summary(self) -> dict[str, Any]:
        """Return the city in a few numbers, for the API and the cockpit."""
        snapshot = self.board.snapshot
        assert snapshot is not None, "asked before the first snapshot"
        summary, error = summarise(snapshot, self.compiled), self.truth.error
        reporting, total = sensor_counts(snapshot)
        return {
            "time": stamp(snapshot.time),
            "speed_ratio": number(summary.speed_ratio),
            "congested_km": number(summary.congested_km),
            "delay_veh_h_per_h": number(summary.delay_veh_h_per_h, 1),
            "vehicles": number(summary.vehicles, 1),
            "sensors_reporting": reporting,
            "sensors_total": total,
            "estimate_error": None
            if error is None
            else {"speed_kmh_mae": number(error.speed_kmh_mae, 2), "flow_veh_h_mae": number(error.flow_veh_h_mae, 1)},
            "leave_one_out": self._experience.errors(),
            "typical": None,
        }

    def ask(self, question: dict[str, Any], *, name: str, horizon_s: float, seed: int) -> Run:
        """Start a what-if run of the typical day, from the time of day that it is in the city; failures hold."""
        start_s = self._second_of_day(self.clock.now())
        standing = {"asset_failure": [{"asset": failure.asset_id} for failure in self.equipment.failures]}
        return self.runs.start(question, name=name, start_s=start_s, horizon_s=horizon_s, seed=seed, standing=standing)

    def health(self) -> dict[str, dict[str, Any]]:
        """Return each part with whether it works."""
        age = None if self._published_at is None else time.monotonic() - self._published_at
        # When a replay has ended its city stands still, and so does the twin.
        young = age is not None and (age < 10.0 or self.clock.event_time is not None)
        parts: dict[str, dict[str, Any]] = {
            "twin": {"ok": self.failure is None and young, "snapshot_age_s": age},
            "alerts": {"ok": not self.desk.away, "unsaved": self.desk.unsaved},
            "store": {"ok": not self.desk.away, "level": self._level},
        }
        if self.intake is not None:
            parts["ingest"] = self.intake.health()
        return parts

    def metrics(self) -> str:
        """Return the counters of ingest, twin, alerts and cockpit in Prometheus text format."""
        snapshot = self.board.snapshot
        own = {
            "citytwin_snapshots_total": 0 if snapshot is None else snapshot.sequence,
            "citytwin_step_seconds": self._step_s,
            "citytwin_browsers": self.fan.n_clients,
        }
        lines = [
            f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}\n{name} {value}"
            for name, value in own.items()
        ]
        parts = [self.intake.metrics.as_prometheus()] if self.intake is not None else []
        text = "\n".join([*lines, self.desk.as_prometheus(), self.notifier.as_prometheus(), *parts])
        return text.rstrip("\n") + "\n"  # the format wants a line feed after the last line

    def _second_of_day(self, now: float) -> float:
        if self.demo is not None:  # the street of a demo has a day of its own
            return (self.demo.hour * 3600 + now - self.clock.city_start) % 86_400.0
        local = datetime.fromtimestamp(now, ZoneInfo(self.timezone))
        return local.hour * 3600.0 + local.minute * 60.0 + local.second

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                busy = self._turn()
                self._step_s = time.monotonic() - started
                pause = 0.0 if busy and self.clock.event_time is not None else self.settings.city.snapshot_every_s
                self._stop.wait(max(0.0, pause - self._step_s))
        except BaseException as error:
            log.exception("the twin stopped")
            self.fail(error)

    def _turn(self) -> bool:
        """Take what was committed, one snapshot for each instant, and show the last of them; whether there was any."""
        try:
            batch = self._feed.take()
        except DatabaseAway as error:
            log.warning("%s; the twin goes on without news", error)
            batch = Batch()
        snapshot = None
        for now, part in instants(batch, self.clock, since=self._since):
            snapshot = self._step(part, now)
            self._since = now
        if snapshot is not None:
            self.truth.compare(snapshot)
            self._show(snapshot)
        self.desk.save()
        self.truth.save(self.store.database)
        return len(batch) > 0

    def _step(self, batch: Batch, now: float) -> Snapshot:
        awake = self._awake.is_set()
        if self._twin is None or awake != self._judging:
            self._judging = awake
            self._twin = self._new_twin(now)
            self._twin.assimilate(self._before(now), now=now)
        self._twin.estimator.learned = self._experience.learned
        snapshot = self._twin.assimilate(batch, now=now, prior=self._habit.prior(now), outage=self.equipment.outage)
        self.board.publish(snapshot)
        if time.monotonic() - self._kept_at > KEEP_EVERY_S:
            self._kept_at = time.monotonic()
            self._keeping.put(self._twin.keep())
        if awake:
            for event in self.desk.update(evaluate(self.rules, snapshot, self.compiled), now=now):
                self.fan.message("alert", alert=event.alert.to_json())
        return snapshot

    def _new_twin(self, now: float) -> Twin:
        """Return a twin that knows of its sensors what an earlier run learned."""
        probes = Probes(Streets(self.network), self.compiled)
        try:
            return Twin(self.network, started_at=now, probes=probes, kept=self._keeping.read())
        except (DatabaseAway, InputError) as error:
            log.warning("%s; sensors are compared from the beginning", error)
            return Twin(self.network, started_at=now, probes=probes)

    def _keep(self) -> None:
        """Keep what the twin learned when the hub stops."""
        if self._twin is None:
            return
        self._keeping.put(self._twin.keep())
        try:
            self._keeping.do()
        except WorkError as error:
            log.warning("%s; what was learned of the sensors is lost since the last time it was kept", error)

    def _before(self, now: float) -> Batch:
        """Return the newest reading of every series that an earlier run stored, so that a restart is not blind.

        Of sensors that this network does not name only those that reported lately: others left, or are another city's.
        """
        try:
            latest = self.store.latest()
        except DatabaseAway as error:
            log.warning("%s; the twin starts without what was stored", error)
            return Batch()
        named = np.isin(np.array(latest.sensor_id, object), [sensor.sensor_id for sensor in self.network.sensors])
        lately = latest.time_ms > (now - LATELY_S) * 1000
        return latest.take(np.flatnonzero((latest.time_ms <= now * 1000) & (named | lately)))

    def _show(self, snapshot: Snapshot) -> None:
        """Send the newest snapshot to the browsers: what changed, and everything now and then."""
        wall, monotonic = time.time(), time.monotonic()
        state = frames.link_bytes(snapshot, self.compiled.free_speed)
        stamps = frames.Stamps(snapshot.sequence, snapshot.time, wall)
        full = frames.full_frame(state, stamps)
        if self._sent is None or monotonic - self._full_at >= FULL_FRAME_EVERY_S:
            delta, self._full_at = full, monotonic
        else:
            delta = frames.delta_frame(self._sent, state, stamps)
        self._sent = state
        self.fan.frame(delta, full)
        self.fan.message("summary", summary=self.summary())
        self._published_at = monotonic
