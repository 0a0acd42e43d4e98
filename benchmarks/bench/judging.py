"""Judging projectors: how many histories are drawn, tried and looked at in a second, on two cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from benchmarks.bench.data import Bench
from benchmarks.bench.harness import Attempt, Contestant, Row, Targets
from lab.kit.check import TrialOptions, judge
from lab.kit.mutants import Reference
from lab.kit.properties import tried
from lab.kit.subject import load

# Histories in a minute that the lab's reference projector is to be tried on, by two processes.
WANTED = 1_000_000
PROCESSES = 2
SLOW = "lab.kit.examples.mended:handle"


def rows(bench: Bench) -> Iterator[Row]:
    """`judge`: the reference in dictionaries, and a function on SQLite."""
    targets: Targets = {"lab": ("least", WANTED / 60)}
    yield _row(bench, "reference", bench.size.commands // 10, targets)
    yield _row(bench, "on_sqlite", bench.size.commands // 100, {})


def _row(bench: Bench, variant: str, each: int, targets: Targets) -> Row:
    """A row of so many histories of each property in each process."""
    each = max(each, 2)
    histories = each * PROCESSES * len(tried("out-of-order"))
    lab = Contestant("lab", histories, lambda folder: _attempt(bench, variant, each))
    return Row("judge", variant, "histories/s", histories, [lab], targets)


def judged(variant: str, seed: int, each: int) -> str:
    """Try the projector of this name, and return the verdict."""
    if variant == "reference":
        result = judge(Reference, TrialOptions(seed, each), variant, lambda *_: "")
    else:
        found = load(SLOW)
        options = TrialOptions(seed, each, (), found.shape)
        result = judge(found.under("out-of-order"), options, variant, lambda *_: "")
    return result.verdict


def _attempt(bench: Bench, variant: str, each: int) -> Attempt:
    # What starts the processes, and what they import, is not timed.
    pool = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))
    list(pool.map(judged, [variant] * PROCESSES, range(PROCESSES), [1] * PROCESSES))
    verdicts: list[str] = []

    def run() -> None:
        seeds = range(bench.seed, bench.seed + PROCESSES)
        verdicts.extend(pool.map(judged, [variant] * PROCESSES, seeds, [each] * PROCESSES))

    def check() -> str | None:
        wrong = {verdict for verdict in verdicts if verdict != "pass"}
        return f"a right projector gets {wrong}" if wrong or len(verdicts) != PROCESSES else None

    return Attempt(run, check, pool.shutdown)
