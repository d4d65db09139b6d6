"""The direct path: a broker in this process, whose publications reach the writer without a second connection.

The broker has a thread and an event loop of its own; the writer is the caller's. A PUBACK means *committed*, as with
the broker in a process of its own, and there is no session to come back to: what a process that died had not
acknowledged, its publishers still have.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Sequence

from ingest.broker.local import LocalSubscriber
from ingest.broker.message import Message
from ingest.broker.options import Options
from ingest.broker.server import Broker
from ingest.broker.settings import Settings
from ingest.subscriber import SubscriberState
from sensors import WorkError

# Python's 5 ms let the writer keep the broker from its sockets longer than a commit takes.
SWITCH_INTERVAL_S = 0.0005
START_S = 30.0


class DirectBroker:
    """A broker with the writer of its process as the durable subscriber; a `Source` of `ingest.worker.Worker`.

    Parameters
    ----------
    options
        Ports, certificates, users, limits.
    filters
        What the writer takes; these topics are durable.
    client_id
        The writer's name; only it and clients whose identifier begins like it are durable subscribers.
    next_free
        When the port of MQTT is taken, the next free one.

    Raises
    ------
    InputError
        When an option is wrong.
    WorkError
        When a port cannot be opened.

    Examples
    --------
    >>> with DirectBroker(Options(listen="127.0.0.1:0"), filters=["city/#"], client_id="citytwin-ingest-1") as direct:
    ...     sorted(direct.urls), direct.payloads(0.0)
    (['mqtt'], [])
    """

    def __init__(self, options: Options, *, filters: Sequence[str], client_id: str, next_free: bool = False) -> None:
        self._options = options
        self._settings = Settings(durable=tuple(filters), durable_clients=(client_id,), limits=options.limits)
        self._client_id = client_id
        self._next_free = next_free
        self._users, self._tls = options.users(), options.tls()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broker: Broker | None = None
        self._local: LocalSubscriber | None = None
        self.urls: dict[str, str] = {}
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_S):
            raise WorkError(f"the broker has opened no port within {START_S:g} s")
        self._raise_failure()

    def __enter__(self) -> "DirectBroker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> SubscriberState:
        """What a health page shows, in the words of a subscriber."""
        local = self._local
        assert local is not None
        alive = self._thread.is_alive()
        return SubscriberState(
            connected=alive,
            reconnects=0,
            received=local.handed_over,
            queued=local.waiting,
            queued_bytes=local.queued_bytes,
            error="" if alive else f"the broker stopped: {self._failure}",
        )

    def payloads(self, timeout_s: float) -> list[Message]:
        """Return what has come, oldest first; waits up to ``timeout_s`` for the first message.

        Raises
        ------
        WorkError
            When the broker's thread has ended by a fault: nothing more would come.
        """
        assert self._local is not None
        messages = self._local.payloads(timeout_s)
        if not messages and self._failure is not None:
            raise WorkError(f"the broker stopped: {self._failure}") from self._failure
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Have the publishers told that these are safe."""
        assert self._local is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._local.acknowledge(messages)

    def drain(self) -> None:
        """Take no further publications; what has come can still be acknowledged."""
        if self._loop is not None and self._broker is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._broker.drain)

    def close(self) -> None:
        """Close every connection; what was not acknowledged its publishers still have."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # raised again in the thread that can report it
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        broker = Broker(self._settings, access=self._users)
        self._broker = broker
        try:
            # Before the first port opens: no publication may find its topics without their durable subscriber.
            self._local = LocalSubscriber(broker, client_id=self._client_id, filters=self._settings.durable)
            self.urls = await self._options.open_ports(broker, self._tls, next_free=self._next_free)
            self._ready.set()
            await self._stop.wait()
        finally:
            await broker.close()
