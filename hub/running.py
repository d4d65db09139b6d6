"""A hub that runs: state folder, parts, app and web server, started in order and stopped in the reverse order."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from hub import ports
from hub.app import App, Demo
from hub.log import configure_log
from hub.parts import Part, Parts, StateFolder, listen
from hub.server import create_server
from hub.settings import Settings
from hub.street_child import StreetChild
from hub.supervise import Watch
from twin import Network

log = logging.getLogger(__name__)


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


class Running:
    """Everything that one `citytwin demo` or `citytwin serve` runs; leaves nothing behind.

    Parameters
    ----------
    settings
        Of this process.
    network
        Returns the network; called while the database starts.
    demo
        How the street is played, None without one.
    ingest
        Whether readings are taken in by this process.
    """

    def __init__(
        self,
        settings: Settings,
        network: Callable[[], Network],
        *,
        demo: Demo | None = None,
        ingest: bool = True,
        fresh: bool = False,
    ) -> None:
        self._settings = settings
        self._network = network
        self._demo = demo
        self._ingest = ingest
        self._fresh = fresh

    def run(self, *, for_s: float | None = None) -> int:
        """Run until a signal, or for some wall seconds after the start, and return the exit code."""
        configure_log(self._settings.log)
        with contextlib.ExitStack() as stack:
            state = StateFolder(self._settings.state)
            state.hold()
            stack.callback(state.release)
            if self._fresh:
                state.clear()
            sock = listen(self._settings.host, self._settings.port)
            stack.callback(sock.close)
            host, port = sock.getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

            parts = Parts(self._settings)
            stack.callback(parts.stop)
            network = _while_starting(parts, self._network)

            app = App(
                self._settings,
                network,
                database_url=parts.database_url,
                mqtt_url=parts.mqtt_url,
                demo=self._demo,
                ingest=self._ingest,
            )
            stack.callback(app.stop)
            app.start()
            watched: list[Part] = parts.watched()
            street: StreetChild | None = None
            if self._demo is not None:
                street = StreetChild(app, self._demo, mqtt_url=parts.mqtt_url)
                stack.callback(street.stop)
                watched.append(("street", street.alive, street.start))
            watch = Watch(watched)
            stack.callback(watch.stop)
            ports.write(state.path, http=url, mqtt=parts.mqtt_url, postgres=parts.database_url)
            server = create_server(app)
            with _until_signal(server):
                if street is not None:
                    street.start_soon(watch.start)
                else:
                    watch.start()
                if for_s is not None:
                    _stop_after(server, for_s)
                app.on_serving = lambda: say(f"citytwin: {url}")
                server.run(sockets=[sock])
            watch.stop()
            if street is not None:
                street.stop()
            app.stop()
            good = app.report(street.report() if street is not None else None, say=say)
        return 0 if good else 1


def _while_starting(parts: Parts, network: Callable[[], Network]) -> Network:
    """Start the parts and make the network meanwhile."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            parts.start()
        except BaseException as error:  # raised again below, in the thread that can report it
            failures.append(error)

    thread = threading.Thread(target=start, name="parts")
    thread.start()
    try:
        made = network()
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return made


@contextlib.contextmanager
def _until_signal(server: uvicorn.Server):  # type: ignore[no-untyped-def]
    """Let SIGTERM and SIGINT stop the server once, quietly, also before it serves."""

    def stop(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _stop_after(server: uvicorn.Server, seconds: float) -> None:
    def stop() -> None:
        server.should_exit = True

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
