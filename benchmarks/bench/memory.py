"""Peaks of resident memory, each taken in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench.apply import dumped
from benchmarks.bench.data import ENTITY, LAYOUT, Bench
from benchmarks.bench.harness import Row, Wrong, differs
from benchmarks.bench.modelled import SCENARIO
from lab.place import FolderPlace
from lab.stores import store_class

ROOT = Path(__file__).parent.parent.parent
LARGE, FACTOR = 2e9, 10
# With growth, so many times the changes into one store, and the limit for them.
LARGEST, HUGE, COLUMNAR = 100, 4e9, ("duckdb.columnar",)
STORES = ("duckdb.columnar", "sqlite.table")


def rows(bench: Bench) -> Iterator[Row]:
    """`memory`: of the main job; with growth, of rebuilds of ten times the changes against once."""
    yield Row(
        "memory",
        "make run",
        "bytes",
        bench.size.changes,
        targets={"lab": ("most", LARGE)},
        note="The peak of the main job in a process of its own; there is nothing bare to compare it with.",
        joint=lambda folder: {"lab": of_run(folder, bench.size.days)},
        rounds=1,
    )
    for changes in (
        bench.size.changes // 3,
        bench.size.changes,
        *([FACTOR * bench.size.changes] if bench.growth else []),
    ):
        yield _own(changes, STORES, LARGE)
    if bench.growth:
        yield _own(LARGEST * bench.size.changes, COLUMNAR, HUGE)
    for name in STORES if bench.growth else ():
        yield _rebuild(bench, name)


def _own(changes: int, stores: tuple[str, ...], most: float) -> Row:
    return Row(
        "memory",
        f"own data, {changes:,} changes into {'two stores' if len(stores) > 1 else stores[0]}",
        "bytes",
        changes,
        targets={"lab": ("most", most)},
        note="The whole run with its report, messages on, modelled times; by size, it says how memory grows.",
        joint=lambda folder: {"lab": child("own", str(folder), str(changes), *stores)},
        rounds=1,
    )


def left_out(bench: Bench) -> dict[str, str]:
    """What takes long is measured on demand."""
    return {} if bench.growth else {"memory, rebuild of ten times the changes": "measured with GROWTH=1 only"}


def _rebuild(bench: Bench, name: str) -> Row:
    small = bench.size.changes

    def joint(folder: Path) -> dict[str, float]:
        return {
            "lab": of_rebuild(bench, FACTOR * small, name, folder / "large"),
            "limit": of_rebuild(bench, small, name, folder / "small"),
        }

    return Row(
        "memory",
        f"rebuild of {FACTOR * small:,} into {name}",
        "bytes",
        FACTOR * small,
        targets={"lab": ("most", LARGE), "vs_limit": ("most", 1.5)},
        note=f"The limit is the peak for {small:,} changes of as many records.",
        joint=joint,
        rounds=1,
    )


def child(*words: str) -> float:
    """The bytes that a child says that it took."""
    command = [sys.executable, "-m", "benchmarks.bench.child", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"lab: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def of_run(folder: Path, days: int | None) -> float:
    """The peak of the main job."""
    overrides = [] if days is None else [f"domain.days={days}", "measure.samples=2"]
    return child("run", str(SCENARIO), str(folder / "runs"), *overrides)


def of_rebuild(bench: Bench, changes: int, name: str, folder: Path) -> float:
    """The peak of a rebuild; what it made is verified."""
    found = child("rebuild", str(bench.file("history", changes)), name, str(folder))
    problem = differs(dumped(store_class(name)(FolderPlace(folder), LAYOUT)), bench.of(changes).last)
    if problem:
        raise Wrong(f"lab: {ENTITY} in {name}: {problem}")
    return found
