"""One run of a sweep: carried out in any process on any machine, from what the task holds, and nothing else.

What comes back is a frame, so nothing is shared but the task. `lab.runs` folders are made below the temporary folder
and removed. Runs that measure wall time go one at a time on a machine: they hold a lock that all sweeps of it see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import LabError, MissingDriver, Unavailable
from lab.ending import told
from lab.experiment.once import run_once
from lab.experiment.progress import Quiet
from lab.runs import Run
from lab.scenario import Source
from lab.sweeps.rows import failed, rows
from lab.wiring import plan

LOCK = "polyglot-lab-measuring.lock"
_PREFIX = "polyglot-lab-sweep-"


@dataclass(frozen=True)
class RunTask:
    """What a run runs, and what its rows say of it: `columns` are the varied keys with their values."""

    name: str
    path: str
    text: str
    overrides: tuple[str, ...]
    seed: int
    repetition: int
    columns: tuple[tuple[str, Any], ...]
    wall: bool

    @property
    def said(self) -> str:
        """The point, as a person would say it."""
        return ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.columns
        )


@dataclass(frozen=True)
class RunResult:
    """What came of a task: its rows, and how long it took.

    `lost`: it is tried again when the sweep goes on, since its process died, or the machine or a server failed it.
    """

    name: str
    frame: pl.DataFrame
    seconds: float
    error: str | None = None
    lost: bool = False


def carry_out(task: RunTask) -> RunResult:
    """Run a task and return its rows; one that fails has a row with its error. Never raises what a run raises."""
    began = time.perf_counter()
    _sweep_up()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        with one_at_a_time() if task.wall else contextlib.nullcontext():
            began = time.perf_counter()
            made = plan(Source(Path(task.path), task.overrides, task.seed, task.text))
            if made.scenario.time.mode == "live":
                from lab.live.once import run_once as run_live_once

                run_live_once(made, folder, task.name, Quiet())
            else:
                run_once(made, folder, task.name, Quiet())
            frame = rows(Run(folder), task)
        return RunResult(task.name, frame, time.perf_counter() - began)
    except (LabError, OSError, ArithmeticError, ValueError, RuntimeError, LookupError, TypeError) as error:
        why = "; ".join(str(problem) for problem in told(error))
        # A full disk, a server that is down, a library that isn't there: none of them is the scenario's fault.
        may_pass = isinstance(error, OSError | Unavailable | MissingDriver)
        return RunResult(task.name, failed(task, why), time.perf_counter() - began, why, may_pass)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lost(task: RunTask, why: str) -> RunResult:
    """Return the result of a task whose process died."""
    return RunResult(task.name, failed(task, why), 0.0, why, True)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other run of a sweep is measured on this machine, and keep others waiting meanwhile."""
    import fcntl

    path = Path(tempfile.gettempdir()) / LOCK
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock, which another user of the machine may have made: to hold it, reading is enough."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o666)
    return descriptor


def _sweep_up() -> None:
    """Remove what processes left that were killed in a run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
