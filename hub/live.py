"""Fan-out to the browsers: every client has a bounded queue, and a slow one loses frames, never alerts."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

Message = bytes | str
HEARTBEAT_S = 1.0  # the cockpit counts a connection as lost after 2.5 s of silence


class Client:
    """One browser: the newest frame, which replaces an unsent one, and messages that all arrive in order."""

    def __init__(self, *, max_messages: int = 1000) -> None:
        self._frame: bytes | None = None
        self._full: bool = False
        self._messages: deque[str] = deque()
        self._max_messages = max_messages
        self._wake = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """End `messages`."""
        self.closed = True
        self._wake.set()

    def put_frame(self, delta: bytes, full: bytes) -> None:
        """Offer a frame; a client that has not sent the last one gets the full one instead of two deltas."""
        self._frame = full if self._frame is not None else delta
        self._wake.set()

    def put_message(self, text: str) -> None:
        """Queue a message; a client that lets too many pile up is closed and connects again."""
        if len(self._messages) >= self._max_messages:
            self.closed = True
        else:
            self._messages.append(text)
        self._wake.set()

    async def messages(self, *, idle: Message, idle_s: float = HEARTBEAT_S) -> AsyncIterator[Message]:
        """Yield what is to be sent, until the client is closed; ``idle`` after every ``idle_s`` in which nothing was.

        A city can stand still, at the end of a replay or under a long computation, while the hub is there: a browser
        must tell that from a lost connection.
        """
        while not self.closed:
            try:
                await asyncio.wait_for(self._wake.wait(), idle_s)
            except TimeoutError:
                yield idle
                continue
            self._wake.clear()
            while self._messages:
                yield self._messages.popleft()
            if self._frame is not None:
                frame, self._frame = self._frame, None
                yield frame


class Fan:
    """All connected browsers; `frame` and `message` may be called from any thread."""

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell the event loop that serves the browsers."""
        self._loop = loop

    def join(self) -> Client:
        """Return a new client; call in the event loop."""
        client = Client()
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        client.close()
        self._clients.discard(client)

    @property
    def n_clients(self) -> int:
        """Number of connected browsers."""
        return len(self._clients)

    def frame(self, delta: bytes, full: bytes) -> None:
        """Send a frame to every browser."""

        def send() -> None:
            for client in self._clients:
                client.put_frame(delta, full)

        self._call(send)

    def message(self, kind: str, **content: Any) -> None:
        """Send a JSON message to every browser."""
        text = json.dumps({"type": kind, **content}, ensure_ascii=False)

        def send() -> None:
            for client in self._clients:
                client.put_message(text)

        self._call(send)

    def _call(self, action: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(action)
        except RuntimeError:  # the loop closed between the check and the call: nobody is left to tell
            return
