"""Runs of sweeps that cost nothing, and executors, for the tests of what has them carried out."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import polars as pl

from lab.scenario import Source
from lab.sweeps import SweepPlan
from lab.sweeps.rows import schema
from lab.sweeps.task import RunResult, RunTask

TINY = """\
schema = 1
name = "tiny"
seed = 7
domain = { name = "employees", records = 20 }
workload = { commands = 60, rate = 100.0 }
truth = { model = "history" }
catch_up = { every = 0.5 }
channel = { delay = { kind = "exponential", mean = 0.05 }, duplicate = 0.2, lose = 0.1 }
time = { service = "modelled" }
query = []

[[projection]]
name = "plain"
store = "memory"
guard = "none"
subscribe = "channel"
expect = "fail"
"""
# Where the pretended runs leave word, and what they are to do; of child processes, too.
FOLDER = "LAB_TEST_SWEEP"


def tiny(*vary: str, repeat: int = 1, text: str = TINY, overrides: tuple[str, ...] = (), **rest: Any) -> SweepPlan:
    """The plan of a small sweep."""
    source = Source(Path("tiny.toml"), overrides, None, text)
    return SweepPlan.of(source, vary or ("channel.lose=0,0.2", "channel.duplicate=0,0.1,0.3"), repeat, **rest)


def pretended(task: RunTask) -> RunResult:
    """Return what a run could return: a figure that its point and its seed decide."""
    values = dict(task.columns)
    figure = sum(value for value in values.values() if isinstance(value, float)) + task.seed % 97 / 1_000
    row = {"run": task.name, "seed": task.seed, "repetition": task.repetition} | values
    types = schema(task.columns)
    rest = {"projection": "plain", "store": "memory", "guard": "none", "quantity": "lag_p50", "unit": "seconds"}
    return RunResult(
        task.name, pl.DataFrame([dict.fromkeys(types) | row | rest | {"value": figure}], schema=types), 0.01
    )


def slow(task: RunTask) -> RunResult:
    """Take a while, and say who has carried it out."""
    (Path(os.environ[FOLDER]) / f"pid-{os.getpid()}").touch()
    time.sleep(0.3)
    return pretended(task)


def deadly_once(task: RunTask) -> RunResult:
    """Kill the process of one run, the first time."""
    mark = Path(os.environ[FOLDER]) / "died"
    if dict(task.columns)["channel.lose"] == 0.2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return pretended(task)


def deadly(task: RunTask) -> RunResult:
    """Kill the process of every run with a loss."""
    if dict(task.columns)["channel.lose"] == 0.2:
        os.kill(os.getpid(), signal.SIGKILL)
    return pretended(task)


class Inline(Executor):
    """Carries out what it is given at once, in this process."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that is done."""
        done: Future[Any] = Future()
        done.set_result(function(*args, **kwargs))
        return done


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a sweep's results, to the last bit."""
    return {file.name: file.read_bytes() for file in (folder / "results").iterdir()}
