"""`projections = "all"`: every store that is installed, fed, judged and asked."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pieces import SCENARIO
from running import call, run_text, verdicts

from lab.scenario import Source
from lab.stores import embedded, store_class
from lab.wiring import Plan, plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

COMPARED = [name for name in embedded() if name not in ("memory", "null")]


def planned(folder: Path, *overrides: str) -> Plan:
    path = folder / "mine.toml"
    path.write_text(SCENARIO)
    return plan(Source(path, ("projections=all", *overrides)))


def test_each_store_has_a_projection_and_a_declared_one_stands_for_its_own(tmp_path: Path) -> None:
    found = {item.table.store: item for item in planned(tmp_path).projections}
    assert list(found) == COMPARED
    assert [item.name for item in found.values() if item.name != item.table.store.replace(".", "-")] == [
        "directory",
        "analytics",
    ]
    assert found["lmdb.keyvalue"].pace == found["sqlite.table"].pace, "fed like the first that is declared"
    assert all(item.layout.keeps == store_class(name).holds[0] for name, item in found.items())


def test_a_log_is_left_out_where_the_feed_does_not_show_every_revision(tmp_path: Path) -> None:
    found = planned(tmp_path, "truth.model=snapshot", "projection.payroll.guard=revision").projections
    logs = {name for name in COMPARED if store_class(name).holds[0] == "revisions"}
    assert logs
    assert {item.table.store for item in found} == set(COMPARED) - logs


def test_every_store_is_fed_rebuilt_and_answers_right(tmp_path: Path) -> None:
    small = ("projections=all", "workload.commands=300", "domain.records=60", "measure.samples=2")
    finished = run_text(tmp_path, SCENARIO, *small)
    assert list(verdicts(finished).values()) == ["pass"] * len(COMPARED)
    assert finished.table("rebuild")["store"].to_list() == COMPARED
    asked = finished.table("queries").filter(pl.col("projection") != "truth")
    assert asked["answer_ok"].all()
    assert set(asked["store"]) == set(COMPARED)


@pytest.mark.parametrize("wrong", ["every", "['sqlite.table']"])
def test_another_word_is_refused(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    found = call("validate", str(path), "--set", f"projections={wrong}")
    assert found.exit_code == 2
    assert "projections" in found.stderr
    assert "Traceback" not in found.output
