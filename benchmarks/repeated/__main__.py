"""`python -m benchmarks.repeated same` and `... planted`: real runs, compared by `lab compare`, and counted.

`same` compares runs of one scenario, each with each, and counts the figures that are called different; that must be at
most 5 % of them. `planted` makes as many runs more, in which one store is slower by a factor, compares each of the
first with each of these, and counts for each of the store's figures how often that is found. At a factor of 1.1 and ten
repetitions, that must be at least 95 % for its queries, hot and cold. The machine should have nothing else to do. The
exit status is 1 if a target is missed; `benchmarks/repeated/counting.py` has them.

Pairs that have a run in common are not independent: a share over them has a wider interval than that which is printed.

Runs are kept in `--folder`, and are not run again if they are there: what was interrupted goes on, and what was changed
in the judgement can be counted anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.repeated.counting import (
    FACTOR_LEAST,
    REPETITIONS_LEAST,
    Target,
    called,
    counted,
    document,
    so_far,
    targets,
)
from benchmarks.repeated.planted import FACTOR, registered
from lab import ending
from lab.report import compare
from lab.runs import Run, load_run

ROOT = Path(__file__).parents[2]
# A repetition takes about eight seconds.
SCENARIO = """
schema = 1
name = "NAME"
seed = 1087
[domain]
name = "employees"
records = 500
[workload]
commands = 3_000
rate = 1_000.0
deletes = 0.02
[truth]
model = "history"
[channel]
delay = { kind = "exponential", mean = 0.02 }
[measure]
samples = 160
blocks = 8
budget = 0.6
trials = false
[[projection]]
name = "directory"
store = "sqlite.table"
linger = 0.05
[[projection]]
name = "planted"
store = "planted.table"
linger = 0.05
[[projection]]
name = "keyed"
store = "lmdb.keyvalue"
linger = 0.05
[[projection]]
name = "harness"
store = "null"
linger = 0.05
expect = "unknown"
"""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeated", description=__doc__)
    parser.add_argument("what", choices=("same", "planted"))
    parser.add_argument(
        "--runs", type=_at_least(2, int), default=10, help="of the scenario; for `planted`, of either kind"
    )
    # Runs of one repetition are not judged.
    parser.add_argument("--repeat", type=_at_least(2, int), default=10, help="repetitions of each run, 2 or more")
    parser.add_argument(
        "--factor", type=_at_least(1, float), default=1.1, help="how many times slower the planted store is"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs-of-benchmarks"), help="where the runs are kept")
    return parser.parse_args(words)


def _at_least(least: int, kind: type[int] | type[float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            found = kind(text)
        except ValueError:
            found = least - 1
        if not least <= found < 1_000_000:
            raise argparse.ArgumentTypeError(f"{text!r} is not valid: a number, {least} or more")
        return found

    return number


def pairs(chosen: argparse.Namespace, factor: float, registry: Path) -> Iterator[tuple[Run, Run]]:
    """Yield each pair that a new run makes with those before it; runs of both kinds take turns, either one first."""

    def made(kind: str, number: int) -> Run:
        name = f"{chosen.what}-{chosen.repeat}-{factor:g}-{number}{kind}"
        return run_of(name, chosen, registry, factor if kind == "b" else 1.0)

    runs: dict[str, list[Run]] = {"a": [], "b": []}
    for number in range(1, chosen.runs + 1):
        if chosen.what == "same":
            new = made("a", number)
            yield from ((one, new) for one in runs["a"])
            runs["a"].append(new)
            continue
        for kind in ("a", "b") if number % 2 else ("b", "a"):
            new = made(kind, number)
            yield from ((one, new) if kind == "b" else (new, one) for one in runs["b" if kind == "a" else "a"])
            runs[kind].append(new)


def run_of(name: str, chosen: argparse.Namespace, registry: Path, factor: float) -> Run:
    """The run of this name, if it is there; else it is run, in a process of its own."""
    name = name.replace(".", "_")
    runs = (chosen.folder / "runs").absolute()
    if not (runs / name / "latest" / "manifest.json").is_file():
        runs.mkdir(parents=True, exist_ok=True)
        (runs.parent / f"{name}.toml").write_text(SCENARIO.replace("NAME", name))
        environment = os.environ | {FACTOR: str(factor), "PYTHONPATH": os.pathsep.join((str(registry), str(ROOT)))}
        words = ["run", f"{name}.toml", "--repeat", str(chosen.repeat), "--runs", str(runs)]
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words], cwd=runs.parent, env=environment, capture_output=True
        )
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr.decode(errors='replace')[-2_000:]}")
    return load_run(name, runs)


def main(words: Sequence[str] | None = None) -> int:
    """Compare the pairs; print the counts so far after each, and all of them at the end. Returns the exit status."""
    chosen = arguments(sys.argv[1:] if words is None else words)
    factor = 1.0 if chosen.what == "same" else chosen.factor
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        registry = registered(Path(folder) / "registry")
        for one, other in pairs(chosen, factor, registry):
            results.append(compare(one, other))
            control = factor_of(results[-1]["control"]["ratio"])
            print(f"pair {len(results)}: control {control}; {'; '.join(called(results[-1])) or 'no difference'}")
            print(f"  so far: {so_far(chosen.what, results)}", flush=True)
    print(json.dumps(document(chosen.what, factor, chosen.repeat, results), indent=2))
    return told(targets(chosen.what, factor, chosen.repeat, counted(results)))


def factor_of(ratio: float | None) -> str:
    """Format what the control did."""
    return "not known" if ratio is None else f"{ratio:.3f}"


def told(found: Sequence[Target]) -> int:
    """Print the targets, and return the exit status: 1 if one of them is missed."""
    for one in found:
        print(f"{'met' if one.met else 'MISSED'}: {one.what}: {one.found}")
    if not found:
        print(
            f"no target: a factor of {FACTOR_LEAST:g} and {REPETITIONS_LEAST} repetitions are the least that have one"
        )
    return 0 if all(one.met for one in found) else 1


if __name__ == "__main__":
    ending.run(main)
