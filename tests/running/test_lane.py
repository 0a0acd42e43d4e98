"""A lane beside a simulation by hand, beside theory, and its rules one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import Clerk, lane

from lab.base import stream
from lab.running.lane import Pace
from lab.running.simulated import drive
from lab.running.theory import single_server

# More than arrives in any test.
ALL = 10_000


def by_hand(pace: Pace, arrivals: list[int], until: float, clerk: Clerk) -> None:
    """The rules of a lane, read word by word and looked up moment by moment. Whole seconds only."""
    free, due, waiting, coming = 0.0, pace.every if pace.polls else float("inf"), [], list(arrivals)
    while waiting or coming or due < float("inf"):
        moment = free
        while True:
            while coming and coming[0] <= moment:
                at = coming.pop(0)
                if len(waiting) < pace.capacity:
                    waiting.append(at)
                else:
                    clerk.overflowed += 1
            if moment >= due:
                seconds, _ = clerk.poll(moment)
                free = moment + seconds
                beats = itertools.count(1)
                following = next(due + beat * pace.every for beat in beats if due + beat * pace.every >= free)
                nothing_left = moment >= until and not waiting and not coming
                due = float("inf") if nothing_left else following
                break
            if waiting and (len(waiting) >= pace.batch or moment >= waiting[0] + pace.linger):
                size = min(pace.batch, len(waiting))
                free = moment + clerk.take(moment, size)
                waiting = waiting[size:]
                break
            moment += 1


@settings(max_examples=examples(30))
@given(
    gaps=st.lists(st.integers(0, 6), max_size=40),
    batch=st.integers(1, 6),
    linger=st.integers(0, 8),
    every=st.integers(1, 12),
    polls=st.booleans(),
    capacity=st.sampled_from([2, 5, ALL]),
    service=st.tuples(st.integers(0, 7), st.integers(0, 2)),
    poll_seconds=st.lists(st.integers(0, 20), min_size=1, max_size=4),
)
def test_a_lane_does_what_a_simulation_by_hand_does(
    gaps: list[int],
    batch: int,
    linger: int,
    every: int,
    polls: bool,
    capacity: int,
    service: tuple[int, int],
    poll_seconds: list[int],
) -> None:
    pace = Pace(batch, linger, every, polls, capacity)
    arrivals = np.cumsum(gaps).astype(int).tolist()
    until = arrivals[-1] if arrivals else 5
    # Every so often a poll takes no time: polls that never leave a gap are looked at below.
    hand, clerk = (Clerk(*service, [*poll_seconds, 0]) for _ in range(2))
    by_hand(pace, arrivals, until, hand)
    drive([lane(pace, arrivals, until, clerk)])
    assert clerk.takes == hand.takes
    assert clerk.polls == hand.polls
    assert clerk.overflowed == hand.overflowed
    assert sum(last - first for _, first, last in clerk.takes) + clerk.overflowed == len(arrivals)


@given(
    gaps=st.lists(st.floats(0, 3, allow_subnormal=False), max_size=60),
    seconds=st.floats(0, 2, allow_subnormal=False),
)
def test_one_server_in_closed_form_is_a_lane_that_takes_each_message_alone(gaps: list[float], seconds: float) -> None:
    arrivals = np.cumsum(np.array(gaps, float))
    clerk = Clerk(per_batch=seconds)
    drive([lane(Pace(1, 0.0, 1.0, False, ALL), arrivals, 0.0, clerk)])
    departures = np.array([start + seconds for start, _, _ in clerk.takes])
    assert departures == pytest.approx(single_server(arrivals, seconds))


def polled(clerk: Clerk, every: float, until: float) -> list[float]:
    """When a lane without messages polls."""
    drive([lane(Pace(1, 0.0, every, True, 1), [], until, clerk)])
    return clerk.polls


def test_polls_keep_their_beat_whatever_they_take() -> None:
    assert polled(Clerk(), 2.0, 7.0) == [2.0, 4.0, 6.0, 8.0]
    assert polled(Clerk(poll_seconds=[1.5, 0.25]), 2.0, 7.0) == [2.0, 4.0, 6.0, 8.0]


def test_beats_that_were_missed_are_not_made_up_for() -> None:
    assert polled(Clerk(poll_seconds=[5.0, 0.0, 0.0]), 2.0, 11.0) == [2.0, 8.0, 10.0, 12.0]


def test_a_poll_goes_on_page_by_page_and_the_next_one_keeps_the_beat() -> None:
    clerk = Clerk(poll_seconds=[0.25], pages=[True, True, False])
    assert polled(clerk, 2.0, 5.0) == [2.0, 2.25, 2.5, 4.0, 6.0]


def test_a_poll_that_is_due_goes_before_messages_that_wait() -> None:
    clerk = Clerk(per_batch=3.0, poll_seconds=[1.0])
    drive([lane(Pace(1, 0.0, 2.0, True, 10), [0.0, 0.5, 0.6], 2.0, clerk)])
    # The beat of 4 falls on the end of the poll before; the one of 6 is in the middle of a message.
    assert clerk.polls[:3] == [3.0, 4.0, 8.0]
    assert [start for start, _, _ in clerk.takes] == [0.0, 5.0, 9.0]


def test_polls_that_take_longer_than_their_beat_do_not_keep_messages_waiting_for_ever() -> None:
    clerk = Clerk(poll_seconds=[3.0])
    one = lane(Pace(1, 0.0, 2.0, True, 10), [0.5, 2.5, 2.6], 3.0, clerk)
    for _ in range(1_000):
        if one.next_at() < float("inf"):
            one.step(one.next_at())
    assert one.next_at() == float("inf")
    assert [last for _, _, last in clerk.takes] == [1, 2, 3]


def test_a_lane_without_anything_to_do_is_done_at_once() -> None:
    clerk = Clerk()
    drive([lane(Pace(1, 0.0, 1.0, False, 1), [], 100.0, clerk)])
    assert clerk.takes == clerk.polls == []


def test_lanes_run_in_one_order_of_time() -> None:
    seen: list[float] = []

    class Watched(Clerk):
        def poll(self, start: float) -> tuple[float, bool]:
            seen.append(start)
            return super().poll(start)

    paces = [Pace(1, 0.0, every, True, 1) for every in (0.7, 1.0, 0.3)]
    drive([lane(pace, [], 10.0, Watched(poll_seconds=[0.1])) for pace in paces])
    assert seen == sorted(seen)
    assert len(seen) > 50


def lost_by_theory(load: float, places: int) -> float:
    """The share of arrivals that an M/D/1 queue loses which has `places` for those in service and waiting together.

    The chain embedded at departures has the queue's own transitions up to the last place; with its stationary law p, a
    departure leaves the queue empty with p[0], and the share that is served is 1 / (p[0] + load): B. V. Gnedenko and
    I. N. Kovalenko, Introduction to Queueing Theory (1989), for M/G/1 with finite capacity.
    """
    arrive = np.array([np.exp(-load) * load**n / math.factorial(n) for n in range(places)])
    chain = np.zeros((places, places))
    for state in range(places):
        first = max(0, state - 1)
        chain[state, first : places - 1] = arrive[: places - 1 - first]
        chain[state, places - 1] = 1 - chain[state, : places - 1].sum()
    law = np.linalg.lstsq(np.vstack([chain.T - np.eye(places), np.ones(places)]), np.append(np.zeros(places), 1.0))[0]
    return float(1 - 1 / (law[0] + load))


@pytest.mark.parametrize(("load", "waiting"), [(0.8, 4), (0.8, 1), (1.2, 9)])
def test_a_bounded_queue_loses_what_theory_says(load: float, waiting: int) -> None:
    arrivals = np.cumsum(stream(5, "bounded").exponential(1.0, 200_000))
    clerk = Clerk(per_batch=load)
    drive([lane(Pace(1, 0.0, 1.0, False, waiting), arrivals, 0.0, clerk)])
    # One is in service, and `capacity` bounds those that wait.
    assert clerk.overflowed / arrivals.size == pytest.approx(lost_by_theory(load, waiting + 1), rel=0.04)


def test_a_batch_that_is_larger_than_the_queue_never_fills() -> None:
    # 1,000 a second, a batch of at most 10 every 50 ms and the time of lingering: four in five are lost or more.
    arrivals, clerk = np.arange(20_000) / 1_000, Clerk(per_batch=0.05)
    drive([lane(Pace(1_000, 0.0, 1.0, False, 10), arrivals, 0.0, clerk)])
    assert clerk.overflowed / arrivals.size == pytest.approx(0.8, abs=0.01)
    lingering = Clerk()
    drive([lane(Pace(20, 3.0, 1.0, False, 10), np.arange(100) / 100, 0.0, lingering)])
    assert lingering.takes == [(3.0, 0, 10)]
    assert lingering.overflowed == 90
