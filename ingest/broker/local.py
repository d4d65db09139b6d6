"""A durable subscriber in the broker's own process: publications go to a writer's thread without a second connection.

The broker's loop gathers what one read brought and hands it over as one list; the writer's thread takes lists and gives
back what is safe; the acknowledgements are made in the loop again, all of a batch in one call.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingest.broker.message import Delivery, Message, Wording
from ingest.broker.reasons import Reason
from ingest.broker.session import Session
from ingest.broker.shared import Subscription

if TYPE_CHECKING:
    from ingest.broker.server import Broker


class LocalSubscriber(Session):
    """Takes every publication of some filters, in memory; its acknowledgement is that of any durable subscriber.

    Nothing is dropped. What is owed to a publisher is bounded by what publishers may have unacknowledged; of QoS 0 the
    broker reads no more once `Limits.max_queued_bytes` are half full.

    Parameters
    ----------
    broker
        Runs in the loop that is running now; call this and every method but `payloads` and `acknowledge` there.
    client_id
        Must be one that `Settings.durable_clients` counts as durable. No client of the network can take it over.
    filters
        Topic filters, at QoS 2: every publication comes as it was published.

    Examples
    --------
    >>> from ingest.broker.server import Broker
    >>> async def names() -> list[str]:
    ...     broker = Broker()
    ...     local = LocalSubscriber(broker, client_id="citytwin-ingest-1", filters=["city/#"])
    ...     broker.publish("city/a/d1", b"1")
    ...     broker.flush()
    ...     return [message.topic for message in local.payloads(0.0)]
    >>> asyncio.run(names())
    ['city/a/d1']
    """

    # What a session needs of its outlet; there is nothing to write to.
    blocked = False
    wording: Wording | None = None
    receive_maximum = 65_535

    def __init__(self, broker: "Broker", *, client_id: str, filters: Sequence[str]) -> None:
        super().__init__(
            client_id,
            expiry_s=float("inf"),
            limits=broker.settings.limits,
            counters=broker.counters,
            clock=broker.now,
        )
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Message] = []
        self._arrived: deque[list[Message]] = deque()
        self._changed = threading.Condition()
        self.handed_over = 0  # publications so far
        self.outlet = self
        for text in filters:
            refused, _ = broker.router.subscribe(self, text, Subscription(2))
            assert refused is None, f"{text}: {refused}"  # filters of the settings were checked before
        broker.router.release_held()

    # the broker's loop calls these

    def deliver(self, delivery: Delivery) -> None:
        """Gather a publication for the writer."""
        gathered = self._gathered
        if not gathered:
            self._broker.dirty.add(self)
        message = delivery.message
        gathered.append(message)
        self.queued_bytes += message.size

    def write_out(self) -> None:
        """Hand over what has gathered."""
        gathered, self._gathered = self._gathered, []
        self.handed_over += len(gathered)
        with self._changed:
            self._arrived.append(gathered)
            self._changed.notify()

    def send(self, data: bytes) -> None:
        """Nothing is sent to a local subscriber."""

    def cut_off(self, reason: str, code: Reason = Reason.QUOTA_EXCEEDED) -> None:
        """Never: it has no connection."""

    def pump(self) -> None:
        """Nothing is queued here: `deliver` takes everything."""

    # the writer's thread calls these

    def payloads(self, timeout_s: float, *, max_messages: int = 10_000) -> list[Message]:
        """Return what has come, oldest first; waits up to ``timeout_s`` for the first message."""
        arrived = self._arrived
        with self._changed:
            if not arrived and timeout_s > 0:
                self._changed.wait_for(lambda: arrived, timeout=timeout_s)
            messages: list[Message] = []
            while arrived and len(messages) < max_messages:
                messages += arrived.popleft()
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Have the publishers told that these are safe."""
        self._loop.call_soon_threadsafe(self._confirm, messages)

    @property
    def waiting(self) -> int:
        """Publications that the writer has not taken yet."""
        with self._changed:
            return sum(map(len, self._arrived))

    def _confirm(self, messages: Sequence[Message]) -> None:
        broker = self._broker
        confirm = broker.ledger.confirm
        self.queued_bytes -= sum(message.size for message in messages)
        for message in messages:
            if not message.settled:  # what nobody is waited for was settled when it came
                confirm(message)
        broker.flush()
