"""What a store promises that several processes write at a time, each the owner of partitions: hand-overs and fences."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest

from lab.base import META, Batch, Fenced
from lab.ports import Assignment, KeySlice
from lab.stores import Store, dump
from lab.testing.promises import Trial, promise
from lab.testing.sample import ITEM, item, items, parked

# A key of each partition: numbers count as they are.
PARTITIONS = 4


def _row(key: int, revision: int, label: str) -> Batch:
    return Batch("item", items(item(key, revision, label=label)), checkpoint=revision)


def _labels(store: Store) -> list[tuple[int, str]]:
    return [*dump(store, "item").select("key", "label").rows()]


@promise("records", "revisions", fences=True)
def what_an_owner_that_was_replaced_writes_is_refused_as_a_whole(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    former = trial.owner(Assignment(1, 3))
    former.apply(_row(1, 1, "former"))
    trial.owner(Assignment(1, 4))
    row = items(item(1, 2, label="stale"))
    aside = parked(ITEM, "too large", (9, 5, 1, False, 9.0))
    for stale in (
        Batch("item", row), Batch("item", row, checkpoint=2), Batch("item", row[:0], checkpoint=2),
        Batch("item", row[:0], park=aside),
    ):  # fmt: skip
        with pytest.raises(Fenced, match="partition 1 was given away: generation 4"):
            former.apply(stale)
    assert _labels(whole) == [(1, "former")]
    assert whole.parked("item").height == 0
    assert trial.owner(Assignment(1, 5)).checkpoint("item") == 1


@promise("records", fences=True)
def a_take_over_goes_on_at_the_checkpoint_of_its_partition(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    one, other = trial.owner(Assignment(1, 1)), trial.owner(Assignment(2, 1))
    one.apply(_row(1, 7, "one"))
    other.apply(_row(2, 9, "other"))
    assert [one.checkpoint("item"), other.checkpoint("item"), one.checkpoint("shelf")] == [7, 9, 0]
    later = trial.owner(Assignment(1, 2))
    assert later.checkpoint("item") == 7
    later.apply(_row(5, 8, "later"))
    other.apply(_row(6, 10, "still there"))
    assert _labels(whole) == [(1, "one"), (2, "other"), (5, "later"), (6, "still there")]
    assert [later.checkpoint("item"), other.checkpoint("item")] == [8, 10]


@promise("records", fences=True)
def an_owner_of_an_earlier_generation_can_not_take_over(trial: Trial) -> None:
    trial.shared(PARTITIONS)
    trial.owner(Assignment(3, 8)).apply(_row(3, 1, "eighth"))
    with pytest.raises(Fenced, match="generation 8 has it, and this is 7"):
        trial.owner(Assignment(3, 7))
    # Other partitions have generations of their own.
    trial.owner(Assignment(2, 1)).apply(_row(2, 1, "first"))


@promise("records", fences=True)
def another_owner_of_the_same_generation_can_not_take_over(trial: Trial) -> None:
    """As after a broker has lost what it counted: who has claimed it first is the owner."""
    whole = trial.shared(PARTITIONS)
    first = trial.owner(Assignment(1, 2))
    first.apply(_row(1, 1, "first"))
    with pytest.raises(Fenced, match="partition 1 was given away: another owner has generation 2"):
        trial.owner(Assignment(1, 2))
    first.apply(_row(1, 2, "still first"))
    assert _labels(whole) == [(1, "still first")]


@promise("records", fences=True)
def an_owner_that_opens_again_is_still_the_owner_and_no_longer_one_once_replaced(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    owner = trial.owner(Assignment(1, 2))
    owner.apply(_row(1, 1, "before"))
    owner.close()
    owner.open()
    owner.apply(_row(1, 2, "after"))
    trial.owner(Assignment(1, 3))
    owner.close()
    with pytest.raises(Fenced):
        owner.open()
    assert _labels(whole)[-1] == (1, "after")


@promise("records", fences=True)
def the_whole_has_come_as_far_as_the_partition_that_is_furthest_behind(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    for number, position in enumerate((4, 9, 3)):
        trial.owner(Assignment(number, 1)).apply(_row(number, position, ""))
    assert whole.checkpoint("item") == 0
    trial.owner(Assignment(3, 1)).apply(_row(3, 5, ""))
    assert whole.checkpoint("item") == 3
    # A writer of the whole, as for a rebuild, moves all of them.
    whole.apply(Batch("item", ITEM.empty(), checkpoint=12))
    assert [whole.checkpoint("item"), trial.owner(Assignment(0, 2)).checkpoint("item")] == [12, 12]


@promise("records", fences=True)
def a_bulk_moves_every_partition_once_all_of_it_is_in_and_none_if_it_breaks_off(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    loaded = [_row(1, 4, "loaded"), _row(2, 7, "loaded")]

    def breaking_off() -> Iterator[Batch]:
        yield loaded[0]
        raise EOFError("the feed is gone")

    with pytest.raises(EOFError):
        whole.bulk("item", breaking_off())
    assert _labels(whole) == []
    assert [trial.owner(Assignment(number, 1)).checkpoint("item") for number in range(PARTITIONS)] == [0] * PARTITIONS
    whole.bulk("item", loaded)
    assert _labels(whole) == [(1, "loaded"), (2, "loaded")]
    assert [trial.owner(Assignment(number, 2)).checkpoint("item") for number in range(PARTITIONS)] == [7] * PARTITIONS


@promise("records", fences=True)
def an_owner_sees_the_parked_changes_of_its_own_records(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    for number, key in ((1, 1), (2, 6)):
        change = parked(ITEM, "too large", (10 + key, key, 1, False, 1.0))
        trial.owner(Assignment(number, 1)).apply(Batch("item", ITEM.empty(), park=change))
    assert sorted(whole.parked("item")["key"]) == [1, 6]
    assert trial.owner(Assignment(2, 2)).parked("item")["key"].to_list() == [6]
    assert trial.owner(Assignment(3, 1)).parked("item").height == 0


@promise("records", fences=True)
def what_an_owner_clears_is_gone_and_nothing_else(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    one, other = trial.owner(Assignment(1, 1)), trial.owner(Assignment(2, 1))
    many = items(*(item(key, 1, label=f"{key}") for key in range(-40, 400)))
    for number, owner in ((1, one), (2, other)):
        aside = parked(ITEM, "too large", (900 + number, 400 + number, 1, False, 1.0))
        owner.apply(Batch("item", KeySlice(number, PARTITIONS).of(many), checkpoint=400, park=aside))
    kept = _labels(trial.owner(Assignment(3, 1))), whole.parked("item").filter(pl.col("key") == 402)
    one.clear()  # type: ignore[attr-defined]
    assert _labels(whole) == [row for row in kept[0] if row[0] % PARTITIONS == 2]
    assert whole.parked("item").equals(kept[1])
    assert [one.checkpoint("item"), other.checkpoint("item")] == [0, 400]
    # It is still the owner, and begins again.
    one.apply(_row(5, 1, "anew"))
    assert (5, "anew") in _labels(whole)
    assert trial.owner(Assignment(1, 2)).checkpoint("item") == 1


@promise("records", fences=True)
def an_owner_that_was_replaced_can_clear_nothing(trial: Trial) -> None:
    whole = trial.shared(PARTITIONS)
    former = trial.owner(Assignment(1, 3))
    former.apply(_row(1, 1, "former"))
    later = trial.owner(Assignment(1, 4))
    with pytest.raises(Fenced, match="partition 1 was given away: generation 4"):
        former.clear()  # type: ignore[attr-defined]
    assert _labels(whole) == [(1, "former")]
    assert later.checkpoint("item") == 1


@promise("records", fences=True)
def an_owner_finds_its_newest_records_as_they_were_written(trial: Trial) -> None:
    trial.shared(PARTITIONS)
    owner, other = trial.owner(Assignment(1, 1)), trial.owner(Assignment(2, 1))
    rows = items(*(item(key, 1, deleted=key == 9) for key in (1, 5, 9, 13)))
    # Times as clocks tell them, and positions in another order than keys.
    times = [1_764_470_400.123_456_7, 0.1 + 0.2, 5e-324, 1.0]
    rows = rows.with_columns(position=pl.Series([7, 40, 9, 8]), committed_at=pl.Series(times))
    owner.apply(Batch("item", rows, checkpoint=40))
    other.apply(_row(2, 50, "other"))
    found = owner.newest("item", 3)  # type: ignore[attr-defined]
    assert found.sort("position").equals(rows.select(META).sort("position")[1:])
    assert trial.owner(Assignment(3, 1)).newest("item", 3).height == 0  # type: ignore[attr-defined]


@promise("records", fences=True)
def owners_with_a_batch_open_hold_up_no_other(trial: Trial) -> None:
    """Many rows, which travel otherwise than few, from all owners in turn."""
    whole = trial.shared(PARTITIONS)
    owners = [trial.owner(Assignment(number, 1)) for number in range(PARTITIONS)]
    rows = items(*(item(key, 1, label=f"{key}") for key in range(1, 1_201)))
    for number, owner in enumerate(owners):
        mine = KeySlice(number, PARTITIONS).of(rows)
        for first in range(0, mine.height, 150):
            owner.apply(Batch("item", mine[first : first + 150], checkpoint=first + 150))
    found = dump(whole, "item")
    assert found.select("key", "label").rows() == rows.select(pl.col("key"), pl.col("label")).rows()
