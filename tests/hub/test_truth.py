"""The truth of a demo's street: compared with the estimate, written down apart from it, and never lost to a pause."""

import numpy as np
import pytest

from hub.truth import Truth
from ingest.database import Database
from ingest.store import Store
from sensors import Batch
from twin import Network
from twin.state import Snapshot
from twin.twin import Twin

NOW = 1_780_000_000.0


@pytest.fixture(scope="module")
def snapshot(town: Network) -> Snapshot:
    return Twin(town, started_at=NOW).assimilate(Batch(), now=NOW)


def street_line(snapshot: Snapshot, time: float, *, slower_kmh: float) -> dict[str, object]:
    """What the street says when it is slower than the estimate by so much; its first link is empty."""
    speed = [None, *(snapshot.speed[1:] - slower_kmh / 3.6).tolist()]
    return {"truth": {"time": time, "speed": speed, "flow": (snapshot.flow + 90.0 / 3600.0).tolist()}}


def test_the_error_is_the_mean_over_links_with_vehicles(snapshot: Snapshot) -> None:
    truth = Truth()
    truth.put(street_line(snapshot, NOW, slower_kmh=7.2))
    truth.compare(snapshot)
    assert truth.error is not None
    assert truth.error.speed_kmh_mae == pytest.approx(7.2)
    assert truth.error.flow_veh_h_mae == pytest.approx(90.0)
    of_link = truth.of_link(0)
    assert of_link is not None
    assert of_link["speed_kmh"] is None


def test_the_street_is_written_down_once_a_minute_with_the_error_of_the_estimate(
    snapshot: Snapshot, database: Database
) -> None:
    truth = Truth()
    for second in range(0, 130, 10):
        truth.put(street_line(snapshot, NOW + second, slower_kmh=3.6))
        truth.compare(snapshot)
    truth.put({"incident": {"link_id": "L1", "lanes_blocked": 2, "from": NOW, "until": NOW + 600}})
    truth.put({"fault": {"sensor_id": "D1", "kind": "stuck", "from": NOW, "until": NOW + 900}})
    truth.save(database)
    truth.save(database)  # nothing is written twice
    rows = database.fetch(
        "SELECT extract(epoch FROM time)::float8, speed_kmh, error_speed_kmh, error_flow_veh_h FROM street_truth"
        " ORDER BY time"
    )
    assert [row[0] - NOW for row in rows] == [0, 60, 120]
    assert rows[0][1][0] is None
    assert np.allclose(rows[0][1][1:], 3.6 * snapshot.speed[1:] - 3.6, atol=0.06)  # one decimal is kept
    assert rows[0][2:] == pytest.approx((3.6, 90.0))
    events = database.fetch("SELECT kind, subject, payload ->> 'kind' FROM street_event ORDER BY street_event_id")
    assert events == [("incident", "L1", None), ("fault", "D1", "stuck")]


def test_what_cannot_be_written_now_is_written_later(snapshot: Snapshot, database: Database) -> None:
    truth = Truth()
    truth.put(street_line(snapshot, NOW, slower_kmh=1.0))
    truth.compare(snapshot)
    with Database("postgresql://nobody@127.0.0.1:1/none") as away:
        truth.save(away)
    truth.save(database)
    assert database.fetch("SELECT count(*) FROM street_truth") == [(1,)]


def test_the_truth_of_a_street_is_kept_for_a_week(database: Database) -> None:
    for days in (8, 1, 0):
        at = NOW - days * 86_400.0
        database.execute("INSERT INTO street_truth VALUES (to_timestamp(%s), 'sha', '{50}', '{600}', 3, 90)", (at,))
        database.execute(
            "INSERT INTO street_event (kind, subject, starts, ends)"
            " VALUES ('incident', 'L1', to_timestamp(%s), to_timestamp(%s))",
            (at - 60.0, at),
        )
    Store(database).retain(since=NOW - 400 * 86_400.0)
    assert database.fetch("SELECT (SELECT count(*) FROM street_truth), (SELECT count(*) FROM street_event)") == [(2, 2)]
