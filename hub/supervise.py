"""Child processes of the hub: started with a pipe that ends them when the hub dies, restarted when they die."""

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensors import WorkError

log = logging.getLogger(__name__)


class Child:
    """A process of ours that says ``{"ready": ...}``-like JSON on its first line and ends when its stdin closes.

    Parameters
    ----------
    name
        For messages.
    module, arguments
        Run as ``python -m module arguments``.
    on_line
        Gets every further line of JSON that the child prints.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[Mapping[str, Any]], None] | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self.name = name
        self._words = [sys.executable, "-m", module, *arguments]
        self._on_line = on_line
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._complaint: threading.Thread | None = None
        self._words_of_error: list[str] = []
        self.ready: Mapping[str, Any] = {}
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Process id, None before the first start."""
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def with_arguments(self, arguments: Sequence[str]) -> "Child":
        """Use other arguments from the next start on and return the child."""
        self._words = [*self._words[:3], *arguments]
        return self

    def start(self) -> Mapping[str, Any]:
        """Start the process and return what it said when it was ready.

        Raises
        ------
        WorkError
            When it ends or says nothing in time, with its own last words.
        """
        self.launch()
        return self.wait_ready()

    def launch(self) -> None:
        """Start the process and return at once."""
        self._close_stdin()  # of one that died by itself
        process = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C at the terminal is for the hub, which then stops its children in order
        )
        self._process = process
        self._reader = None
        self.starts += 1
        self._words_of_error = []
        self._complaint = threading.Thread(target=self._read_errors, args=(process, self._words_of_error), daemon=True)
        self._complaint.start()

    def say(self, **line: Any) -> None:
        """Write a line of JSON to the process; what it does not read any more it does not need."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()

    def wait_ready(self) -> Mapping[str, Any]:
        """Return what a launched process says when it is ready.

        Raises
        ------
        WorkError
            When it ends or says nothing in time, with its own last words.
        """
        process, words = self._process, self._words_of_error
        assert process is not None
        assert process.stdout is not None
        timer = threading.Timer(self._start_timeout_s, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        ready = _json_object(line)
        if ready is None:
            process.kill()
            process.wait()
            if self._complaint is not None:
                self._complaint.join(5.0)
            self._close_stdin()
            process.stdout.close()
            said = words[-1] if words else line.strip() or "no reason given"
            raise WorkError(f"the {self.name} did not start: {said}")
        self.ready = ready
        self._reader = threading.Thread(
            target=self._read_lines, args=(process,), name=f"{self.name}-lines", daemon=True
        )
        self._reader.start()
        return self.ready

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End the process: close its stdin, then terminate it, then kill it; wait until its last line is read."""
        process = self._process
        if process is None:
            return
        self._close_stdin()
        for end in (None, process.terminate, process.kill):
            if end is not None:
                end()
            try:
                process.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._reader is not None:
            self._reader.join(timeout_s)
        elif process.stdout is not None:  # it was ended before anybody waited for it
            process.stdout.close()

    def _close_stdin(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it was dead already

    def _read_lines(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = _json_object(line)
                if self._on_line is not None and said is not None:
                    self._on_line(said)

    def _read_errors(self, process: "subprocess.Popen[str]", words: list[str]) -> None:
        assert process.stderr is not None
        prefix = f"{self.name}: "  # some say themselves who they are
        with process.stderr:
            for line in process.stderr:
                if line.strip():
                    said = line.rstrip().removeprefix(prefix)
                    words.append(said.strip())
                    del words[:-20]
                    # Before it is ready, its last words are the reason that whoever waits for it gives.
                    if self._reader is not None:
                        log.warning("%s: %s", self.name, said)


def _json_object(line: str) -> Mapping[str, Any] | None:
    """Return the JSON object of a line, None when it is none: half a line of a child that died, or a remark."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


class Watch:
    """Restarts what died: asks every part each second whether it lives, and waits longer after every failed start.

    Parameters
    ----------
    parts
        (name, alive, start) of each part.
    """

    def __init__(
        self,
        parts: Sequence[tuple[str, Callable[[], bool], Callable[[], object]]],
        *,
        every_s: float = 0.5,
        longest_wait_s: float = 10.0,
    ) -> None:
        self._parts = parts
        self._every_s = every_s
        self._longest_wait_s = longest_wait_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; returns when no restart is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait = {name: (0.0, 0.0) for name, _, _ in self._parts}  # next try (monotonic), pause after it
        while not self._stop.wait(self._every_s):
            for name, alive, start in self._parts:
                due, pause = wait[name]
                if alive():
                    wait[name] = (0.0, 0.0)
                elif time.monotonic() >= due:
                    log.warning("the %s died, it is started again", name)
                    pause = min(self._longest_wait_s, max(0.5, 2 * pause))
                    try:
                        start()
                        self.restarts += 1
                    except WorkError as error:
                        log.error("%s", error)
                    wait[name] = (time.monotonic() + pause, pause)
