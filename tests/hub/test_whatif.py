"""The keeper of what-if runs: bounded, and gone when the hub goes."""

from pathlib import Path
from typing import Any

import pytest

from hub.whatif import Runs
from sensors import InputError

CLOSE = {"close": [{"links": ["no such link"]}]}


def start(runs: Runs) -> Any:
    return runs.start(CLOSE, name="", start_s=0.0, horizon_s=60.0)


def test_closing_ends_the_worker_and_the_run_under_way(town_folder: Path, until: Any, workers: Any) -> None:
    before = {process.pid for process in workers()}
    runs = Runs(town_folder)
    run = start(runs)
    (worker,) = until(lambda: [w for w in workers() if w.pid not in before], "a worker")
    runs.close()
    until(lambda: not worker.is_running(), "the end of the worker")
    until(lambda: run.state == "failed", "the end of the run")
    assert run.error
    runs.close()  # a second time does no harm


def test_closing_without_a_run_does_nothing(town_folder: Path) -> None:
    Runs(town_folder).close()


def test_a_run_after_closing_is_refused_in_a_sentence_and_not_kept_as_running(town_folder: Path, until: Any) -> None:
    runs = Runs(town_folder)
    first = start(runs)
    runs.close()
    with pytest.raises(InputError, match="stops"):
        start(runs)
    until(lambda: first.state == "failed", "the end of the run")
    assert [run.state for run in runs.all()] == ["failed"]


def test_a_network_without_a_folder_cannot_be_simulated() -> None:
    runs = Runs(None)
    with pytest.raises(InputError, match="folder"):
        start(runs)
    assert runs.all() == []


def test_only_the_newest_runs_are_kept(town_folder: Path, until: Any) -> None:
    runs = Runs(town_folder, keep=2)
    try:
        ids = []
        for _ in range(3):
            run = start(runs)
            ids.append(run.run_id)
            until(lambda done=run: done.state == "failed", "the end of a run", within_s=60.0)
        assert [run.run_id for run in runs.all()] == [ids[2], ids[1]]
        assert runs.get(ids[0]) is None
    finally:
        runs.close()
