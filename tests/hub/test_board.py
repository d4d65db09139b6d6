"""The board: the newest snapshot for everybody, and 90 minutes of every link in little memory."""

import tracemalloc

import numpy as np

from hub.board import Board
from twin.state import SensorState, Snapshot, Source

N_LINKS = 20_000


def snapshot(time: float) -> Snapshot:
    links, none = np.full(N_LINKS, time % 97.0), np.zeros(0)
    return Snapshot(
        time=time, sequence=1, network_sha256="", speed=links, speed_deviation=links / 10, flow=links / 100,
        flow_deviation=links / 1000, density=links / 500, source=np.full(N_LINKS, Source.MEASURED, np.uint8),
        measured_at=np.full(N_LINKS, time), sensors=SensorState((), (), (), none, none, none, none, none),
    )  # fmt: skip


def test_the_history_of_a_link_is_its_last_90_minutes_and_ends_with_the_newest_snapshot() -> None:
    board = Board()
    for time in range(0, 7200, 10):
        board.publish(snapshot(float(time)))
    history = board.history(7)
    assert history.time.tolist() == [*range(1770, 7171, 30), 7190]
    np.testing.assert_allclose(history.speed, history.time % 97.0, rtol=1e-6)  # 24 bits of a float32
    np.testing.assert_allclose(history.flow, history.time % 97.0 / 100, rtol=1e-6)
    assert set(history.source.tolist()) == {Source.MEASURED}
    # Nine in ten lie within 1.645 of the deviations above; 11 bits of a float16.
    np.testing.assert_allclose(history.speed_interval[0], history.time % 97.0 * (1 - 0.1645), rtol=1e-3)
    np.testing.assert_allclose(history.speed_interval[1], history.time % 97.0 * (1 + 0.1645), rtol=1e-3)
    np.testing.assert_allclose(history.flow_interval[1], history.time % 97.0 / 100 * (1 + 0.1645), rtol=1e-3)


def test_the_history_takes_the_memory_of_what_it_shows_not_of_whole_snapshots() -> None:
    board = Board()
    tracemalloc.start()
    for time in range(0, 5430, 30):
        board.publish(snapshot(float(time)))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Three floats of 4 bytes, four ends of intervals of 2 bytes and a byte a link and sample; the newest snapshot and
    # objects are less than a fifth of it.
    assert kept < 1.2 * 21 * N_LINKS * 181
