"""The ledger of acknowledge-through: which publication waits for whom, and which may be acknowledged.

A publication on a durable topic is *held* while no durable subscriber of it exists; it *waits* for every durable
subscriber that it was given to; it is *settled* when all of them have acknowledged. Only then does the publisher get
its PUBACK, so the publisher itself is the storage and nothing that dies in between loses an acknowledged publication.
"""

from ingest.broker.message import Message, Publisher
from ingest.broker.session import Session


class Ledger:
    """What is not acknowledged yet, over all publishers."""

    def __init__(self) -> None:
        self.held: dict[Message, None] = {}  # a dict, for order and for removal in one step
        self.unacknowledged_bytes = 0
        self.ready: set[Publisher] = set()

    def expect(self, message: Message, publisher: Publisher) -> None:
        """Note that a publisher waits for the acknowledgement of a message."""
        message.publisher = publisher
        publisher.receipts.append(message)
        publisher.unacknowledged_bytes += message.size
        self.unacknowledged_bytes += message.size

    def settle(self, message: Message) -> None:
        """Allow the acknowledgement."""
        message.settled = True
        publisher = message.publisher
        if publisher is not None and publisher.receipts[0] is message:
            self.ready.add(publisher)

    def take_settled(self, publisher: Publisher) -> list[Message]:
        """Return what may be acknowledged to a publisher now: in the order of its publications (MQTT-4.6.0-2)."""
        receipts = publisher.receipts
        settled = []
        while receipts and receipts[0].settled:
            settled.append(receipts.popleft())
        size = sum(message.size for message in settled)
        publisher.unacknowledged_bytes -= size
        self.unacknowledged_bytes -= size
        return settled

    def hold(self, message: Message) -> None:
        """Keep a message until a durable subscriber comes, if somebody waits for its acknowledgement."""
        if message.publisher is not None:
            self.held[message] = None

    def confirm(self, message: Message) -> None:
        """Note that one durable subscriber has acknowledged."""
        message.confirmed = True
        message.waiting -= 1
        if message.waiting == 0:
            self.settle(message)

    def refuse(self, message: Message, reason: int) -> None:
        """Note that a durable subscriber will never acknowledge: the publisher is told, unless another one has it."""
        message.waiting -= 1
        if message.waiting == 0:
            if not message.confirmed:
                message.reason = reason
            self.settle(message)

    def pass_over(self, session: Session) -> None:
        """Stop waiting for a session that stays away, where another durable subscriber vouches for the message."""
        for delivery in session.owed():
            message = delivery.message
            if message.waiting > 1 or message.confirmed:
                delivery.owed = False
                message.waiting -= 1
                if message.waiting == 0:
                    self.settle(message)

    def forget(self, session: Session) -> None:
        """Note that a session is gone for good; what waited for it alone is held, before what is held already."""
        orphaned: list[Message] = []
        for delivery in session.owed():
            message = delivery.message
            delivery.owed = False
            message.waiting -= 1
            if message.waiting:
                continue
            if message.confirmed:
                self.settle(message)
            elif message.publisher is not None:
                orphaned.append(message)
        if orphaned:
            self.held = dict.fromkeys(orphaned) | self.held

    def abandon(self, publisher: Publisher) -> None:
        """Note that a publisher's connection ended: it got no acknowledgement, so it still has the messages."""
        for message in publisher.receipts:
            message.publisher = None
            self.held.pop(message, None)
        publisher.receipts.clear()
        self.unacknowledged_bytes -= publisher.unacknowledged_bytes
        publisher.unacknowledged_bytes = 0
        self.ready.discard(publisher)
