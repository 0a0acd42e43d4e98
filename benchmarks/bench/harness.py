"""Contestants do the same work in interleaved rounds; each is timed, and what it has made is verified, by itself.

A contestant is prepared outside the timed region and checked outside of it, in every round. One whose final state is
wrong makes its row invalid: its figures are shown, and count for nothing.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from lab.statistics.bootstrap import ratio_of_medians
from lab.statistics.quantiles import median

# The least or the most that a figure may be: of `vs_peer`, of `vs_limit`, or of `lab` itself.
Targets = Mapping[str, tuple[str, float]]
Samples = dict[str, list[float]]


def nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True)
class Attempt:
    """One contestant in one round, ready to start. `check` says what is wrong with what `run` made; None is right."""

    run: Callable[[], Any]
    check: Callable[[], str | None]
    close: Callable[[], None] = nothing


@dataclass(frozen=True)
class Contestant:
    """Who: `lab`, `peer`, `limit`, or another name for a further key. `work` is how many units one attempt does."""

    name: str
    work: int
    prepare: Callable[[Path], Attempt]


@dataclass(frozen=True)
class Row:
    """A row of the results: its contestants or, where one attempt gives several figures, `joint`.

    `unit` ends in `/s` for rates; a contestant's value is then its work by its seconds, else its seconds.
    `joint` makes one round in a folder of its own and returns each contestant's value; `a_lab` and `a_limit` are
    another pair, told for information. A `size` of 0 is what `joint` returns as `size`.
    """

    row: str
    variant: str
    unit: str
    size: int
    contestants: Sequence[Contestant] = ()
    targets: Targets = field(default_factory=dict)
    note: str = ""
    joint: Callable[[Path], dict[str, float]] | None = None
    # The targets that hold beside a limit of so much; without one, `targets` hold.
    targets_by: Callable[[float | None], Targets] | None = None
    # Rounds of its own, and none to warm up: for what takes long.
    rounds: int | None = None

    @property
    def title(self) -> str:
        """What the row is called in a table."""
        return f"{self.row}, {self.variant}" if self.variant else self.row


class Wrong(Exception):
    """A contestant's final state is not what it must be."""


def digest(frame: pl.DataFrame) -> str:
    """SHA-256 of a frame's rows as CSV, sorted by key and revision: equal for the same rows."""
    return hashlib.sha256(frame.sort("key", "revision").write_csv().encode()).hexdigest()


def differs(found: pl.DataFrame, expected: pl.DataFrame) -> str | None:
    """What is wrong with rows that must be `expected`, in any order; None when they are the same."""
    if list(found.columns) != list(expected.columns):
        return f"columns {found.columns}, must be {expected.columns}"
    if found.height != expected.height:
        return f"{found.height:,} rows, must be {expected.height:,}"
    mine, right = digest(found.cast(expected.schema)), digest(expected)
    return None if mine == right else f"rows with digest {mine[:12]}, must be {right[:12]}"


