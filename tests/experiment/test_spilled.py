"""A run whose history, journals and tables are spilled to disk and looked at in small blocks is the run in memory."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import polars as pl
import pytest
from running import run_text, shipped

from lab import spill
from lab.domain import trace
from lab.domain.trace import delimited, frame, instants, raw, typed
from lab.experiment import write
from lab.feed import published
from lab.projection import rebuild
from lab.runs import Run
from lab.scenario import Source
from lab.statistics import grouped
from lab.verdict import oracle
from lab.wiring import plan

pytestmark = pytest.mark.usefixtures("untried")

# Tables of wall time differ from run to run.
WALL = {"writes", "rebuild", "rebuilds", "queries", "query_samples", "beside", "work", "fan_out"}

OWN = """
schema = 1
name = "mine"
seed = 7

[domain]
name = "trace"
time_scale = 100.0

[[domain.entity]]
name = "order"
file = "orders.csv"
key = ["number"]
time = "at"
deleted = "gone"

[[domain.entity]]
name = "customer"
file = "customers.csv"
key = ["code"]
time = "at"

[truth]
model = "history"

[channel]
delay = { kind = "lognormal", mean = 0.3, sigma = 1.0 }
duplicate = 0.2
lose = 0.05
reorder = { share = 0.2, extra = { kind = "exponential", mean = 1.0 } }
outages = [{ at = 3.0, lasts = 2.0 }, { at = 8.0, lasts = 1.0, loses = true }]

[time]
service = "modelled"
model = { per_batch = 0.01, per_row = 0.001 }

[measure]
samples = 2
warm_up = 0
blocks = 0
budget = 0.001
trials = false

[readers]
sessions = 20

[[projection]]
name = "table"
store = "sqlite.table"
guard = "revision"
batch = 30

[[projection]]
name = "orders-only"
store = "duckdb.columnar"
guard = "dedupe"
entities = ["order"]
subscribe = "channel"
expect = "fail"

[[projection]]
name = "log"
store = "parquet.log"
guard = "dedupe"
"""


@pytest.fixture
def spilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be is on disk, and every cut falls somewhere within these small runs."""
    for module, name, value in (
        (spill, "LEAST_BYTES", 1), (spill, "LEAST_OWN_BYTES", 1), (spill, "ROWS", 60), (published, "ROWS", 60),
        (grouped, "BLOCK", 77), (grouped, "TOGETHER", 90), (write, "LOADED_AT_ONCE", 150),
        (oracle, "ROWS", 60), (delimited, "ROWS", 60), (frame, "ROWS", 60), (raw, "ROWS", 60), (typed, "ROWS", 60),
        (instants, "BLOCK", 60),
        (rebuild, "PILE", 70), (rebuild, "PAGE", 50), (rebuild, "ROWS_AT_ONCE", 33),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


def told(run: Run) -> dict[str, pl.DataFrame]:
    """The tables that the seed decides, but for what the stores measured."""
    found = {file.stem: pl.read_parquet(file) for file in sorted(run.path.glob("*.parquet")) if file.stem not in WALL}
    return {name: table.drop([one for one in table.columns if one.endswith("_bytes")]) for name, table in found.items()}


def files(folder: Path) -> None:
    """Orders that change and are deleted, and customers; some rows come at the same time, some before those above."""
    chance = random.Random(3)
    with (folder / "orders.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["number", "at", "status", "total", "gone"])
        for row in range(900):
            status = chance.choice(["placed", "a status of more than twelve bytes", ""])
            at = 1_700_000_000 + row + chance.choice([0, 0, -40])
            out.writerow([chance.randrange(150), at, status, chance.randrange(10_000) / 100, chance.randrange(20) == 0])
    with (folder / "customers.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["code", "at", "name"])
        out.writerows((f"c{row % 40}", 1_700_000_000 + 9 * row, f"Name {row}") for row in range(100))


@pytest.mark.parametrize("model", ["history", "snapshot", "events"])
def test_a_run_of_own_data_is_the_same(tmp_path: Path, request: pytest.FixtureRequest, model: str) -> None:
    text = OWN.replace('model = "history"', f'model = "{model}"')
    if model == "snapshot":
        # It publishes no revision that has been overwritten.
        text = text.replace('store = "parquet.log"\nguard = "dedupe"', 'store = "parquet.files"\nguard = "revision"')

    def once(name: str) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        files(folder)
        return run_text(folder, text)

    must = once("memory")
    request.getfixturevalue("spilled")
    same(once("disk"), must)


def test_a_scenario_is_planned_without_its_rows_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it declares neither columns nor queries, the file is read before there is a run."""
    files(tmp_path)
    (tmp_path / "own.toml").write_text(OWN)
    folders, read = [], trace.read

    def watched(*given):  # type: ignore[no-untyped-def]
        folders.append(spill.here().folder)
        return read(*given)

    monkeypatch.setattr(trace, "read", watched)
    planned = plan(Source(tmp_path / "own.toml"))
    assert planned.queries
    assert len(folders) > 1
    assert all(folder is not None and not folder.exists() for folder in folders)


@pytest.mark.parametrize("name", ["poison", "rebuild-under-fire", "gaps"])
def test_a_shipped_run_is_the_same(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    quick = (
        "measure.trials=false",
        "measure.budget=0.001",
        "measure.blocks=0",
        "workload.commands=3000",
        "domain.records=200",
    )
    must = shipped(name, tmp_path / "memory", *quick)
    request.getfixturevalue("spilled")
    same(shipped(name, tmp_path / "disk", *quick), must)


def same(found: Run, must: Run) -> None:
    assert [one["digest"] for one in found.manifest["projections"]] == [
        one["digest"] for one in must.manifest["projections"]
    ]
    tables, right = told(found), told(must)
    assert tables.keys() == right.keys()
    for name, table in right.items():
        assert tables[name].equals(table), name
    assert not list((found.path).rglob("spill"))
