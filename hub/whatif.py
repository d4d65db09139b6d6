"""What-if runs asked for by the cockpit: each runs in a process of its own, so that the live loop is never delayed."""

import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sensors import InputError

BASIS = {"en": "typical day, one run, no interval", "zh": "典型日，单次运行，无区间"}


@dataclass(slots=True)
class Run:
    """One what-if: what was asked, how far it is and what came out."""

    run_id: str
    name: str
    question: Mapping[str, Any]
    state: str = "running"
    progress: float = 0.0
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the run as the API shows it."""
        head = {
            "run_id": self.run_id,
            "name": self.name,
            "state": self.state,
            "progress": self.progress,
            "basis": BASIS,
        }
        return {**head, "question": self.question, **({"error": self.error} if self.error else {}), **self.result}


def _answer(
    folder: str, question: Mapping[str, Any], start_s: float, horizon_s: float, seed: int, standing: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the day without and with the scenario and return both with the difference; lives in the worker process."""
    from simulation.whatif import difference  # the engine's kernels are loaded in this process only

    return difference(Path(folder), question, start_s=start_s, horizon_s=horizon_s, seed=seed, standing=standing)


class Runs:
    """Starts what-if runs and keeps the newest of them.

    Parameters
    ----------
    folder
        Network folder that is simulated.
    keep
        How many runs are kept.
    """

    def __init__(self, folder: Path | None, *, keep: int = 50, most_at_once: int = 4) -> None:
        self._folder = folder
        self._keep = keep
        self._most_at_once = most_at_once
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def start(
        self,
        question: Mapping[str, Any],
        *,
        name: str,
        start_s: float,
        horizon_s: float,
        seed: int = 1,
        standing: Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run and return it at once; ``standing`` is a scenario that holds with and without the question.

        Raises
        ------
        InputError
            When too many runs are under way, or the hub stops.
        """
        if self._folder is None:
            raise InputError("the network lies in no folder, so that nothing can be simulated on it")
        run = Run(run_id=uuid.uuid4().hex[:12], name=name, question=question)
        with self._lock:
            if sum(kept.state == "running" for kept in self._runs.values()) >= self._most_at_once:
                raise InputError(f"{self._most_at_once} runs are under way, wait until one of them is done")
            # Submitted first: what could not be started is no run that is under way for ever.
            future = self._submit(question, start_s, horizon_s, seed, standing or {})
            self._runs[run.run_id] = run
            while len(self._runs) > self._keep:
                self._runs.popitem(last=False)
        future.add_done_callback(lambda done: self._finish(run, done))
        return run

    def get(self, run_id: str) -> Run | None:
        """Return a run, None when it is not known any more."""
        return self._runs.get(run_id)

    def all(self) -> list[Run]:
        """Return the kept runs, newest first."""
        with self._lock:
            return list(reversed(self._runs.values()))

    def close(self) -> None:
        """End the worker process; a run under way is given up."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((getattr(pool, "_processes", None) or {}).values()):  # None once it was shut down
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(
        self,
        question: Mapping[str, Any],
        start_s: float,
        horizon_s: float,
        seed: int,
        standing: Mapping[str, Any],
    ) -> "Future[dict[str, Any]]":
        if self._closed:
            raise InputError("the hub stops, ask again when it runs")
        for _ in range(2):
            if self._pool is None:
                # A fresh interpreter: a fork of a process with threads may hold their locks for ever.
                self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_be_polite)
            try:
                return self._pool.submit(_answer, str(self._folder), question, start_s, horizon_s, seed, standing)
            except BrokenProcessPool:  # the worker was killed: the next one is a new one
                self._pool = None
        raise InputError("the worker of what-if runs does not start, see the log")

    def _finish(self, run: Run, done: "Future[dict[str, Any]]") -> None:
        error = None if done.cancelled() else done.exception()
        if done.cancelled():
            run.error = "the run was given up because the hub stopped"
        elif isinstance(error, InputError):
            run.error = "; ".join(error.faults)
        elif isinstance(error, BrokenProcessPool):
            run.error = "the worker process died, run it again"
        elif error is not None:
            run.error = f"{type(error).__name__}: {error}"
        else:
            run.result = done.result()
        run.progress = 1.0
        run.state = "failed" if run.error else "done"


def _be_polite() -> None:
    """Let the live loop go first."""
    os.nice(10)
