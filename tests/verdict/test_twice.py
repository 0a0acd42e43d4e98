"""Rows that are there twice are found wherever they stand, though sorted rows are looked at a block at a time."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.statistics import grouped
from lab.verdict.effects import _twice

ROW = st.tuples(st.none() | st.integers(0, 4), st.integers(1, 3))


@given(st.lists(ROW, max_size=30), st.booleans(), st.integers(1, 5))
def test_rows_that_are_there_twice_are_found(rows: list[tuple[int | None, int]], in_order: bool, block: int) -> None:
    if in_order:
        rows = sorted(rows, key=str)
    shows = pl.DataFrame(rows, schema={"key": pl.Int64(), "revision": pl.Int64()}, orient="row")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "BLOCK", block)
        for identity in (("key",), ("key", "revision")):
            assert _twice(shows, identity).equals(shows.filter(pl.struct(identity).is_duplicated()))


def test_one_row_of_many_that_is_there_twice_is_found_where_two_blocks_meet() -> None:
    keys = pl.Series("key", range(3 * grouped.BLOCK))
    assert not _twice(keys.to_frame(), ("key",)).height
    twice = pl.concat([keys, pl.Series("key", [grouped.BLOCK])]).sort().to_frame()
    assert _twice(twice, ("key",))["key"].to_list() == [grouped.BLOCK] * 2
