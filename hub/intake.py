"""Taking readings in within the hub's process: subscriber, batcher and writer on a thread of their own."""

import logging
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.settings import City
from ingest.batcher import Batcher
from ingest.linger import Linger
from ingest.metrics import IngestMetrics
from ingest.spools import Spools
from ingest.store import Store
from ingest.subscriber import Message, Subscriber
from ingest.worker import Worker
from sensors import Batch, WorkError
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag

log = logging.getLogger(__name__)


def client_id(state: Path) -> str:
    """Return the MQTT client id of a state folder: the same at every start, and with it the same session."""
    path = state / "ingest-client-id"
    try:
        return path.read_text("utf-8").strip() or _new_client_id(path)
    except FileNotFoundError:
        return _new_client_id(path)


def _new_client_id(path: Path) -> str:
    name = f"citytwin-ingest-{uuid.uuid4().hex[:12]}"
    fresh = path.with_suffix(".new")
    fresh.write_text(name, "utf-8")
    fresh.replace(path)
    return name


class Intake:
    """The writer of one hub.

    Parameters
    ----------
    mqtt_url, client_id
        Broker and session.
    store
        Where batches go.
    city
        Topics, retention.
    clock
        The city's.
    spool
        Folder of the spools (`ingest.spools`).
    lanes
        Lanes by sensor id, for the quality of flows.
    committed
        Gets each batch after its commit.
    """

    def __init__(
        self,
        mqtt_url: str,
        *,
        client_id: str,
        store: Store,
        city: City,
        clock: CityClock,
        spool: Path,
        lanes: dict[str, int],
        committed: Callable[[Batch], None],
    ) -> None:
        self.metrics = IngestMetrics()
        self.failure: BaseException | None = None
        self._subscriber = Subscriber(mqtt_url, client_id=client_id, filters=[rule.filter for rule in city.topics])
        memory = SeriesMemory(lanes=lanes)
        batcher: Batcher[Message] = Batcher(
            decoder(city.topics),
            clock=clock,
            retention_s=city.retention_s,
            future_s=city.future_s,
            flag=lambda batch: flag(batch, memory),
        )
        self._spools = Spools(spool, client_id, limit_bytes=int(city.spool_bytes))
        self._worker = Worker(
            self._subscriber,
            store,
            batcher,
            committed=committed,
            metrics=self.metrics,
            linger=Linger(city.linger_s, city.quiet_linger_s),
            spools=self._spools,
        )
        self.on_failure: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Begin to take readings in."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what has arrived, acknowledge it and disconnect."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._subscriber.close()
        self._spools.close()

    def health(self) -> dict[str, Any]:
        """Return whether readings can come in."""
        state = self._subscriber.state
        return {
            "ok": self.failure is None and state.connected and self.metrics.database_up,
            "database_up": self.metrics.database_up,
            "connected": state.connected,
            "reconnects": state.reconnects,
            "queued": state.queued,
            "readings": self.metrics.readings,
        }

    def _run(self) -> None:
        try:
            self._worker.run(self._stop)
        except BaseException as error:
            self.failure = error
            if not isinstance(error, WorkError):  # a sentence for a person needs no traceback; a mistake of ours does
                log.exception("ingest stopped")
            self.on_failure()
