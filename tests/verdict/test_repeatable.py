"""What a run finds and how it tells it depends on the scenario and its seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
from texts import BASE

# Everything that can fail in one run: guards that are too weak, lost messages, a torn checkpoint, a full hold.
PROJECTIONS = (
    ("records", "none", "channel", ""),
    ("records", "dedupe", "both", ""),
    ("revisions", "none", "channel", ""),
    ("totals", "none", "both", ""),
    ("records", "revision", "catch-up", 'checkpoint = "before-data"\n'),
    ("records", "revision", "catch-up", 'rebuild = { at = 1.0, mode = "in-place" }\n'),
)
TEXT = BASE.replace("rebuild = false", "rebuild = true") + "".join(
    f'[[projection]]\nname = "p{number}"\nstore = "{store}"\nkeeps = "{keeps}"\nguard = "{guard}"\nbatch = 25\n'
    f'subscribe = "{subscribe}"\n{more}'
    for number, (store, (keeps, guard, subscribe, more)) in enumerate(
        zip(("memory", "sqlite.table") * 3, PROJECTIONS, strict=True)
    )
)
OVERRIDES = (
    "channel.reorder.share=0.5",
    "channel.lose=0.2",
    "faults.crash=0.1",
    "domain.records=100",
    "workload.commands=300",
)
# A store whose answers are outdated, so that what is told of them is compared too.
CHILD = """
import sys
from pathlib import Path
from lab.experiment import run
from lab.scenario import Source
from lab.stores.memory import Memory
from lab.wiring import plan
right = Memory.query
def query(self, query, parameters):
    known = self.__dict__.setdefault("known", {})
    return known.setdefault((query.name, tuple(parameters)), right(self, query, parameters))
Memory.query = query
path, root, *overrides = sys.argv[1:]
run(plan(Source(Path(path), tuple(overrides))), Path(root), report=False)
"""


def test_verdicts_and_witnesses_do_not_depend_on_the_process(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    started = {}
    for place, (seed, threads) in enumerate((("1", "1"), ("2", "4"))):
        environment = os.environ | {"PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads, "PYTHONWARNINGS": ""}
        root = tmp_path / f"runs{place}"
        command = [sys.executable, "-c", CHILD, str(tmp_path / "mine.toml"), str(root), *OVERRIDES]
        started[root] = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    found = []
    for root, process in started.items():
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()
        folder = root / "faulty" / "latest"
        found.append(
            {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("verdicts", "witnesses", "midrun")}
        )
    verdicts = found[0]["verdicts"].filter(verdict="fail")
    assert verdicts["check"].n_unique() >= 10, sorted(verdicts["check"].unique())
    for name, frame in found[0].items():
        assert frame.equals(found[1][name]), name
