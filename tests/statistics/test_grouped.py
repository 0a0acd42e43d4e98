"""Running extremes by blocks are those of a window function over the whole series."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.statistics import grouped

ENTRIES = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=40)


@given(ENTRIES, st.integers(1, 9), st.booleans(), st.booleans())
def test_an_extreme_so_far_is_that_of_the_whole_series(
    entries: list[tuple[int, int]], size: int, backwards: bool, most: bool
) -> None:
    groups, values = np.array(entries, np.int64).reshape(-1, 2).T.copy()
    found, carried = np.empty(groups.size), np.full(5, -np.inf if most else np.inf)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "BLOCK", size)
        for block in grouped.blocks(groups.size, backwards):
            step = -1 if backwards else 1
            some = grouped.running(
                groups[block][::step], values[block][::step] * 1.0, carried, "most" if most else "least"
            )
            found[block] = some[::step]
    frame = pl.DataFrame({"groups": groups, "values": values * 1.0})
    column = pl.col("values")
    window = column.cum_max(reverse=backwards) if most else column.cum_min(reverse=backwards)
    assert found.tolist() == frame.select(window.over("groups"))["values"].to_list()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), max_size=40), st.integers(1, 9))
def test_the_latest_value_of_a_group_is_carried_over_blocks(entries: list[tuple[int, int]], size: int) -> None:
    groups, values = np.array(entries, np.int64).reshape(-1, 2).T.copy()
    carried, found = np.full(5, -1), np.empty(groups.size, np.int64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "BLOCK", size)
        for block in grouped.blocks(groups.size):
            found[block] = grouped.latest(groups[block], values[block], carried)
    last = dict.fromkeys(range(5), -1)
    for group, value, latest in zip(groups.tolist(), values.tolist(), found.tolist(), strict=True):
        last[group] = value if value >= 0 else last[group]
        assert latest == last[group]


@given(
    st.lists(st.integers(-3, 12)) | st.lists(st.sampled_from("abcdefgh")),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_the_rows_of_a_key_come_together_and_each_once(keys: list[int] | list[str], together: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "TOGETHER", together)
        patched.setattr(grouped, "BLOCK", block)
        parts = [part.tolist() for part in grouped.rows_by_key(pl.Series(keys, dtype=pl.Int64 if not keys else None))]
    assert sorted(row for part in parts for row in part) == list(range(len(keys)))
    assert all(part == sorted(part) for part in parts)
    owners = [{keys[row] for row in part} for part in parts]
    assert sum(map(len, owners)) == len(set(keys))
