"""A hub that runs: state folder, parts, app and web server, started in order and stopped in the reverse order."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from hub import ports
from hub.assemble import assemble
from hub.halt import Halt
from hub.log import configure_log
from hub.parts import Part, Parts, StateFolder, listen
from hub.report import Report, report
from hub.rules import load
from hub.server import create_server
from hub.settings import Settings
from hub.street_child import StreetChild
from hub.supervise import Watch
from sensors import WorkError
from twin import Network

log = logging.getLogger(__name__)


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


def run(
    settings: Settings,
    network: Callable[[], Network],
    *,
    halt: Halt,
    street: StreetChild | None = None,
    ingest: bool = True,
    fresh: bool = False,
    for_s: float | None = None,
) -> int:
    """Run a hub until a signal, or for some wall seconds, and return the exit code; leaves no process behind.

    Parameters
    ----------
    settings
        Of this process.
    network
        Returns the network; called while the database starts.
    halt
        Listens for signals.
    street
        The street of a demo, launched already; it is stopped by this function. None without one.
    ingest
        Whether readings are taken in by this process.
    fresh
        Forget what earlier runs stored in the state folder.
    for_s
        Wall seconds after which to stop by itself.

    Raises
    ------
    InputError, WorkError
        When something cannot start, one sentence on what to do; what was started before is stopped again.
    KeyboardInterrupt
        When a signal came before it served.
    """
    configure_log(settings.log)
    rules = load(settings.config / "rules.toml")
    halt.check()
    with contextlib.ExitStack() as stack:
        state = StateFolder(settings.state)
        state.hold()
        stack.callback(state.release)
        if fresh:
            state.clear()
        sock = stack.enter_context(listen(settings.host, settings.port))
        parts = Parts(settings)
        stack.callback(parts.stop)
        made = _while_starting(parts, network, then=None if street is None else street.show)
        halt.check()
        app = assemble(
            settings,
            made,
            rules,
            database_url=parts.database_url,
            mqtt_url=parts.mqtt_url,
            demo=None if street is None else street.demo,
            ingest=ingest,
        )
        stack.callback(app.close)
        watched: list[Part] = parts.watched()
        if street is not None:
            stack.callback(street.stop)
            watched.append(("street", street.alive, street.start))
        watch = Watch(watched)
        stack.callback(watch.stop)
        url = _url(sock.getsockname())
        ports.write(state.path, http=url, mqtt=parts.mqtt_url, postgres=parts.database_url)
        halt.check()
        server = create_server(app)
        app.on_failure = lambda: _stop(server)
        app.on_serving = lambda: _greet(url, street, app.network.notes)
        with _stopped_after(server, for_s) as count_down:
            halt.then(lambda: _stop(server))
            app.start()
            if street is not None:
                street.begin(app, mqtt_url=parts.mqtt_url, then=count_down)
            else:
                count_down()
            watch.start()
            server.run(sockets=[sock])
        watch.stop()
        told = street.finish() if street is not None else None
        app.finish()
        failure = app.failure or (app.intake.failure if app.intake is not None else None)
        if failure is not None:
            raise failure if isinstance(failure, WorkError) else WorkError(f"a part stopped: {failure}")
        outcome: Report = report(app, told)
        for line in outcome.lines:
            say(line)
    return 0 if outcome.good else 1


def _greet(url: str, street: StreetChild | None, notes: Sequence[str]) -> None:
    """Say where the cockpit is and, in a demo, what is played and what of it is assumed."""
    say(f"citytwin: {url}")
    if street is not None:
        pace = f"{street.demo.speed:g} times real time"
        say(f"A simulated street at {pace}. Ctrl-C stops it; the next start goes on from what was stored.")
        for note in notes:
            say(f"  {note}")


def _url(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _while_starting(
    parts: Parts, network: Callable[[], Network], *, then: Callable[[Path | None], None] | None
) -> Network:
    """Start the parts and make the network meanwhile, and hand its folder on; a fault of either is raised here."""
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
        if then is not None:
            then(made.folder)
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return made


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


@contextlib.contextmanager
def _stopped_after(server: uvicorn.Server, seconds: float | None) -> Iterator[Callable[[], None]]:
    """Give a function that begins to count the seconds after which the server stops."""
    timer = threading.Timer(seconds if seconds is not None else 0.0, _stop, [server])
    timer.daemon = True
    try:
        yield timer.start if seconds is not None else lambda: None
    finally:
        timer.cancel()
