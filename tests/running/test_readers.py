"""Requests beside a lane: held against theory and against the same rules looked up moment by moment."""

from __future__ import annotations

import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import Clerk, lane

from lab.base import stream
from lab.running.lane import Pace
from lab.running.readers import BesideReaders
from lab.running.simulated import drive
from lab.running.theory import single_server

IDLE = Pace(batch=1, linger=0.0, every=1.0, polls=False, capacity=1)


def test_requests_alone_wait_as_theory_says() -> None:
    rate, seconds = 60.0, 0.01
    arrives_at = np.cumsum(stream(5, "requests").exponential(1 / rate, 200_000))
    beside = BesideReaders(lane(IDLE, [], 0.0, Clerk()), arrives_at, np.full(arrives_at.size, seconds))
    beside.answer(math.inf)
    assert np.allclose(beside.answered_at, single_server(arrives_at, seconds), rtol=0, atol=1e-6)
    # M/D/1: the mean wait is load * service / (2 * (1 - load)), by Pollaczek and Khinchine.
    waits = beside.answered_at - arrives_at - seconds
    load = rate * seconds
    assert waits.mean() == pytest.approx(load * seconds / (2 * (1 - load)), rel=0.05)


def by_hand(asked: list[tuple[int, int]], every: int, lasts: int, last: int) -> tuple[list[int], list[int]]:
    """Turn by turn of the event loop: when `last` polls begin, and when each request has been answered."""
    coming = list(enumerate(asked))
    read: list[tuple[int, tuple[int, int]]] = []
    ready: list[tuple[int, tuple[int, int]]] = []
    polls: list[int] = []
    answered = [-1] * len(asked)
    moment, due = 0, every
    while len(polls) < last or coming or read or ready:
        is_due = len(polls) < last and due <= moment
        began, answering, ready, read = moment, ready, read, []
        for number, (_, takes) in answering:
            moment += takes
            answered[number] = moment
        if is_due:
            polls.append(moment)
            moment += lasts
            due = next(beat for beat in range(due + every, moment + due + every, every) if beat >= moment)
            due = max(due, moment)
        while coming and coming[0][1][0] <= moment:
            read.append(coming.pop(0))
        if moment == began and not read and not ready:
            moment += 1
    return polls, answered


@settings(max_examples=examples(100))
@given(
    asked=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=25).map(sorted),
    every=st.integers(1, 12),
    lasts=st.integers(1, 9),
)
def test_neither_polls_nor_requests_interrupt_each_other(asked: list[tuple[int, int]], every: int, lasts: int) -> None:
    clerk = Clerk(poll_seconds=(float(lasts),))
    work = lane(Pace(batch=1, linger=0.0, every=float(every), polls=True, capacity=1), [], 60.0, clerk)
    arrives_at, seconds = (np.array([one[part] for one in asked], float) for part in (0, 1))
    beside = BesideReaders(work, arrives_at, seconds)
    drive([beside])
    beside.answer(math.inf)
    polls, answered = by_hand(asked, every, lasts, len(clerk.polls))
    assert clerk.polls == polls
    assert beside.answered_at.tolist() == answered


def test_a_step_that_is_due_waits_for_the_processor_too() -> None:
    clerk = Clerk()
    work = lane(Pace(batch=10, linger=0.5, every=1.0, polls=False, capacity=10), [1.0], 5.0, clerk)
    drive([BesideReaders(work, np.array([1.4, 1.6, 1.75]), np.array([0.3, 0.1, 9.0]), lambda: 0.25)])
    # Due at 1.5 in a round until 1.7, and a quarter of a second late. The other requests wait.
    assert clerk.takes[0][0] == pytest.approx(1.95)
