"""The retained messages: one for each topic, until an empty one clears it or it expires."""

from collections.abc import Iterator

from ingest.broker.message import Message
from ingest.broker.settings import Limits
from ingest.broker.topics import TopicTree


class Retained:
    """What new subscribers are told first.

    Parameters
    ----------
    limits
        How much is kept; over it, messages of new topics are not.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tree: TopicTree[str, Message] = TopicTree()
        self._by_topic: dict[str, Message] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_topic)

    def keep(self, message: Message) -> None:
        """Keep a message in place of an earlier one of its topic; an empty payload clears it (MQTT-3.3.1-10)."""
        self._drop(message.topic)
        if not message.payload:
            return
        limits = self._limits
        if len(self) < limits.max_retained_messages and self._bytes < limits.max_retained_bytes:
            self._tree.put(message.topic, "", message)
            self._by_topic[message.topic] = message
            self._bytes += message.size

    def _drop(self, topic: str) -> None:
        before = self._by_topic.pop(topic, None)
        if before is not None:
            self._tree.drop(topic, "")
            self._bytes -= before.size

    def matching(self, text: str, now: float) -> Iterator[Message]:
        """Yield what is kept for a filter and not too old."""
        for _, message in list(self._tree.topics_matching(text)):
            if message.expired(now):
                self._drop(message.topic)
            else:
                yield message

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        for topic in [topic for topic, message in self._by_topic.items() if message.expired(now)]:
            self._drop(topic)
