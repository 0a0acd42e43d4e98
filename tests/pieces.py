"""Small pieces that several test files build with: employees at work, a scenario, a worker that takes notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lab.base import stream
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command, Options
from lab.projection import recent
from lab.running.lane import Lane, Pace
from lab.running.simulated import Arrivals
from lab.truth import ENGINES, EXTRAS

# Engines of a source of truth as parameters of tests: one on a server needs its server; files are looked at by name.
TRUTHS = tuple(pytest.param(name, marks=pytest.mark.server(name)) if name in EXTRAS else name for name in ENGINES)
IN_FILES = ("sqlite", "duckdb")


def commands(count: int = 400, seed: int = 7, **options: Any) -> list[Command]:
    """The employees' workload: many deletes, and some commands that are refused."""
    wanted: dict[str, Any] = {"records": 30, "rate": 100.0, "skew": 0.8, "deletes": 0.05, "invalid": 0.05}
    chosen = Options(commands=count, **(wanted | options))
    return list(EMPLOYEES.workload(chosen, stream(seed, "workload")))


@dataclass
class Clerk:
    """A worker that only writes down what it is told; service and polls take the seconds that they are said to take."""

    per_batch: float = 0.0
    per_row: float = 0.0
    poll_seconds: Sequence[float] = (0.0,)
    pages: Sequence[bool] = ()
    takes: list[tuple[float, int, int]] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    overflowed: int = 0

    def take(self, start: float, count: int) -> float:
        first = self.takes[-1][2] if self.takes else 0
        self.takes.append((start, first, first + count))
        return self.per_batch + self.per_row * count

    def poll(self, start: float) -> tuple[float, bool]:
        number = len(self.polls)
        self.polls.append(start)
        return self.poll_seconds[number % len(self.poll_seconds)], number < len(self.pages) and self.pages[number]

    def lose(self, messages: np.ndarray) -> None:
        self.overflowed += messages.size

    def unfinished(self, at: float) -> bool:
        return False

    def quiet_until(self, at: float) -> float:
        return at

    def skip(self, beats: np.ndarray) -> None:
        raise AssertionError("nothing is known to be quiet")


def lane(pace: Pace, arrivals: Sequence[float] | np.ndarray, until: float, clerk: Clerk) -> Lane:
    """A lane with these arrivals."""
    times = np.asarray(arrivals, float)
    return Lane(pace, Arrivals(np.arange(times.size), times, pace.capacity, clerk.lose), until, clerk)


# A scenario that is as small as one can be, and still has messages with faults, a total and a columnar store.
SCENARIO = """
schema = 1
name = "mine"
seed = 1087

[domain]
name = "employees"
records = 200

[workload]
commands = 3_000
rate = 1_000.0
skew = 0.8
deletes = 0.02
invalid = 0.02

[truth]
model = "history"

[catch_up]
every = 0.5
page = 1_000

[channel]
delay = { kind = "lognormal", mean = 0.02, sigma = 1.0 }
duplicate = 0.05
lose = 0.01
reorder = { share = 0.1, extra = { kind = "exponential", mean = 0.2 } }

[time]
service = "modelled"

[[projection]]
name = "directory"
store = "sqlite.table"
guard = "revision"
batch = 100
linger = 0.05

[[projection]]
name = "analytics"
store = "duckdb.columnar"
guard = "revision"
batch = 1_000
linger = 0.5

[[projection]]
name = "payroll"
store = "sqlite.table"
keeps = "totals"
guard = "dedupe"
batch = 100
linger = 0.05

[measure]
samples = 5
blocks = 2
warm_up = 1
"""


@contextmanager
def remembering(size: int) -> Iterator[None]:
    """Guards that are made meanwhile remember about so many records, and look up the others."""
    usual, recent.RECENT = recent.RECENT, size
    try:
        yield
    finally:
        recent.RECENT = usual
