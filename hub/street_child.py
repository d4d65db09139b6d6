"""The street as a child process of the hub: started, listened to, and asked for its last words."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from hub.app import App, Demo
from hub.supervise import Child
from sensors import InputError, WorkError


class StreetChild:
    """The process that plays the street of a demo.

    Parameters
    ----------
    app
        Gets the truth.
    demo
        Speed, seed and hour.
    mqtt_url
        Where its sensors publish.
    """

    def __init__(self, app: App, demo: Demo, *, mqtt_url: str) -> None:
        if app.network.folder is None:
            raise InputError("the network of a demo must lie in a folder, write it first")
        self._app = app
        self._sums = {"published": 0, "acknowledged": 0, "incidents": 0, "faults": 0}
        self._run: dict[str, int] = {}
        self._stopping = False
        clock = app.clock
        arguments = {
            "--network": str(app.network.folder), "--mqtt": mqtt_url, "--seed": demo.seed, "--hour": demo.hour,
            "--city-start": repr(clock.city_start), "--wall-start": repr(clock.wall_start), "--speed": clock.factor,
        }  # fmt: skip
        words = [str(word) for pair in arguments.items() for word in pair]
        # Its kernels are compiled at the very first start of a machine.
        self._child = Child("street", "hub.street", words, on_line=self._take, start_timeout_s=300.0)
        self._starting: threading.Thread | None = None

    def alive(self) -> bool:
        """Tell whether it runs, or is starting, or shall not run any more."""
        starting = self._starting is not None and self._starting.is_alive()
        return self._stopping or starting or self._child.alive()

    def begin(self, then: Callable[[], None]) -> None:
        """Start it in the background, the cockpit shows the city meanwhile, and call ``then`` when it moves."""

        def start() -> None:
            try:
                self.start()
            except WorkError as error:
                self._app.fail(error)
            else:
                self._app.wake()
                then()

        self._starting = threading.Thread(target=start, name="street-start", daemon=True)
        self._starting.start()

    def start(self) -> None:
        """Start it, again after it died: what the dead one counted is kept."""
        for name, count in self._run.items():
            self._sums[name] += count
        self._run = {}
        self._child.start()

    def stop(self) -> None:
        """Let it publish what it has, wait for the acknowledgements, and end it."""
        self._stopping = True
        self._child.stop(timeout_s=20.0)

    def finish(self) -> Mapping[str, Any]:
        """Stop it and return its last words."""
        self.stop()
        return {name: count + self._run.get(name, 0) for name, count in self._sums.items()}

    def _take(self, line: Mapping[str, Any]) -> None:
        if "count" in line:
            self._run = dict(line["count"])
        else:
            self._app.truth.put(line)
