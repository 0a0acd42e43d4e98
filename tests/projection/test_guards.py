"""Guards decide the same whatever they remember, and look up no more than they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import remembering

from lab.base import Batch, Key, Unavailable
from lab.place import FolderPlace
from lab.projection.dedupe import PILE, Dedupe
from lab.projection.guards import GUARDS, guard_class, guarded_layout
from lab.projection.projector import Projector
from lab.projection.recent import Recent
from lab.stores import Store, dump, store_class
from lab.stores.kept import KEPT
from lab.testing.sample import BY_SHELF, ITEM, item, items

CASES = [(keeps, policy) for keeps in KEPT for policy in GUARDS]
HOLD = 3


def projector(keeps: str, policy: str, store: str = "memory", path: Path = Path("unused")) -> Projector:
    layout = guarded_layout(policy, keeps, {"item": ITEM}, BY_SHELF if keeps == "totals" else None)
    return Projector(store_class(store)(FolderPlace(path), layout), policy, HOLD)


arrivals = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 5), st.booleans(), st.sampled_from([None, "a", "b"])),
    min_size=1, max_size=90,
)  # fmt: skip
cuts = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["", "restart", "refused", "broken", "landed"])))


def history(drawn: list[tuple[int, int, bool, str | None]]) -> pl.DataFrame:
    """Arrivals in any order: a change of one key and revision always has one position and one content."""
    numbers = {pair: place for place, pair in enumerate(sorted({(key, revision) for key, revision, *_ in drawn}))}
    content = {(key, revision): rest for key, revision, *rest in drawn}
    rows = [
        (numbers[key, revision] + 1, *item(key, revision, content[key, revision][0], shelf=content[key, revision][1]))
        for key, revision, *_ in drawn
    ]
    frame = items(*(row[1:] for row in rows)).with_columns(position=pl.Series([row[0] for row in rows]))
    before = [pl.lit(value=False).alias("before_live")]
    before += [pl.lit(None, ITEM.schema[name]).alias(f"before_{name}") for name in BY_SHELF.columns]
    return frame.with_columns(before)


class Broken(Exception):
    """A connection that is lost."""


def failing(one: Projector, frame: pl.DataFrame, how: str) -> bool:
    """Hand a frame over while the store refuses it, or while its connection breaks before or after the write landed.

    Returns whether it is in all the same: the write had landed, or nothing had to be written.
    """
    store: Any = one.store
    write = store.apply

    def apply(batch: Batch) -> None:
        if how == "landed":
            write(batch)
        raise Unavailable("not now") if how == "refused" else Broken

    store.apply = apply
    try:
        one.apply("item", frame)
    except (Unavailable, Broken):
        return how == "landed"
    finally:
        del store.apply
    return True


def handed(one: Projector, frame: pl.DataFrame) -> list[list[int]]:
    applied = one.apply("item", frame)
    return [part.tolist() for part in (applied.positions, applied.refused, applied.dropped, applied.parked)]


@pytest.mark.parametrize(("keeps", "policy"), CASES)
@settings(max_examples=examples(20))
@given(drawn=arrivals, cut=cuts, size=st.integers(1, 3))
def test_with_little_memory_and_any_restarts_a_guard_decides_as_one_that_remembers_all(
    keeps: str, policy: str, drawn: list[tuple[int, int, bool, str | None]], cut: list[tuple[int, str]], size: int
) -> None:
    frame = history(drawn)
    unbounded = projector(keeps, policy)
    with remembering(size):
        bounded = projector(keeps, policy)
        for first, last, how in pieces(frame.height, cut):
            piece = frame[first:last]
            if how == "restart":
                bounded = bounded.reopened()
                if bounded.guard.holds_back:
                    # What is held back in memory is lost by a restart.
                    unbounded = unbounded.reopened()
            elif how and not (how == "landed" and bounded.guard.holds_back) and failing(bounded, piece, how):
                handed(unbounded, piece)
            assert handed(bounded, piece) == handed(unbounded, piece)
    assert dump(bounded.store, "item").rows() == dump(unbounded.store, "item").rows()


def pieces(rows: int, cut: list[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """From, to, and what happens before; the last piece is all that is left."""
    first = 0
    for size, how in [*cut, (rows, "")]:
        if first < rows:
            yield first, min(rows, first + size), how
        first += size


# How much is looked up, and how much remembered


class Counting:
    """What a guard looks up, before a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[list[Key]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        self.asked.append(list(keys))
        return self.store.revisions(entity, keys)

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        if keys is not None:
            self.asked.append(list(keys))
        return self.store.memory(entity, keys)


def counted(keeps: str) -> tuple[Projector, Counting]:
    store = Counting(projector(keeps, "revision").store)
    return Projector(cast("Store", store), "revision", HOLD), store


def changes(*keys: int, revision: int = 1) -> pl.DataFrame:
    return history([(key, revision, False, "a") for key in keys])


@pytest.mark.parametrize("keeps", ["records", "totals"])
def test_a_batch_of_records_that_are_not_known_is_one_look_up_and_of_known_ones_none(keeps: str) -> None:
    one, store = counted(keeps)
    one.apply("item", changes(*range(1, 101)), 100)
    one.apply("item", changes(*range(1, 101), revision=2), 200)
    # The projection was empty at the start, and nothing was forgotten: there is nothing to be looked up.
    assert store.asked == []
    one = one.reopened()
    one.apply("item", changes(*range(1, 201), revision=3), 300)
    assert [sorted(map(int, keys)) for keys in store.asked] == [list(range(1, 201))]
    one.apply("item", changes(*range(1, 201), revision=4), 400)
    assert len(store.asked) == 1


@pytest.mark.parametrize("keeps", ["records", "totals"])
def test_after_a_failed_write_only_what_it_touched_is_looked_up(keeps: str) -> None:
    one, store = counted(keeps)
    one.apply("item", changes(*range(1, 101)))
    failing(one, changes(3, 4, revision=2), "refused")
    one.apply("item", changes(*range(1, 101), revision=2))
    assert store.asked == []
    failing(one, changes(3, 4, revision=3), "landed")
    one.apply("item", changes(*range(1, 101), revision=3))
    assert {key for keys in store.asked for key in keys} == {3, 4}


@pytest.mark.parametrize("keeps", ["records", "totals"])
@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_write_that_broke_off_and_had_landed_is_not_repeated_wherever_its_records_were_remembered(
    keeps: str, size: int
) -> None:
    """In the young generation, in the old one, or evicted in the middle of the batch."""
    with remembering(size):
        one, whole = projector(keeps, "revision"), projector(keeps, "revision")
    for revision in range(1, 6):
        frame = changes(1, 2, 3, revision=revision)
        assert failing(one, frame, "landed")
        assert handed(one, frame) == [[], frame["position"].to_list(), [], []]
        handed(whole, frame)
        assert dump(one.store, "item").rows() == dump(whole.store, "item").rows()
        # What was not written at all is not known either.
        frame = changes(1, 2, 3, revision=revision + 10)
        assert not failing(one, frame, "broken")
        assert not failing(one, frame, "refused")


def test_the_memory_of_a_guard_is_bounded() -> None:
    known = dict.fromkeys(range(1_000), 7)
    of: Recent[int] = Recent(lambda keys: {key: known[key] for key in keys if key in known}, 0, empty=False, size=10)
    for start in range(0, 1_000, 5):
        assert of.many(range(start, start + 5)) == [7] * 5
        assert len(of) <= 20
    assert of.many([5_000]) == [0]


def test_what_is_met_again_is_not_evicted() -> None:
    asked: list[Key] = []
    of: Recent[int] = Recent(lambda keys: asked.extend(keys) or dict.fromkeys(keys, 1), 0, empty=False, size=4)
    for key in range(100):
        of.many([-1, key])
    assert asked.count(-1) == 1


def test_ids_below_the_checkpoint_are_not_remembered() -> None:
    one = projector("records", "dedupe")
    guard = one.guard
    assert isinstance(guard, Dedupe)
    for page in range(20):
        rows = changes(*range(page * 500 + 1, page * 500 + 501))
        piece = rows.with_columns(pl.col("position") + page * 500)
        # By message, and then by catch-up.
        one.apply("item", piece)
        one.apply("item", piece[:0], (page + 1) * 500)
        assert len(guard._ahead["item"]) <= PILE + 500
    assert one.apply("item", piece).refused.size == 500


# What a guard's class says


def test_what_others_ask_of_a_guard_is_said_by_its_class() -> None:
    said = {
        (keeps, policy): tuple(
            name
            for name in ("needs_every_revision", "holds_back", "remembers_contributions", "goes_by_checkpoint")
            if getattr(guard_class(policy, KEPT[keeps]), name)
        )
        for keeps, policy in CASES
    }
    ordered = ("needs_every_revision", "holds_back")
    assert said == {
        ("records", "none"): (), ("revisions", "none"): (), ("totals", "none"): (),
        ("records", "dedupe"): ("goes_by_checkpoint",), ("revisions", "dedupe"): ("goes_by_checkpoint",),
        ("totals", "dedupe"): ("goes_by_checkpoint",), ("records", "revision"): (),
        ("revisions", "revision"): ("goes_by_checkpoint",), ("totals", "revision"): ("remembers_contributions",),
        ("records", "ordered"): ordered, ("revisions", "ordered"): ordered, ("totals", "ordered"): ordered,
    }  # fmt: skip
