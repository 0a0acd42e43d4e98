"""A rebuild in ranges of keys: the same content as the whole, whoever carries it out, and what can't be divided."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeping import Inline

from lab.base import BadInput
from lab.experiment import run
from lab.experiment.write import Replay, write
from lab.place import FolderPlace
from lab.projection.rebuild import rebuild
from lab.scenario import Source
from lab.sweeps import sharded
from lab.sweeps.sharded import digest_of, rebuild_sharded
from lab.wiring import Plan, plan

TEXT = """\
schema = 1
name = "divided"
seed = 3
domain = { name = "employees", records = 60 }
workload = { commands = 500, rate = 1000.0, deletes = 0.1 }
truth = { model = "MODEL" }
time = { service = "modelled" }
measure = { trials = false, samples = 1, truth = false }
query = []

[[projection]]
name = "table"
store = "sqlite.table"

[[projection]]
name = "files"
store = "parquet.files"

[[projection]]
name = "every"
store = "duckdb.columnar"
keeps = "KEEPS"

[[projection]]
name = "sheets"
store = "sqlite.document"

[[projection]]
name = "payroll"
store = "sqlite.table"
keeps = "totals"
totals = "payroll"
"""


def inline() -> Inline:
    """The executor of the tests that need no process."""
    return Inline()


def scenario(model: str = "history", alone: bool = False) -> Plan:
    """The scenario; `alone`: with its first projection and no other."""
    first = "[[projection]]".join(TEXT.split("[[projection]]")[:2])
    text = (
        (first if alone else TEXT)
        .replace("MODEL", model)
        .replace("KEEPS", "revisions" if model == "history" else "records")
    )
    return plan(Source(Path("divided.toml"), text=text))


def loaded(made: Plan, folder: Path) -> Path:
    """The folder of a source of truth with the whole history."""
    written = write(made, folder / "work", _Nothing())
    place = FolderPlace(folder / "truth")
    truth = made.truth(place)
    Replay(truth, written.events, written.published).finish()
    truth.close()
    return place.folder


class _Nothing:
    def step(self, name: str, total: float) -> None: ...
    def done(self, units: float) -> None: ...
    def say(self, warning: str) -> None: ...


def whole(made: Plan, name: str, truth: Path, folder: Path) -> tuple[str, int]:
    """The digest of one rebuild of everything, and its checkpoint."""
    (item,) = (each for each in made.projections if each.name == name)
    beside, store = made.truth_beside(FolderPlace(truth)), item.store(FolderPlace(folder))
    assert beside is not None
    store.open()
    rebuild(store, item.subscription(beside), item.table.guard)
    found = digest_of(store), store.checkpoint("employee")
    store.close()
    beside.close()
    return found


@pytest.mark.parametrize("model", ["history", "snapshot", "events"])
def test_ranges_come_to_what_the_whole_does(model: str, tmp_path: Path) -> None:
    made = scenario(model)
    truth = loaded(made, tmp_path)
    for name in ("table", "files", "every") if model == "history" else ("table",):
        must = whole(made, name, truth, tmp_path / f"{name}-whole")
        found = rebuild_sharded(made, name, truth, tmp_path / name, 3, "test_sharded:inline")
        (item,) = (each for each in made.projections if each.name == name)
        store = item.store(FolderPlace(tmp_path / name))
        store.open()
        assert (found, store.checkpoint("employee")) == must
        store.close()
    assert not list(tmp_path.glob("*-range-*"))


def test_two_processes_come_to_the_digest_of_a_run(tmp_path: Path) -> None:
    made = scenario(alone=True)
    truth = loaded(made, tmp_path)
    found = rebuild_sharded(made, "table", truth, tmp_path / "sharded", 2, "local:2")
    (entry,) = run(made, tmp_path / "runs").manifest["projections"]
    assert found == entry["digest"]


def test_a_range_that_is_missing_is_seen_by_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenario()
    truth = loaded(made, tmp_path)
    merged = sharded._merged
    monkeypatch.setattr(sharded, "_merged", lambda item, place, tasks, *rest: merged(item, place, tasks[::2], *rest))
    found = rebuild_sharded(made, "table", truth, tmp_path / "gapped", 3, "test_sharded:inline")
    assert found != whole(made, "table", truth, tmp_path / "whole")[0]


def test_more_ranges_than_records_are_empty_ones(tmp_path: Path) -> None:
    made = scenario()
    few = plan(Source(Path("divided.toml"), ("workload.commands=4", "domain.records=2"), None, made.source.text))
    truth = loaded(few, tmp_path)
    found = rebuild_sharded(few, "table", truth, tmp_path / "many", 7, "test_sharded:inline")
    assert found == whole(few, "table", truth, tmp_path / "whole")[0]


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="groups of records of all keys"):
        rebuild_sharded(scenario(), "payroll", tmp_path, tmp_path / "no", 2)
    with pytest.raises(BadInput, match="embed records of other keys"):
        rebuild_sharded(scenario(), "sheets", tmp_path, tmp_path / "no", 2)
    with pytest.raises(BadInput, match="no projection"):
        rebuild_sharded(scenario(), "other", tmp_path, tmp_path / "no", 2)
    with pytest.raises(BadInput, match="no source of truth"):
        rebuild_sharded(scenario(), "table", tmp_path / "nothing", tmp_path / "no", 2)
