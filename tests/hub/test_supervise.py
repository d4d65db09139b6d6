"""Children of the hub: one sentence when they do not start, a pipe that ends them, a watch that restarts them."""

import errno
import itertools
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from hub.supervise import Child, Watch
from sensors import WorkError

READY = 'print(json.dumps({"ready": True}), flush=True)\n'
UNTIL_CLOSED = "sys.stdin.read()\n"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make children that run the given lines of Python; they are stopped at the end."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made: list[Child] = []

    def make(code: str, **more: Any) -> Child:
        name = f"child_of_test_{len(made)}"
        (tmp_path / f"{name}.py").write_text("import json, signal, sys, time\n" + code)
        made.append(Child("part", name, [str(tmp_path)], **more))
        return made[-1]

    yield make
    for one in made:
        one.stop(timeout_s=1.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('no address is free', file=sys.stderr); sys.exit(1)", "no address is free"),
        ("raise ValueError('seven')", "ValueError: seven"),
        ("print('hello', flush=True); time.sleep(60)", "hello"),
        ("print('{not json', flush=True); time.sleep(60)", "{not json"),
        ("print('[1]', flush=True); time.sleep(60)", "[1]"),
        ("sys.exit(0)", "no reason given"),
    ],
)
def test_a_child_that_does_not_start_is_one_sentence_with_its_last_words(child: Any, code: str, words: str) -> None:
    part = child(code)
    with pytest.raises(WorkError, match="the part did not start") as raised:
        part.start()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not part.alive()


def test_a_child_that_says_nothing_is_ended_in_time(child: Any) -> None:
    part = child("time.sleep(600)", start_timeout_s=0.5)
    with pytest.raises(WorkError, match="did not start"):
        part.start()
    assert not part.alive()


def test_further_lines_are_handed_on_and_what_is_no_json_is_passed_over(child: Any, until: Any) -> None:
    lines: list[Any] = []
    part = child(
        READY + "print('a remark', flush=True)\nprint('{half', flush=True)\nprint('{\"n\": 1}', flush=True)\n"
        "print('{\"n\": 2}', flush=True)\n" + UNTIL_CLOSED,
        on_line=lines.append,
    )
    assert part.start() == {"ready": True}
    until(lambda: len(lines) == 2, "two lines")
    assert lines == [{"n": 1}, {"n": 2}]


def test_stop_closes_stdin_first_and_waits_for_the_last_words(child: Any) -> None:
    lines: list[Any] = []
    part = child(
        "signal.signal(signal.SIGTERM, lambda *_: print(json.dumps({'by': 'signal'}), flush=True))\n"
        + READY + UNTIL_CLOSED + "print(json.dumps({'by': 'stdin'}), flush=True)\n",
        on_line=lines.append,
    )  # fmt: skip
    part.start()
    part.stop()
    assert lines == [{"by": "stdin"}]
    assert not part.alive()
    part.stop()  # a second time does no harm


def test_a_child_that_ignores_its_stdin_is_terminated_and_one_that_ignores_that_is_killed(child: Any) -> None:
    deaf = child("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(600)")
    deaf.start()
    deaf.stop(timeout_s=0.3)
    assert not deaf.alive()


def test_a_child_that_was_never_started_can_be_stopped(child: Any) -> None:
    child(READY).stop()


def test_watch_starts_again_what_died_and_lets_the_rest_be(child: Any, until: Any) -> None:
    mortal, other = child(READY + UNTIL_CLOSED), child(READY + UNTIL_CLOSED)
    mortal.start()
    other.start()
    watch = Watch([("mortal", mortal.alive, mortal.start), ("other", other.alive, other.start)], every_s=0.01)
    watch.start()
    first = mortal.pid
    psutil.Process(first).kill()
    until(lambda: mortal.alive() and mortal.pid != first, "a new child")
    watch.stop()
    assert (mortal.starts, other.starts, watch.restarts) == (2, 1, 1)
    psutil.Process(mortal.pid).kill()
    until(lambda: not mortal.alive(), "its death")
    assert mortal.starts == 2  # nobody watches any more


@pytest.mark.parametrize("failure", [WorkError("not yet"), OSError(errno.EMFILE, "Too many open files")])
def test_watch_goes_on_after_a_start_that_failed(until: Any, failure: Exception) -> None:
    tries: list[int] = []

    def start() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise failure

    watch = Watch([("part", lambda: len(tries) >= 2, start)], every_s=0.01)
    watch.start()
    until(lambda: len(tries) == 2, "a second try")
    watch.stop()
    assert watch.restarts == 1


def test_watch_waits_longer_after_every_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    tries: list[float] = []
    turns = threading.Semaphore(0)
    monkeypatch.setattr("hub.supervise.time.monotonic", lambda: now[0])

    def alive() -> bool:
        now[0] += 0.25  # each look takes a quarter of a second
        turns.release()
        return False

    def start() -> None:
        tries.append(now[0])
        raise WorkError("never")

    watch = Watch([("part", alive, start)], every_s=0.0001, longest_wait_s=4.0)
    watch.start()
    for _ in range(80):
        assert turns.acquire(timeout=10.0)
    watch.stop()
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, 4.0]
