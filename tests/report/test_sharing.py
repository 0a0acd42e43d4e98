"""What two runs share, and so can tell of the machine: nothing that anybody changed between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.base import TRUTH
from lab.report.sharing import machine_alike, sharing
from lab.runs import Run

SCENARIO = """
schema = 1
name = "fake"
seed = 1
[domain]
name = "employees"
records = 50
[workload]
commands = 400
[[projection]]
name = "directory"
store = "sqlite.table"
[[projection]]
name = "nothing"
store = "null"
expect = "unknown"
[[query]]
name = "by_id"
kind = "get"
entity = "employee"
"""
RATE, HOT, COLD, NULL = (
    ("rate", "", None),
    ("query_p50", TRUTH, "hot"),
    ("query_p50", TRUTH, "cold"),
    ("rebuild", "nothing", None),
)
ALL = {RATE, HOT, COLD, NULL}


def made(folder: Path, *overrides: str, text: str = SCENARIO, **manifest: Any) -> Run:
    folder = folder / str(len(list(folder.iterdir())))
    folder.mkdir()
    entries = [{"name": "directory", "store": "sqlite.table"}, {"name": "nothing", "store": "null"}]
    found = {
        "scenario": {"name": "fake", "file": "fake.toml", "text": text, "overrides": list(overrides)},
        "projections": entries, "versions": {"python": "3", "numpy": "2"}, "changes": 380, "domain": "employees",
        "truth": {"model": "snapshot", "engine": "sqlite"}, "durability": "normal",
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(found | manifest))
    return Run(folder)


def shared(a: Run, b: Run) -> set[tuple[str, str, str | None]]:
    both = sharing(a, b)
    return {figure for figure in ALL if both.changed(*figure) == []}


def test_the_same_scenario_shares_all_controls(tmp_path: Path) -> None:
    assert shared(made(tmp_path), made(tmp_path)) == ALL
    # In other words, and with another seed.
    said = SCENARIO.replace("records = 50", "records=50 # few").replace("seed = 1", "seed = 2")
    assert shared(made(tmp_path), made(tmp_path, "repeat=5", text=said)) == ALL
    assert shared(made(tmp_path), made(tmp_path, "channel.lose=0.1", "levels.rebuild=3.0")) == ALL


@pytest.mark.parametrize(
    ("override", "left"),
    [
        ("domain.records=60", set()),
        ("workload.skew=0.8", set()),
        ("workload.deletes=0.1", set()),
        ("truth.model=history", set()),
        ("truth.durability=full", set()),
        ("writers.count=4", set()),
        ("query.by_id.weight=2.0", {RATE, NULL}),
        ("measure.samples=7", {RATE, NULL}),
        ("measure.warm_up=0", {RATE, NULL}),
        ("catch_up.page=10", {RATE, HOT, COLD}),
        ("projection.nothing.batch=7", {RATE, HOT}),
        ("projection.directory.store=duckdb.columnar", {RATE, HOT, NULL}),
        ("projections=all", {RATE, HOT, NULL}),
    ],
)
def test_what_was_changed_is_not_shared(tmp_path: Path, override: str, left: set[tuple[str, str, str | None]]) -> None:
    assert shared(made(tmp_path), made(tmp_path, override)) == left
    assert shared(made(tmp_path, override), made(tmp_path)) == left


def test_another_query_is_not_shared(tmp_path: Path) -> None:
    text = SCENARIO.replace('kind = "get"', 'kind = "get_many"')
    assert shared(made(tmp_path), made(tmp_path, text=text)) == {RATE, NULL}
    both = sharing(made(tmp_path), made(tmp_path, text=text))
    assert both.changed(*HOT) == ["[[query]]"]
    assert both.changed("rebuild", "directory", None) is None


@pytest.mark.parametrize(
    "manifest",
    [
        {"versions": {"python": "4", "numpy": "2"}},
        {"changes": 381},
        {"data": {"employee": "ab"}},
        {"truth": {"model": "snapshot", "engine": "duckdb"}},
    ],
)
def test_what_the_scenario_does_not_tell_counts_too(tmp_path: Path, manifest: dict[str, Any]) -> None:
    assert shared(made(tmp_path), made(tmp_path, **manifest)) == set()


def test_files_whose_content_is_not_known_are_not_shared(tmp_path: Path) -> None:
    entity = '[domain]\nname = "trace"\n[[domain.entity]]\nname = "employee"\nfile = "e.csv"\nkey = ["id"]\n'
    text = SCENARIO.replace('[domain]\nname = "employees"\nrecords = 50\n', entity)
    assert shared(made(tmp_path, text=text), made(tmp_path, text=text)) == set()
    data = {"employee": "ab"}
    assert shared(made(tmp_path, text=text, data=data), made(tmp_path, text=text, data=data)) == ALL
    assert shared(made(tmp_path, text=text, data=data), made(tmp_path, text=text, data={"employee": "cd"})) == set()


def test_a_scenario_that_is_none_any_more_is_shared_word_for_word_alone(tmp_path: Path) -> None:
    for text in ("schema = 99", "not TOML ["):
        assert shared(made(tmp_path, text=text), made(tmp_path, text=text)) == ALL
        assert shared(made(tmp_path, text=text), made(tmp_path)) == set()


def test_the_calibration_loop_is_the_same_with_the_same_python_and_numpy(tmp_path: Path) -> None:
    assert machine_alike(made(tmp_path), made(tmp_path, versions={"python": "3", "numpy": "2", "duckdb": "9"}))
    assert not machine_alike(made(tmp_path), made(tmp_path, versions={"python": "3", "numpy": "3"}))
