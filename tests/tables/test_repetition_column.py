"""A run of several repetitions: one folder, and a view of each repetition that is like a run of its own."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from fake_run import fake_run
from repeated import merged, repeated

from lab.runs import DamagedRun, Run, load_run
from lab.tables import ALWAYS, REPETITION, TABLES


def test_a_view_has_the_tables_and_the_manifest_of_its_repetition_alone(tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", 300, seed, wall_seconds=float(seed)) for seed in (5, 6, 7)]
    run = load_run(merged(tmp_path / "fake" / "repeated", parts).path)
    assert run.repetitions == 3
    for number, part in enumerate(parts, 1):
        view = run.repetition(number)
        assert view.repetitions == 1
        assert view.first is view
        assert view.manifest["seed"] == part.manifest["seed"]
        assert view.manifest["wall_seconds"] == part.manifest["wall_seconds"]
        assert "repetitions" not in view.manifest
        for name in TABLES:
            assert view.table(name).equals(part.table(name)), name
            assert view.has(name) == part.has(name), name
        with view.scanned("lag") as mine, part.scanned("lag") as theirs:
            assert mine.collect().equals(theirs.collect())


def test_the_tables_of_all_repetitions_have_their_number_at_the_end(tmp_path: Path) -> None:
    run = repeated(tmp_path)
    for name in ALWAYS:
        found = run.table(name)
        assert list(found.columns) == [*TABLES[name].types, REPETITION]
        assert found[REPETITION].unique().sort().to_list() == [1, 2, 3]
    assert run.table("faults").schema == pl.Schema(TABLES["faults"].types | {REPETITION: pl.Int64()})
    assert not run.has("faults")
    assert not run.first.has("faults")


def test_an_optional_table_is_there_in_the_repetitions_that_have_rows_of_it(tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", 300, seed) for seed in (1, 2)]
    row = dict.fromkeys(TABLES["parked"].types) | {"projection": "naive"}
    TABLES["parked"].frame([row]).write_parquet(parts[1].path / "parked.parquet")
    run = merged(tmp_path / "fake" / "repeated", parts)
    assert run.has("parked")
    assert not run.first.has("parked")
    assert run.repetition(2).has("parked")
    assert run.first.table("parked").is_empty()
    assert run.repetition(2).table("parked").height == 1


def test_a_plain_run_is_its_own_first_repetition(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    assert run.repetitions == 1
    assert run.first is run
    with pytest.raises(ValueError, match="has 1 repetition: there is no number 2"):
        run.repetition(2)


@pytest.mark.parametrize("wrong", [[], [{"seed": 1}], [{"seed": 1}, {"seed": "x"}], {}, 3])
def test_a_manifest_with_other_repetitions_than_the_lab_writes_is_damaged(tmp_path: Path, wrong: object) -> None:
    run = repeated(tmp_path)
    file = run.path / "manifest.json"
    file.write_text(json.dumps(run.manifest | {"repetitions": wrong}))
    with pytest.raises(DamagedRun, match="repetitions"):
        load_run(run.path)


def test_a_table_without_the_numbers_is_damaged(tmp_path: Path) -> None:
    run = repeated(tmp_path)
    run.table("rebuild").drop(REPETITION).write_parquet(run.path / "rebuild.parquet")
    with pytest.raises(DamagedRun):
        Run(run.path).first.table("rebuild")
