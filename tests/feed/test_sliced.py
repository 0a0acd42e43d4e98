"""Pages of one partition's changes: together the slices are the feed, each in order, and none has another's records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from pieces import IN_FILES, TRUTHS, commands

from lab.domain.employees import EMPLOYEES
from lab.domain.flights import AIRLINE, FLIGHTS
from lab.feed.reader import ChangeReader
from lab.feed.sliced import SlicedReader, slices
from lab.place import FolderPlace
from lab.ports import KeySlice, partition_of
from lab.truth import Truth, open_truth

PARTITIONS, ALL = 3, 10**6
CODES = ["", "a", "zürich", "東京", "O'Hare", "x" * 60, "-1", "7"]


@pytest.fixture(params=TRUTHS)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine of a source of truth."""
    return str(request.param)


@pytest.fixture(params=["snapshot", "history", "events"])
def truth(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Truth]:
    """A source of truth with some employees."""
    made = open_truth(engine, str(request.param), FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    for command in commands(60):
        made.execute(command)
    yield made
    made.drop()


def _pages(reader: ChangeReader, entity: str, limit: int) -> pl.DataFrame:
    found, position = [reader.changes_since(entity, 0, 1)[:0]], 0
    while True:
        page = reader.changes_since(entity, position, limit)
        found.append(page)
        if page.height < limit:
            return pl.concat(found)
        position = int(page["position"][-1])


def test_slices_are_together_what_the_feed_is_and_each_is_in_order(truth: Truth) -> None:
    whole = ChangeReader(truth)
    every = _pages(whole, "employee", ALL)
    found = []
    for number in range(PARTITIONS):
        mine = _pages(SlicedReader(whole, KeySlice(number, PARTITIONS)), "employee", 4)
        assert mine["position"].is_sorted()
        assert {partition_of(key, PARTITIONS) for key in mine["key"]} <= {number}
        found.append(mine)
    assert all(one.height for one in found)
    assert pl.concat(found).sort("position").equals(every)
    # What else is read is of all records, as before.
    assert _pages(whole, "employee", 7).equals(every)


@pytest.mark.parametrize("name", [one for one in TRUTHS if one not in IN_FILES])
def test_a_servers_hash_of_a_text_is_the_labs(name: str, tmp_path: Path) -> None:
    truth = open_truth(name, "history", FolderPlace(tmp_path / "truth"), FLIGHTS, "normal")
    try:
        rows = [(at, code, 1, False, 0.0, "name", "listed") for at, code in enumerate(CODES, 1)]
        truth.load("airline", pl.DataFrame(rows, schema=AIRLINE.schema | {"event": pl.String()}, orient="row"))
        for number in range(PARTITIONS):
            page = SlicedReader(ChangeReader(truth), KeySlice(number, PARTITIONS)).changes_since("airline", 0, ALL)
            assert page["key"].to_list() == [code for code in CODES if partition_of(code, PARTITIONS) == number]
    finally:
        truth.drop()


def test_engines_without_a_hash_cut_by_numbers_alone() -> None:
    number, text = EMPLOYEES.entities.values(), [AIRLINE]
    assert [slices(name, "history", number) for name in ("sqlite", "postgres", "mariadb")] == [True] * 3
    assert [slices(name, "history", text) for name in ("sqlite", "postgres", "mariadb")] == [False, True, True]
