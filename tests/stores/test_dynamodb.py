"""The store in DynamoDB keeps the contract of every store, against an emulator, and what only DynamoDB does to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples

pytest.importorskip("boto3", reason="pip install 'polyglot-lab[aws]'")

from hypothesis import given
from hypothesis import strategies as st
from pieces import SCENARIO
from reachable import emulated_aws
from running import run_text

from lab.base import BadInput, Batch, CannotTake, Damaged, Unavailable
from lab.experiment.emulated import without_times
from lab.place import FolderPlace
from lab.report import compare, write_report
from lab.runs import Run
from lab.scenario import Source
from lab.servers.aws import SERVER
from lab.stores import dump, store_class
from lab.stores.dynamodb_parts import ITEM_BYTES, MARK, TOGETHER, put, together
from lab.tables import TABLES
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, content, item, items, layout
from lab.wiring import plan

NAME = "dynamodb.keyvalue"
CASES = list(store_cases(store_class(NAME)))
EMULATED = f"""{SCENARIO.partition("[[projection]]")[0]}
[[projection]]
name = "directory"
store = "sqlite.table"

[[projection]]
name = "cache"
store = "{NAME}"
"""


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[Any]:
    """An emulator of this module's own."""
    with emulated_aws() as one:
        yield one


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_store_in_dynamodb_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path) -> Any:
    made = store_class(NAME)(FolderPlace(folder), layout("records", dict(IDS)))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


class Cut(Exception):
    pass


