"""What a store can't take is parked in the store: whenever a process dies, nothing is parked twice and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import Batch, CannotTake
from lab.feed.reader import with_before
from lab.place import FolderPlace
from lab.projection.guards import guarded_layout
from lab.projection.projector import Projector
from lab.stores import Store, dump, store_class
from lab.testing.sample import BY_SHELF, ITEM, item, items

STORES = ("memory", "sqlite.table", "duckdb.columnar")
KEPT = (("records", "revision"), ("records", "dedupe"), ("records", "ordered"), ("totals", "revision"))
KEYS, REVISIONS = 4, 3
COUNT = KEYS * REVISIONS


class Dead(Exception):
    """The process dies at a write."""


class Mortal:
    """A store that can't take some positions, and whose process dies at chosen writes: before or after they landed."""

    def __init__(self, store: Store, bad: set[int], deaths: list[tuple[int, bool]]) -> None:
        self.store, self.bad, self.deaths = store, bad, deaths
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def apply(self, batch: Batch) -> None:
        if self.bad & set(batch.positions.tolist()):
            raise CannotTake("it is bad")
        self.writes += 1
        dies = self.deaths and self.deaths[0][0] <= self.writes
        if dies:
            self.writes = 0
            _, landed = self.deaths.pop(0)
            if not landed:
                raise Dead
        self.store.apply(batch)
        if dies:
            raise Dead


def history() -> pl.DataFrame:
    rows = [item(key, n, shelf="ab"[(key + n) % 2], amount=n) for n in range(1, REVISIONS + 1)
            for key in range(1, KEYS + 1)]  # fmt: skip
    return with_before(items(*rows), BY_SHELF.columns).sort("position")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("keeps", "policy"), KEPT)
@settings(max_examples=examples(8))
@given(
    bad=st.sets(st.integers(1, COUNT), max_size=3),
    page=st.integers(1, COUNT),
    deaths=st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=6),
    again=st.lists(st.integers(0, COUNT - 1), max_size=5),
)
def test_wherever_a_process_dies_nothing_is_parked_twice_and_nothing_is_lost(
    store: str, keeps: str, policy: str, bad: set[int], page: int, deaths: list[tuple[int, bool]], again: list[int],
    new_folder: Any,
) -> None:  # fmt: skip
    frame = history()
    layout = guarded_layout(policy, keeps, {"item": ITEM}, BY_SHELF if keeps == "totals" else None)
    mortal = Mortal(store_class(store)(FolderPlace(new_folder()), layout), bad, list(deaths))
    one = Projector(cast("Store", mortal), policy, COUNT)
    while (position := one.checkpoint("item")) < COUNT or mortal.deaths:
        piece = frame[position : position + page]
        try:
            # Messages that come again, of what is in or parked.
            one.apply("item", frame[[index for index in again if index < position]])
            one.apply("item", piece, min(COUNT, position + page))
            if position == COUNT:
                break
        except Dead:
            one = one.reopened()
        parked = one.store.parked("item")["position"].to_list()
        assert len(parked) == len(set(parked))
        assert_nothing_is_lost(frame, one, keeps, parked)
    assert set(one.parked("item").tolist()) >= bad
    bad.clear()
    for landed in (False, True):
        mortal.deaths, mortal.writes = [(2, landed)], 0
        try:
            one.retry("item")
        except Dead:
            one = one.reopened()
        assert_nothing_is_lost(frame, one, keeps, one.parked("item").tolist())
    mortal.deaths = []
    one.retry("item")
    assert one.parked("item").size == 0
    again_whole = Projector(store_class("memory")(FolderPlace(Path("unused")), layout), policy, COUNT)
    again_whole.apply("item", frame, COUNT)
    assert layout.shown(dump(mortal.store, "item")).equals(layout.shown(dump(again_whole.store, "item")))
    mortal.store.close()


def assert_nothing_is_lost(frame: pl.DataFrame, one: Projector, keeps: str, parked: list[int]) -> None:
    """What lies below the checkpoint is in, or is parked."""
    if keeps != "records":
        return
    shown = dict(dump(one.store, "item").select("key", "revision").iter_rows())
    for position, key, revision in frame.select("position", "key", "revision").iter_rows():
        if position <= one.checkpoint("item") and position not in parked:
            assert shown.get(key, 0) >= revision