def attempt(contestant: Contestant, folder: Path) -> float:
    """One attempt in a new folder: its seconds. Raises Wrong when it fails, or what it made isn't what it must be."""
    folder.mkdir(parents=True)
    try:
        ready = contestant.prepare(folder)
        try:
            gc.collect()
            gc.disable()
            began = perf_counter()
            ready.run()
            seconds = perf_counter() - began
            gc.enable()
            if problem := ready.check():
                raise Wrong(problem)
        finally:
            gc.enable()
            ready.close()
    except Exception as error:
        # One that fails is invalid like one that is wrong: the other rows are measured all the same.
        what = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
        raise Wrong(f"{contestant.name}: {what}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return seconds


def measure(row: Row, rounds: int, seed: int, root: Path, warm_up: bool = True) -> dict[str, Any]:
    """All rounds of a row, each in a new random order after one that doesn't count; its entry of the results."""
    rng = np.random.default_rng([seed, *row.title.encode()])
    rounds = row.rounds or rounds
    samples: Samples = {}
    try:
        for turn in range(-1 if warm_up and row.rounds is None else 0, rounds):
            values = _round(row, rng, root / f"round{turn}")
            if turn >= 0:
                for name, value in values.items():
                    samples.setdefault(name, []).append(value)
    except Wrong as wrong:
        return result(row, samples, rounds, seed, str(wrong))
    return result(row, samples, rounds, seed)


def _round(row: Row, rng: np.random.Generator, folder: Path) -> dict[str, float]:
    if row.joint is not None:
        folder.mkdir(parents=True)
        try:
            return row.joint(folder)
        except Wrong:
            raise
        except Exception as error:
            # As of any contestant that fails: the other rows are measured all the same.
            raise Wrong(f"{type(error).__name__}: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    values = {}
    for place in rng.permutation(len(row.contestants)):
        one = row.contestants[place]
        seconds = attempt(one, folder / f"{place}")
        values[one.name] = one.work / seconds if row.unit.endswith("/s") else seconds
    return values


def result(row: Row, samples: Samples, rounds: int, seed: int, wrong: str | None = None) -> dict[str, Any]:
    """The row's entry of `results.json`."""
    middle = {name: median(values) for name, values in samples.items()}
    # What a row with a `joint` has done in the median round, where it can't be said beforehand.
    size = middle.pop("size", 0)
    samples = {name: values for name, values in samples.items() if name != "size"}
    lab, peer, limit = (middle.get(name) for name in ("lab", "peer", "limit"))
    against = "limit" if limit else "peer" if peer else None
    low, high = None, None
    if lab:
        low, high = ratio_of_medians(samples["lab"], samples[against] if against else [1.0] * len(samples["lab"]), seed)
    figures = {
        "lab": lab,
        "vs_peer": lab / peer if lab and peer else None,
        "vs_limit": lab / limit if lab and limit else None,
    }
    for name, value in middle.items():
        if lab and name.startswith("peer_") and name != "peer_equal":
            figures[f"vs_{name}"] = lab / value
    # Measured in another way: for information beside the ratio that is held against a target.
    aside = {
        name.removesuffix("_limit"): middle[name.removesuffix("limit") + "lab"] / value
        for name, value in middle.items()
        if name.endswith("_limit") and value
    }
    equal = None
    if lab and peer and ("lab_equal" in middle or "peer_equal" in middle):
        # Whoever works under the other's conditions by default is not measured twice.
        mine, theirs = middle.get("lab_equal", lab), middle.get("peer_equal", peer)
        equal = {"lab": mine, "peer": theirs, "vs_peer": mine / theirs}
    targets = row.targets if row.targets_by is None else row.targets_by(limit)
    missed = [] if wrong else misses(figures, targets)
    return {
        "row": row.row,
        "variant": row.variant,
        "lab": lab,
        "peer": peer,
        "limit": limit,
        "unit": row.unit,
        "vs_peer": figures["vs_peer"],
        "vs_limit": figures["vs_limit"],
        "low": low,
        "high": high,
        "interval_of": f"vs_{against}" if against else "lab",
        "target_met": not wrong and not missed,
        "targets": {name: {bound: value} for name, (bound, value) in targets.items()},
        "missed": [f"invalid: {wrong}"] if wrong else missed,
        "peer_equal": equal,
        "others": {name: value for name, value in figures.items() if name.startswith("vs_peer_")} | aside,
        "rounds": rounds,
        "size": row.size or int(size),
        "verified": wrong is None,
        "samples": samples,
        "note": row.note,
    }


def misses(figures: Mapping[str, float | None], targets: Targets) -> list[str]:
    """The targets that are missed, in words; a figure that isn't there misses its own."""
    missed = []
    for name, (bound, value) in targets.items():
        found = figures.get(name)
        if found is None:
            missed.append(f"{name} was not measured, must be at {bound} {value:g}")
        elif (found < value) if bound == "least" else (found > value):
            missed.append(f"{name} {found:.3g}, must be at {bound} {value:g}")
    return missed
