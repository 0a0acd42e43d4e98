"""`python -m benchmarks.bench`: every row, in one run; `make bench` does that."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench import (
    apply,
    asked,
    catch_up,
    channel,
    events,
    growth,
    judging,
    memory,
    modelled,
    neighbour,
    partitioned,
    queries,
    rebuild,
    redis_store,
    report,
    server_stores,
    server_writes,
    writes,
)
from benchmarks.bench.data import FULL, QUICK, Bench
from benchmarks.bench.harness import Row, measure
from lab import ending
from lab.measure.machine import machine

GROUPS = (
    writes, server_writes, catch_up, apply, partitioned, rebuild, server_stores, redis_store, events, channel, modelled,
    queries, asked, neighbour, judging, memory, growth,
)  # fmt: skip


def every_row(bench: Bench) -> Iterator[Row]:
    """The rows of all groups, in the order of the table."""
    for group in GROUPS:
        yield from group.rows(bench)


def left_out(bench: Bench) -> dict[str, str]:
    """What this run has no figures for, and why."""
    servers = server_writes.left_out() | partitioned.left_out() | server_stores.left_out() | redis_store.left_out()
    return writes.left_out() | servers | memory.left_out(bench) | growth.left_out(bench)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, three rounds: under three minutes")
    parser.add_argument("--growth", action="store_true", help="rebuild ten times as many changes too: takes long")
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this: to see whether it works")
    parser.add_argument("--rounds", type=int, help="rounds that count")
    parser.add_argument("--seed", type=int, default=7, help="of the history, the order and the intervals")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        help="rows whose title begins so (`query_get, lmdb.keyvalue`); they take the place of those in results.json",
    )
    parser.add_argument("--out", type=Path, default=report.FOLDER, help="where results.json and results.md go")
    parser.add_argument("--headlines", action="store_true", help="write docs/benchmarks.md, measure nothing")
    chosen = parser.parse_args(words)
    if chosen.only and chosen.out == report.FOLDER and (chosen.quick or chosen.scale != 1):
        parser.error("rows of smaller sizes can't take their places in results.json: say with --out where they go")
    if chosen.only and (why := report.elsewhere(chosen.out, machine())):
        parser.error(why)
    return chosen


def run(bench: Bench, only: Sequence[str] = (), warm_up: bool = True) -> list[dict[str, Any]]:
    """Measure every row, or those whose name begins as `only` says; progress goes to standard error."""
    results = []
    for number, row in enumerate(every_row(bench)):
        if only and not row.title.startswith(tuple(only)):
            continue
        began = time.perf_counter()
        day = time.strftime("%Y-%m-%d", time.gmtime())
        where = machine() | {"load": os.getloadavg()[0], "day": day}
        found = measure(row, bench.size.rounds, bench.seed, bench.root / f"row{number}", warm_up)
        found["machine"] = where
        results.append(found)
        verdict = "met" if found["target_met"] else "; ".join(found["missed"])
        sys.stderr.write(f"{row.title}: {report.amount(found['lab'])} {row.unit}; {verdict}")
        sys.stderr.write(f" ({time.perf_counter() - began:.0f} s)\n")
    return results


def main(words: Sequence[str]) -> int:
    """Exit status 1 when a contestant's final state was wrong."""
    chosen = arguments(words)
    if chosen.headlines:
        report.write_headlines()
        return 0
    size = (
        (QUICK if chosen.quick else FULL).scaled(chosen.scale) if chosen.scale != 1 else QUICK if chosen.quick else FULL
    )
    size = replace(size, rounds=chosen.rounds or size.rounds)
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        bench = Bench(Path(folder), size, chosen.seed, chosen.growth)
        measured = results = run(bench, chosen.only)
        if chosen.only:
            # With the rows that take long, so that those measured before stay.
            whole = Bench(Path(folder), size, chosen.seed, growth=True)
            order = [(row.row, row.variant) for row in every_row(whole)]
            results = report.merged(report.read(chosen.out), measured, order)
        report.write(results, left_out(bench), chosen.out)
    for line in partitioned.foretold(measured):
        sys.stderr.write(f"{line}\n")
    return 0 if all(row["verified"] for row in measured) else 1


if __name__ == "__main__":
    ending.run(lambda: sys.exit(main(sys.argv[1:])))
