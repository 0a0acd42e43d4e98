"""The contract of every store, as it is shipped for the stores of other packages; and the two that are for the lab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from effort import examples

from lab.base import Batch, Key
from lab.place import FolderPlace
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores import dump, embedded, store_class
from lab.stores.memory import Memory
from lab.testing.contracts import store_cases
from lab.testing.promises import PROMISES, Case
from lab.testing.sample import IDS, ITEM, ask, item, items, layout
from lab.testing.store_answers import NOW, PAST

# `null` keeps nothing on purpose, and has tests of its own at the end.
CASES = [case for name in embedded() if name != "null" for case in store_cases(store_class(name))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.store.name}: {case}")
def test_every_store_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def test_every_promise_is_tried_on_several_stores() -> None:
    for one in PROMISES:
        # None of these stores has several writers, and one a refresh; those on servers are tried elsewhere.
        if not one.fences and not one.refreshes:
            assert len({case.store for case in CASES if case.promise is one}) > 2, one.sentence


def test_every_class_of_query_is_asked() -> None:
    assert {query.kind for query, _ in NOW + PAST} == set(KINDS)


class Unsorted(Memory):
    def sliced(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        return frame.reverse().iter_slices(self.page_rows)


class OnePage(Memory):
    def sliced(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        return iter([frame.sort(self.layout.order(), nulls_last=True)])


class WithoutTombstones(Memory):
    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        gone = {row[1] for row in self._rows[entity].values() if self.layout.keeps == "records" and row[3]}
        return {key: last for key, last in super().revisions(entity, keys).items() if key not in gone}


class LastReasonCounts(Memory):
    def apply(self, batch: Batch) -> None:
        former = batch.park["key"].to_list() if batch.park is not None else []
        super().apply(replace(batch, release=[*batch.release, *former]))


class NeverReleases(Memory):
    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, release=[]))


class CheckpointFirst(Memory):
    def apply(self, batch: Batch) -> None:
        self._checkpoints[batch.entity] = batch.checkpoint or self.checkpoint(batch.entity)
        super().apply(batch)


class KeepsMemoryInReset(Memory):
    def reset(self) -> None:
        kept = getattr(self, "_memory", None)
        super().reset()
        self._memory = kept or self._memory


class AnswersWithTheDead(Memory):
    def query(self, query: Query, parameters: Row) -> list[Row]:
        return super().query(query, parameters) or ([(1, 1)] if query.kind == "get" else [])


MUTANTS = {
    Unsorted: "a dump is canonical",
    OnePage: "pages are bounded and together are everything in order",
    WithoutTombstones: "the highest revision of each key is found tombstones included",
    LastReasonCounts: "a change that is parked again stays as it was",
    NeverReleases: "released keys leave the parked changes with the rows that come",
    CheckpointFirst: "a frame that lacks a column changes nothing",
    KeepsMemoryInReset: "reset throws everything away",
    AnswersWithTheDead: "a tombstone is a row and stays",
}


@pytest.mark.parametrize(("mutant", "sentence"), MUTANTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_store_that_is_broken_on_purpose_breaks_the_promise(
    mutant: type[Memory], sentence: str, tmp_path: Path
) -> None:
    for case in store_cases(mutant):
        if case.promise.sentence == sentence:
            with pytest.raises(AssertionError):
                case.run(tmp_path / case.keeps)
            return
    raise AssertionError(f"there is no such promise: {sentence}")


def test_memory_ends_with_its_object_and_says_so(tmp_path: Path) -> None:
    store, again = (store_class("memory")(FolderPlace(tmp_path), layout()) for _ in range(2))
    store.open()
    again.open()
    store.apply(Batch("item", items(item(1)), 4))
    assert again.checkpoint("item") == 0
    assert store.durability == "gone with the process"
    assert store.capabilities.durability == "memory"


# The store that keeps nothing


def test_null_keeps_nothing_but_its_place() -> None:
    store = store_class("null")(FolderPlace(Path("nowhere")), layout("records", IDS))
    store.open()
    store.apply(Batch("item", items(item(1)), 4, pl.DataFrame({"id": [1]})))
    assert store.checkpoint("item") == 4
    assert dump(store, "item").equals(ITEM.empty())
    assert dict(store.memory("item").schema) == IDS
    assert store.query(ask(kind="get"), (1,)) == []
    assert store.size_bytes() == 0
    assert not Path("nowhere").exists()


def test_null_forgets_its_place_when_it_is_reset() -> None:
    store = store_class("null")(FolderPlace(Path("nowhere")), layout())
    store.open()
    store.bulk("item", [Batch("item", items(item(1)), 4)])
    assert store.checkpoint("item") == 4
    store.reset()
    assert store.checkpoint("item") == 0
