"""The street as a child process of the hub: started, listened to, and asked for its last words."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.demo import Demo
from hub.supervise import Child
from sensors import InputError, WorkError

if TYPE_CHECKING:  # the street is launched before the hub loads what the app needs
    from hub.app import App


class StreetChild:
    """The process that plays the street of a demo.

    Loading its libraries and warming its traffic up takes seconds, so it is launched before anything else and told what
    to play as soon as that is known: `launch`, `show`, `begin`. After a death `start` does all three.

    Parameters
    ----------
    demo
        Speed, seed and hour.
    """

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self._network = ""
        self._mqtt_url = ""
        self._app: App | None = None
        self._sums = {"published": 0, "acknowledged": 0, "incidents": 0, "faults": 0}
        self._run: dict[str, int] = {}
        self._stopping = False
        # Its kernels are compiled at the very first start of a machine.
        self._child = Child("street", "hub.street", (), on_line=self._take, start_timeout_s=300.0)
        self._starting: threading.Thread | None = None

    def launch(self) -> None:
        """Start the process; it loads its libraries and waits for the network."""
        self._child.launch()

    def show(self, folder: Path | None) -> None:
        """Tell it the network, so that it warms its traffic up.

        Raises
        ------
        InputError
            When the network lies in no folder.
        """
        if folder is None:
            raise InputError("the network of a demo must lie in a folder, write it first")
        self._network = str(folder)
        self._warm_up(elapsed_s=0.0)

    def begin(self, app: "App", *, mqtt_url: str, then: Callable[[], None]) -> None:
        """Let it play in the background, the cockpit shows the city meanwhile, and call ``then`` when it moves.

        Parameters
        ----------
        app
            Gets the truth, and says what time it is.
        mqtt_url
            Where its sensors publish.
        """
        self._app, self._mqtt_url = app, mqtt_url

        def wait() -> None:
            try:
                self._play()
            except WorkError as error:
                app.fail(error)
            else:
                app.wake()
                then()

        self._starting = threading.Thread(target=wait, name="street-start", daemon=True)
        self._starting.start()

    def alive(self) -> bool:
        """Tell whether it runs, or is starting, or shall not run any more."""
        starting = self._starting is not None and self._starting.is_alive()
        return self._stopping or starting or self._child.alive()

    def start(self) -> None:
        """Start it again after it died: what the dead one counted is kept, the time of its day goes on."""
        assert self._app is not None
        for name, count in self._run.items():
            self._sums[name] += count
        self._run = {}
        self.launch()
        self._warm_up(elapsed_s=self._app.clock.now() - self._app.clock.city_start)
        self._play()

    def stop(self) -> None:
        """Let it publish what it has, wait for the acknowledgements, and end it."""
        self._stopping = True
        playing = self._app is not None
        self._child.stop(timeout_s=20.0 if playing else 0.1)

    def finish(self) -> Mapping[str, Any]:
        """Stop it and return its last words."""
        self.stop()
        return {name: count + self._run.get(name, 0) for name, count in self._sums.items()}

    def _warm_up(self, *, elapsed_s: float) -> None:
        demo = self.demo
        self._child.say(
            network=self._network, seed=demo.seed, hour=demo.hour, speed=demo.speed, elapsed_s=max(0.0, elapsed_s)
        )

    def _play(self) -> None:
        assert self._app is not None
        clock = self._app.clock
        self._child.say(mqtt=self._mqtt_url, city_start=clock.city_start, wall_start=clock.wall_start)
        self._child.wait_ready()

    def _take(self, line: Mapping[str, Any]) -> None:
        if "count" in line:
            self._run = dict(line["count"])
        elif self._app is not None:
            self._app.truth.put(line)
