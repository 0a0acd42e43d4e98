"""`python -m benchmarks.repeated same` and `... planted`: real runs, compared by `lab compare`, and counted.

`same` runs one scenario against itself, in pairs, and counts the figures that are called different; that must be at
most 5 %. `planted` makes one store slower by a factor in the second run of each pair, and counts how often it is found;
at 10 % and ten repetitions that must be at least 95 %. The machine should have nothing else to do.

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
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.repeated.planted import FACTOR, registered
from lab import ending
from lab.report import compare
from lab.report.judged import DIFFERENT, NO_DIFFERENCE
from lab.runs import Run, load_run

ROOT = Path(__file__).parents[2]
# A repetition takes about three seconds.
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
samples = 40
blocks = 2
budget = 0.15
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
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=10, help="repetitions of each run")
    parser.add_argument("--factor", type=float, default=1.1, help="how many times slower the planted store is")
    parser.add_argument("--folder", type=Path, default=Path("runs-of-benchmarks"), help="where the runs are kept")
    return parser.parse_args(words)


def pairs(chosen: argparse.Namespace, registry: Path) -> Iterator[tuple[Run, Run]]:
    """Run each pair, one run after the other, as a user does; in every other pair the second one is run first."""
    factor = 1.0 if chosen.what == "same" else chosen.factor
    for number in range(1, chosen.pairs + 1):
        made: dict[str, Run] = {}
        for which in ("a", "b") if number % 2 else ("b", "a"):
            name = f"{chosen.what}-{chosen.repeat}-{factor:g}-{number}{which}"
            made[which] = run_of(name, chosen, registry, factor if which == "b" else 1.0)
        yield made["a"], made["b"]


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


def rows(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every figure of a comparison that was judged: its projection, its quantity, its row."""
    for one in result["lag"]:
        yield from ((one["projection"], f"lag {part}", one[part]) for part in ("p50", "p99"))
    for name in ("rebuild", "disk"):
        yield from ((one["projection"], name, one) for one in result[name])
    for quantile, asked in (("p50", result["queries"]), ("p99", result["queries_p99"])):
        yield from ((one["projection"], f"query {quantile} {one['temperature']}", one) for one in asked)


def counted(what: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count the figures, and the pairs, that are called different; of a planted store apart from the others."""
    figures: Counter[tuple[str, str, str]] = Counter()
    found: Counter[str] = Counter()
    for result in results:
        pair: Counter[str] = Counter()
        for name, quantity, row in rows(result):
            if row["verdict"] in (DIFFERENT, NO_DIFFERENCE):
                owner = "planted" if what == "planted" and name == "planted" else "others"
                figures[owner, quantity, "judged"] += 1
                figures[owner, quantity, "different"] += row["verdict"] == DIFFERENT
                pair[f"{owner}: slower"] += row["verdict"] == DIFFERENT and row["ratio"] > 1
                pair[f"{owner}: any"] += row["verdict"] == DIFFERENT
        found.update(name for name, count in pair.items() if count)
        found["control moved"] += result["control"]["moved"]
    return {
        "pairs": len(results),
        "pairs in which": dict(found),
        "figures": {
            owner: {
                quantity: f"{figures[owner, quantity, 'different']} of {figures[owner, quantity, 'judged']}"
                for quantity in sorted({one for who, one, _ in figures if who == owner})
            }
            | {"all": _all(figures, owner)}
            for owner in sorted({who for who, _, _ in figures})
        },
    }


def _all(figures: Counter[tuple[str, str, str]], owner: str) -> str:
    several = {
        end: sum(count for (who, _, what), count in figures.items() if (who, what) == (owner, end))
        for end in ("different", "judged")
    }
    share = several["different"] / several["judged"] if several["judged"] else 0.0
    return f"{several['different']} of {several['judged']} ({share:.1%})"


def main(words: Sequence[str] | None = None) -> int:
    """Run the pairs and print the counts, after each pair and at the end."""
    chosen = arguments(sys.argv[1:] if words is None else words)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        registry = registered(Path(folder) / "registry")
        for one, other in pairs(chosen, registry):
            results.append(compare(one, other))
            control = results[-1]["control"]
            called = [
                f"{name} {what}: {row['says']}" for name, what, row in rows(results[-1]) if row["verdict"] == DIFFERENT
            ]
            print(f"pair {len(results)}: control {control['ratio']:.3f}; {'; '.join(called) or 'nothing'}", flush=True)
    print(json.dumps(counted(chosen.what, results), indent=2))
    return 0


if __name__ == "__main__":
    ending.run(main)