def cut_after(store: Any, transactions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many transactions through, then break off."""
    through, sent = store._refused, [0]

    def refused(parts: Any) -> Any:
        if sent[0] == transactions:
            raise Cut
        sent[0] += 1
        return through(parts)

    monkeypatch.setattr(store, "_refused", refused)


# -- transactions ------------------------------------------------------------------------------------------------------


def test_a_batch_that_fits_lands_with_its_checkpoint_and_a_larger_one_before_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, larger = TOGETHER - 2, 3 * TOGETHER
    for count, lands in ((fits, 0), (larger, TOGETHER - 1)):
        store.reset()
        with monkeypatch.context() as patch:
            cut_after(store, 0 if count == fits else 1, patch)
            with pytest.raises(Cut):
                store.apply(Batch("item", items(*(item(key) for key in range(count))), 7))
        assert (dump(store, "item").height, store.checkpoint("item")) == (lands, 0)
        # What comes again finishes it.
        store.apply(Batch("item", items(*(item(key) for key in range(count))), 7))
        assert (dump(store, "item").height, store.checkpoint("item")) == (count, 7)


@given(st.lists(st.integers(0, 300_000), max_size=250))
def test_transactions_hold_a_hundred_items_and_four_megabytes_at_most_in_order(sizes: list[int]) -> None:
    parts = [put((str(at), b"-"), bytes(size)) for at, size in enumerate(sizes)]
    cut = list(together(parts))
    assert [one for some in cut for one in some] == parts
    assert all(0 < len(some) < TOGETHER for some in cut)
    assert all(sum(len(one["Put"]["Item"]["v"]["B"]) for one in some) <= 4_000_000 for some in cut)


def test_one_row_that_is_older_than_what_is_there_keeps_no_other_from_landing(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 5, label="new")), 1))
    store.apply(Batch("item", items(item(1, 3, label="old"), item(2, label="other")), 2))
    assert dump(store, "item").select("key", "revision", "label").rows() == [(1, 5, "new"), (2, 1, "other")]
    assert store.checkpoint("item") == 2


def test_without_the_condition_an_old_row_comes_through(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def whatever(name: Any, value: bytes, revision: int, **more: Any) -> Any:
        return put(name, value, r={"N": str(revision)}, **more)

    monkeypatch.setattr("lab.stores.dynamodb_keyvalue.put_newer", whatever)
    store.apply(Batch("item", items(item(1, 5)), 1))
    store.apply(Batch("item", items(item(1, 3)), 2))
    assert store.revisions("item", [1]) == {1: 3}


def test_a_writer_that_was_replaced_changes_nothing_more(store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(tmp_path / "store")
    before = content(other)
    for attempt in (lambda: store.apply(Batch("item", items(item(2)), 2)), store.reset, lambda: store.bulk("item", [])):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            attempt()
        assert content(other) == before
    store.close()
    store.open()
    store.apply(Batch("item", items(item(2)), 2))
    with pytest.raises(Unavailable):
        other.apply(Batch("item", items(item(3)), 3))
    other.close()


@pytest.mark.parametrize("verb", ["reset", "bulk"])
def test_what_was_interrupted_is_emptied_when_it_is_opened(
    verb: str, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = items(*(item(key) for key in range(250)))
    if verb == "reset":
        store.apply(Batch("item", rows, 4))
    with monkeypatch.context() as patch:
        cut_after(store, 2, patch)
        with pytest.raises(Cut):
            store.reset() if verb == "reset" else store.bulk("item", [Batch("item", rows, 4)])
    assert store._found([MARK])
    store.close()
    store.open()
    assert (dump(store, "item").height, store.checkpoint("item")) == (0, 0)
    assert not store._found([MARK])


# -- limits and ends ---------------------------------------------------------------------------------------------------


def test_an_item_that_is_too_large_is_refused_before_anything_is_written(store: Any) -> None:
    before = content(store)
    large = items(item(1), item(2, label="x" * ITEM_BYTES))
    with pytest.raises(CannotTake, match="DynamoDB takes up to 409,600"):
        store.apply(Batch("item", large, 3))
    assert content(store) == before


def test_a_table_that_is_gone_is_damage(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    SERVER.remove(store._known)
    with pytest.raises(Damaged) as gone:
        store.revisions("item", [1])
    assert store.damaged(gone.value)
    store.close()
    store.open()
    assert store.checkpoint("item") == 0


def test_a_server_that_is_away_is_said_without_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_AWS", "http://key:hunter2@127.0.0.1:1?region=eu-central-1")
    with pytest.raises(Unavailable) as away:
        store_of(tmp_path / "away")
    assert "hunter2" not in str(away.value)


# -- scenarios ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("projection.cache.guard=dedupe", "a large batch in several transactions, so a crash can separate a row from"),
        ("projection.cache.guard=none", "refuses older revisions itself"),
        ("projection.cache.keeps=totals", "a crash can separate an increment from the checkpoint"),
    ],
)
def test_what_transactions_of_a_hundred_items_can_t_keep_is_refused(setting: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text(EMULATED)
    with pytest.raises(BadInput) as refused:
        plan(Source(file, (setting,)))
    assert said in str(refused.value)


def with_rows(run: Run, projection: str) -> set[str]:
    """The tables that have a row of a projection."""
    frames = {path.stem: pl.read_parquet(path) for path in run.path.glob("*.parquet")}
    return {
        name
        for name, frame in frames.items()
        if "projection" in frame.columns and frame.filter(projection=projection).height
    }


def test_a_run_has_verdicts_of_an_emulated_store_and_no_times(quick: None, tmp_path: Path) -> None:
    run = run_text(tmp_path, EMULATED, "workload.commands=300", "domain.records=30", "measure.samples=3")
    entries = {entry["name"]: entry for entry in run.manifest["projections"]}
    assert (entries["cache"]["level"], entries["directory"]["level"]) == ("emulated", "real")
    assert entries["cache"]["verdict"] == "pass"
    assert with_rows(run, "cache") <= {"accounting", "deliveries", "verdicts"}
    assert {"lag", "lag_summary", "queries", "rebuild", "verdicts"} <= with_rows(run, "directory")
    write_report(run)
    page = (run.path / "report.html").read_text()
    assert f"{NAME} (emulated)" in page
    assert "its times are left out" in page
    assert any("its times are left out" in note for note in compare(run, run, anyway=True)["notes"])


def test_times_that_are_kept_by_mistake_would_be_seen() -> None:
    frames = {"lag_summary": TABLES["lag_summary"].frame(), "verdicts": TABLES["verdicts"].frame()}
    row = dict.fromkeys(TABLES["rebuild"].frame().columns) | {"projection": "cache"}
    frames["rebuild"] = TABLES["rebuild"].frame([row])
    assert without_times(frames, ())["rebuild"].height == 1
    assert without_times(frames, {"cache"})["rebuild"].height == 0
    assert without_times(frames, {"other"})["rebuild"].height == 1
