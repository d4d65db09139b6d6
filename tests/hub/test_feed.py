"""Between writer and twin: nothing is lost or out of order, and rules see every instant at any speed."""

import itertools
import threading

from hub.feed import RULE_INTERVAL_S, CommittedFeed, PolledFeed, instants, merge
from sensors import Batch, Reading
from sensors.clock import CityClock


def batch(*times_s: float) -> Batch:
    return Batch.of([Reading("D1", "speed_kmh", round(t * 1000), 50.0) for t in times_s], received_at=0.0)


def replay_clock(first: Batch) -> CityClock:
    clock = CityClock.parse("replay", wall=lambda: 2e9)
    clock.observe(first)
    return clock


def test_the_first_batch_of_a_replay_starts_the_instants_where_it_starts():
    first = batch(1000.0, 1010.0)
    seen = list(instants(first, replay_clock(first), since=float("-inf")))
    assert 1000.0 - RULE_INTERVAL_S < seen[0][0] <= 1010.0
    assert sum(len(part) for _, part in seen) == 2


def test_a_replay_has_an_instant_at_least_every_rule_interval_and_never_goes_back():
    whole = batch(*range(1000, 3000, 7))
    seen = list(instants(whole, replay_clock(whole), since=1000.0))
    times = [now for now, _ in seen]
    assert times == sorted(times)
    assert max(b - a for a, b in itertools.pairwise(times)) <= RULE_INTERVAL_S
    assert sum(len(part) for _, part in seen) == len(whole)


def test_a_replay_stays_with_what_the_twin_was_given_however_far_the_writer_is():
    first = batch(*range(1000, 2000, 10))
    clock = replay_clock(first)
    clock.observe(batch(*range(2000, 9000, 10)))
    assert max(now for now, _ in instants(first, clock, since=990.0)) == 1990.0
    assert list(instants(Batch(), clock, since=1990.0)) == []


def test_a_live_clock_has_one_instant_with_everything():
    clock = CityClock(wall=lambda: 5000.0)
    ((now, part),) = instants(batch(4990.0, 4995.0), clock, since=4999.0)
    assert (now, len(part)) == (5000.0, 2)


def test_nothing_came_and_time_went_on_is_an_instant_too():
    clock = CityClock(wall=lambda: 5000.0)
    assert [(now, len(part)) for now, part in instants(Batch(), clock, since=4999.0)] == [(5000.0, 0)]


def test_merging_keeps_the_order_and_every_reading():
    merged = merge([batch(1.0, 2.0), batch(3.0)])
    assert merged.time_ms.tolist() == [1000, 2000, 3000]


def test_a_writer_that_is_ahead_of_a_replay_waits_until_the_twin_has_taken(monkeypatch):
    monkeypatch.setattr("hub.feed.MOST_WAITING", 2)
    first = batch(1.0, 2.0)
    feed = CommittedFeed(replay_clock(first))
    feed.put(first)
    done = threading.Event()
    writer = threading.Thread(target=lambda: (feed.put(batch(3.0)), done.set()))
    writer.start()
    assert not done.is_set()
    assert len(feed.take()) == 2
    writer.join(10.0)
    assert done.is_set()
    assert len(feed.take()) == 1


def test_what_others_commit_moves_the_clock_of_a_replay_in_this_process_as_well():
    class Stored:
        def latest(self, *, received_after: float) -> Batch:
            return batch(1000.0, 1060.0) if received_after < 1000.0 else Batch()

    clock = CityClock.parse("replay", wall=lambda: 2e9)
    feed = PolledFeed(Stored(), clock)
    assert len(feed.take()) == 2
    assert clock.now() == 1060.0
    assert len(feed.take()) == 0  # else every look would read the newest reading of every series


def test_a_live_writer_never_waits_for_the_twin(monkeypatch):
    monkeypatch.setattr("hub.feed.MOST_WAITING", 1)
    feed = CommittedFeed(CityClock(wall=lambda: 0.0))
    for _ in range(5):
        feed.put(batch(1.0, 2.0))
    assert len(feed.take()) == 10
