"""What-if runs over HTTP: what is asked wrongly is said in a sentence, and what runs comes to an end."""

import signal
from typing import Any

import pytest


def ask(hub: Any, body: Any, **more: Any) -> Any:
    return hub.client.post("/api/v1/scenarios", json=body, **more)


def ended(hub: Any, until: Any, run_id: str) -> Any:
    """Return a run that is done or failed."""

    def over() -> Any:
        run = hub.get(f"runs/{run_id}")
        return run if run["state"] != "running" else None

    return until(over, "the end of the run", within_s=120.0)


def close(*links: str, **more: Any) -> dict[str, Any]:
    return {"links": list(links), **more}


def test_a_closure_gives_the_difference_between_two_runs(hub: Any, until: Any) -> None:
    links = hub.app.compiled.link_ids
    answer = ask(hub, {"name": "works", "close": [close(links[0], from_s=0)], "horizon_s": 300})
    assert answer.status_code == 202
    run = ended(hub, until, answer.json()["run_id"])
    assert (run["state"], run["name"], run["progress"]) == ("done", "works", 1.0), run
    assert run["basis"]["en"] == "typical day, one run, no interval"
    assert run["links"]["link_ids"] == list(links)
    assert len(run["links"]["delay_change_veh_h"]) == len(links)
    for key in ("total_time_spent_veh_h", "total_delay_veh_h", "arrived"):
        assert run["difference"][key] == pytest.approx(run["scenario"][key] - run["baseline"][key], abs=0.002)
    assert hub.get("runs")["runs"][0]["run_id"] == run["run_id"]


@pytest.mark.parametrize(
    ("closure", "words"),
    [
        ({"links": ["no such link"]}, ["no such link"]),
        ({"links": ["no such link", "nor this"]}, ["no such link", "nor this"]),
    ],
)
def test_an_unknown_link_is_a_failed_run_with_a_sentence(
    hub: Any, until: Any, closure: dict[str, Any], words: list[str]
) -> None:
    answer = ask(hub, {"close": [closure], "horizon_s": 60})
    assert answer.status_code == 202
    run = ended(hub, until, answer.json()["run_id"])
    assert run["state"] == "failed"
    for word in words:
        assert word in run["error"]
    assert "Traceback" not in run["error"]
    assert "Error:" not in run["error"]


@pytest.mark.parametrize(("from_s", "until_s"), [(100, 100), (200, 100)])
def test_a_closure_that_ends_before_it_begins_is_refused(hub: Any, until: Any, from_s: float, until_s: float) -> None:
    link = hub.app.compiled.link_ids[0]
    answer = ask(hub, {"close": [close(link, from_s=from_s, until_s=until_s)], "horizon_s": 60})
    run = ended(hub, until, answer.json()["run_id"]) if answer.status_code == 202 else None
    said = answer.json()["detail"] if run is None else run["error"]
    assert "until_s" in said
    assert run is None or run["state"] == "failed"


@pytest.mark.parametrize(
    "body",
    [
        b'{"close": []}',
        b'{"close": [{"links": []}]}',
        b'{"close": [{"links": ["a"], "from_s": -1}]}',
        b'{"close": [{"links": ["a"], "from_s": NaN}]}',
        b'{"close": [{"links": ["a"], "until_s": Infinity}]}',
        b'{"close": [{"links": ["a"], "until_s": 1e99}]}',
        b'{"close": [{"links": ["a"]}], "horizon_s": 0}',
        b'{"close": [{"links": ["a"]}], "horizon_s": NaN}',
        b'{"close": [{"links": ["a"]}], "horizon_s": 14401}',
        b'{"close": [{"links": ["a"]}], "seed": -1}',
        b'{"close": [{"links": ["a"]}], "seed": 1.5}',
        b'{"close": [{"links": [1]}]}',
        b'{"close": [{"link": ["a"]}]}',
        b'{"close": {"links": ["a"]}}',
        b'{"close": [{"links": ["a"]}], "speed": 3}',
        b'{"close": [{"links": ["a"]}], "name": "' + b"x" * 201 + b'"}',
        b'{"close": [{"links": [' + b",".join([b'"a"'] * 1001) + b"]}]}",
        b'{"close": [' + b",".join([b'{"links": ["a"]}'] * 101) + b"]}",
        b"[]",
        b"{",
        b"",
    ],
)
def test_a_question_that_makes_no_sense_starts_nothing(hub: Any, body: bytes) -> None:
    before = len(hub.get("runs")["runs"])
    answer = hub.client.post("/api/v1/scenarios", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert len(hub.get("runs")["runs"]) == before


def test_too_many_runs_at_once_are_refused_in_a_sentence_and_leave_no_run_behind(
    hub: Any, until: Any, workers: Any
) -> None:
    link = hub.app.compiled.link_ids[0]
    answers = [ask(hub, {"close": [close(link)], "horizon_s": 14_400}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 202, 422]
    assert "wait" in answers[-1].json()["detail"]
    assert sum(run["state"] == "running" for run in hub.get("runs")["runs"]) == 4
    # The worker is killed: all four come to an end, and the next run has a worker again.
    (worker,) = workers()
    worker.send_signal(signal.SIGKILL)
    for answer in answers[:4]:
        run = ended(hub, until, answer.json()["run_id"])
        assert run["state"] == "failed"
        assert run["error"] == "the worker process died, run it again"
    again = ask(hub, {"close": [close("no such link")], "horizon_s": 60})
    assert again.status_code == 202
    assert "no such link" in ended(hub, until, again.json()["run_id"])["error"]
