"""What virtual sensors see: whole vehicles, and the speed at which they really crossed their link."""

import numpy as np
import pytest

from hub.curves import Curves
from simulation.measure import Cumulative

START = 1_780_000_000.0
LENGTH, FREE = 600.0, 15.0  # 40 s at free speed
STEP = 1.0


def street(entries: list[float], exits: list[float], until: float, *, keep_s: float = 600.0, step: float = STEP):
    """Curves of one link whose vehicles entered and left at these seconds, noted every step."""

    def counts(time: float) -> Cumulative:
        entered, left = (np.array([sum(event <= time for event in events)]) for events in (entries, exits))
        spent = sum(max(0.0, min(out, time) - into) for into, out in zip(entries, exits, strict=True) if into <= time)
        return Cumulative(time, entered, left, np.array([spent]))

    curves = Curves(START, counts(0.0), keep_s=keep_s, length=np.array([LENGTH]), free_speed=np.array([FREE]))
    for time in np.arange(step, until + step / 2, step).tolist():
        curves.note(START + time, counts(time))
    return curves


def test_a_vehicle_is_seen_once_at_the_speed_at_which_it_crossed_whatever_cuts_its_way() -> None:
    curves = street([15.3], [75.6], 120.0)  # 60.3 s for 600 m
    speeds, vehicles = [], 0
    for end in range(20, 121, 20):  # intervals shorter than its way
        seen = curves.passage(START + end - 20, START + end)
        assert seen is not None
        vehicles += int(seen.left[0])
        if np.isfinite(seen.speed[0]):
            speeds.append(float(seen.speed[0]))
    assert vehicles == 1
    assert speeds == pytest.approx([LENGTH / 60.3], rel=2 * STEP / 60.3)  # each event lies within one step


def test_an_interval_between_two_instants_counts_whole_vehicles() -> None:
    curves = street([5.0, 15.0], [70.5, 90.5], 120.0, step=3.0)
    for end in np.arange(20.0, 120.0, 7.0):
        seen = curves.passage(START + end - 20.0, START + end)
        assert seen is not None
        assert float(seen.left[0]).is_integer()
        if seen.left[0] == 0:
            assert not seen.speed[0] < 5.0, "a part of a vehicle would look like a queue"


def test_flows_of_intervals_add_up_to_all_vehicles() -> None:
    rng = np.random.default_rng(5)
    entries = np.sort(rng.uniform(0.5, 500.0, 80))
    curves = street(entries.tolist(), (entries + 50.0).tolist(), 600.0)
    seen = [curves.passage(START + end - 20.0, START + end) for end in np.arange(20.0, 601.0, 20.0)]
    assert sum(int(s.left[0]) for s in seen if s) == 80
    weights = [int(s.left[0]) for s in seen if s]
    paces = [float(1 / s.speed[0]) if n else 0.0 for s, n in zip(seen, weights, strict=True) if s]
    mean = sum(weights) / float(np.dot(weights, paces))
    assert mean == pytest.approx(LENGTH / 50.0, rel=0.01)  # errors of single steps cancel over 80 vehicles


def test_a_vehicle_that_does_not_come_through_says_how_slow_it_is_at_most() -> None:
    curves = street([10.0, 12.0], [1e9, 1e9], 200.0)
    early = curves.passage(START + 20.0, START + 40.0)
    late = curves.passage(START + 180.0, START + 200.0)
    assert early is not None
    assert late is not None
    assert np.isnan(early.speed[0])  # it may still drive freely
    assert late.speed[0] == pytest.approx(LENGTH / 190.0, rel=0.01)


def test_who_was_there_before_all_began_says_nothing_until_it_waited_for_long() -> None:
    curves = street([-30.0], [15.0], 60.0)
    seen = curves.passage(START, START + 20.0)
    assert seen is not None
    assert seen.left[0] == 1
    assert np.isnan(seen.speed[0])


def test_hours_need_no_more_memory_than_what_is_kept_and_a_long_jam_stays_slow() -> None:
    curves = street([10.0], [1e9], 4000.0, keep_s=300.0)
    assert len(curves._time) <= 512
    seen = curves.passage(START + 3980.0, START + 4000.0)
    assert seen is not None
    assert seen.speed[0] <= LENGTH / 300.0


def test_before_a_second_instant_nothing_is_known() -> None:
    assert street([1.0], [50.0], 0.0).passage(START - 20.0, START) is None
