"""Subscriptions and the groups that share one (``$share/group/filter``)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.broker.session import Session


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client asked for with one filter.

    Parameters
    ----------
    qos
        The highest it takes.
    no_local
        Without what it published itself.
    retain_as_published
        With the retain flag of the publisher.
    retain_handling
        Retained messages: 0 always, 1 for a new subscription, 2 never.
    identifier
        Comes with every message it matches; 0: none.
    """

    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0

    @classmethod
    def of(cls, options: int, identifier: int = 0) -> "Subscription":
        """Return the subscription that the option byte of SUBSCRIBE asks for."""
        return cls(options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3, identifier)


class SharedGroup:
    """Clients that share one subscription: each message goes to one of them, in turn.

    Connected members come first. Is none connected, a persistent session keeps the message until one of the group is.
    A *durable* member is one whose acknowledgement counts on durable topics.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.members: dict[Session, Subscription] = {}
        self._here: list[Session] = []
        self._durable_here: list[Session] = []
        self._away: list[Session] = []
        self._durable_away: list[Session] = []
        self._turn = 0

    @property
    def durable(self) -> bool:
        """Whether its acknowledgement counts on durable topics."""
        return bool(self._durable_here or self._durable_away)

    @property
    def passed_over(self) -> bool:
        """Whether each of its durable members has been away for too long."""
        return not self._durable_here and all(member.passed_over for member in self._durable_away)

    @property
    def away(self) -> list["Session"]:
        """Members whose client is not connected."""
        return self._away

    def refresh(self, is_durable: Callable[["Session"], bool]) -> None:
        """Look anew at who is connected."""
        members = self.members
        durable = [s for s, subscription in members.items() if subscription.qos and is_durable(s)]
        self._here = [s for s in members if s.outlet is not None]
        self._durable_here = [s for s in durable if s.outlet is not None]
        self._away = [s for s in members if s.outlet is None]
        self._durable_away = [s for s in durable if s.outlet is None]

    def reachable(self, *, durable: bool) -> bool:
        """Return whether a (durable) member is connected."""
        return bool(self._durable_here if durable else self._here)

    def pick(self, *, durable: bool) -> "Session | None":
        """Return whose turn it is: the next connected member that can take a message now, else the next one."""
        here = self._durable_here if durable else self._here
        if not here:
            away = self._durable_away if durable else self._away
            return away[0] if away else None
        self._turn += 1
        size = len(here)
        for k in range(size):
            session = here[(self._turn + k) % size]
            if session.ready():
                self._turn += k
                return session
        return here[self._turn % size]
