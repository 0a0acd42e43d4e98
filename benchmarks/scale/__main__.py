"""A history of many changes through the whole lab, and one of its projections rebuilt on many workers.

    python -m benchmarks.scale --changes 1e8

A file of orders that change is written, and run like any file of one's own, at several sizes up to `--changes`:
modelled times, messages on, into `duckdb.columnar` and `parquet.files`. Each run has to pass its checks within
`--memory`. Then the history is loaded once more, and a projection is rebuilt as a whole and in ranges of keys: both
must have the digest of the run. Ten times as many changes are told from the runs, not measured. What is done is kept in
`--folder`.

The exit status is 1 if a verdict, a digest or the memory isn't as it must be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import own
from lab.cli.shared import progress_bar
from lab.ending import run
from lab.experiment.progress import Progress
from lab.experiment.write import Replay
from lab.formatting import duration, size
from lab.place import FolderPlace
from lab.planning.laws import Foretold, MeasuredRun, law_of
from lab.runs import Run, load_run
from lab.scenario import Source
from lab.spill import Spill, spilling
from lab.sweeps.sharded import rebuild_sharded
from lab.wiring import Plan, plan

STORES = ("duckdb.columnar", "parquet.files")
# Each history is so many times as large as the one before.
TIMES, SIZES = 10, 4


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The words of the command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--changes", type=float, default=1e8)
    parser.add_argument("--memory", type=float, default=4e9, help="bytes that a run may take at its peak")
    parser.add_argument("--ranges", type=int, default=4, help="ranges of keys of the rebuild on many workers")
    parser.add_argument("--executor", default="local", help="who rebuilds them; as of lab sweep")
    parser.add_argument("--store", default=STORES[1], choices=STORES, help="which projection is rebuilt")
    parser.add_argument("--folder", type=Path, default=Path("build/scale"))
    return parser.parse_args(words)


def sizes(changes: int) -> list[int]:
    """Return the numbers of changes that are run, the largest last; a thousand at least."""
    return [one for one in (changes // TIMES**power for power in reversed(range(SIZES))) if one >= 1_000]


def whole_run(folder: Path, changes: int) -> Run:
    """Return the run of so many changes, carried out in a process of its own unless it is there."""
    home = folder / f"{changes}"
    done = home / "runs" / "own"
    if not (done / "latest").exists():
        scenario = own.written(home, changes, STORES)
        words = [sys.executable, "-m", "lab", "run", str(scenario), "--runs", str(home / "runs")]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    return load_run("own", home / "runs")


def entry(found: Run, store: str) -> dict[str, Any]:
    """What the manifest says of the projection in a store."""
    return next(each for each in found.manifest["projections"] if each["store"] == store)


def loaded(made: Plan, folder: Path, progress: Progress) -> Path:
    """Return the folder of a source of truth that holds the whole history; it is made anew unless it is whole."""
    place, whole = FolderPlace(folder / "truth"), folder / "truth-is-whole"
    if whole.exists():
        return place.folder
    shutil.rmtree(place.folder, ignore_errors=True)
    with spilling(Spill(folder / "spill")):
        progress.step("reading the history", 1)
        trace = made.domain.trace(made.options)
        progress.step("loading the source of truth", trace.changes)
        truth = made.truth(place)
        try:
            Replay(truth, trace.frames).finish(progress.done)
        finally:
            truth.close()
    whole.touch()
    return place.folder


def rebuilt(
    given: argparse.Namespace, folder: Path, changes: int, progress: Progress
) -> Iterator[tuple[str, str, float]]:
    """Rebuild a projection as a whole and in ranges; yield what it was, the digest, and the seconds that it took."""
    source = Source(folder / f"{changes}" / "own.toml")
    made, name = plan(source), given.store.replace(".", "-")
    truth = loaded(made, folder / f"{changes}", progress)
    for ranges, executor in ((1, "local:1"), (given.ranges, given.executor)):
        place, began = folder / f"rebuilt-{ranges}", time.perf_counter()
        found = rebuild_sharded(made, name, truth, place, ranges, executor, progress)
        seconds = time.perf_counter() - began
        shutil.rmtree(place)
        yield f"{ranges} ranges by {executor}" if ranges > 1 else "as a whole", found, seconds


def foretold(runs: Sequence[Run], changes: float) -> list[Foretold]:
    """Return the wall time and the peak of memory that one more run with so many changes would take."""
    measured = [
        MeasuredRun(
            each.name, each.manifest["changes"], each.manifest["changes"], each.manifest["wall_seconds"],
            {"wall time": each.manifest["wall_seconds"], "memory": each.manifest["peak_rss_bytes"]},
        )
        for each in runs
    ]  # fmt: skip
    return [law_of(measured, name, unit).at(changes) for name, unit in (("wall time", "s"), ("memory", "bytes"))]


def said(told: Foretold) -> str:
    """Return a foretold figure in words."""
    shape = size if told.unit == "bytes" else duration
    if told.value is None:
        return f"{told.quantity}: not told, {told.reason}"
    return f"{told.quantity}: {shape(told.value)} ({shape(told.low)} to {shape(told.high)})"


def main() -> None:
    """Run it all, print what came of it, and exit."""
    given = arguments(sys.argv[1:])
    given.folder.mkdir(parents=True, exist_ok=True)
    changes, good, runs = int(given.changes), True, []
    for one in sizes(changes):
        found = whole_run(given.folder, one)
        peak, verdict = found.manifest["peak_rss_bytes"], found.manifest["verdict"]
        good &= verdict == "pass" and peak <= given.memory
        seconds = duration(found.manifest["wall_seconds"])
        print(f"{one:>13,} changes: {verdict}, {seconds}, {size(peak)} of memory at the peak", flush=True)
        runs.append(found)
    must = entry(runs[-1], given.store)["digest"]
    with progress_bar() as progress:
        for what, digest, taken in rebuilt(given, given.folder, changes, progress):
            good &= digest == must
            word = "the digest of the run" if digest == must else f"ANOTHER DIGEST than the run: {digest}"
            print(f"{given.store} rebuilt {what}: {duration(taken)}, {word}", flush=True)
    print(f"on paper, EXTRAPOLATED to {TIMES * changes:,} changes:")
    for told in foretold(runs, TIMES * changes):
        print(f"  {said(told)}")
    print(json.dumps({"good": good, "runs": [str(each.path) for each in runs]}))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    run(main)
