"""Running extremes and orders by blocks are those of the whole series."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.spill import Spill
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
    frame = pl.DataFrame({"key": pl.Series(keys, dtype=None if keys else pl.Int64), "place": range(len(keys))})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "TOGETHER", together)
        patched.setattr(grouped, "BLOCK", block)
        found = list(grouped.by_keys(frame, Spill()))
    assert all(part.drop("row").equals(frame[part["row"]]) for part in found)
    parts = [part["row"].to_list() for part in found]
    assert sorted(row for part in parts for row in part) == list(range(len(keys)))
    assert all(part == sorted(part) for part in parts)
    owners = [{keys[row] for row in part} for part in parts]
    assert sum(map(len, owners)) == len(set(keys))


AWKWARD = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, math.inf, -math.inf])


@given(st.lists(AWKWARD | st.floats(-5, 5), max_size=60), st.integers(1, 7))
def test_rows_are_sorted_as_by_numpy(values: list[float], together: int) -> None:
    of = np.array(values)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "TOGETHER", together)
        patched.setattr(grouped, "BLOCK", 3)
        patched.setattr(grouped, "CUTS", 2)
        assert grouped.sorted_rows(of, Spill()).tolist() == np.argsort(of, kind="stable").tolist()
        assert grouped.in_order(of) == bool(np.all(of[1:] >= of[:-1]))


@given(st.lists(st.tuples(st.sampled_from("aAbäzZ "), st.integers(1, 9)), max_size=60), st.integers(1, 7))
def test_rows_by_key_and_revision_are_those_of_a_sort(rows: list[tuple[str, int]], together: int) -> None:
    frame = pl.DataFrame(rows, schema={"key": pl.String, "revision": pl.Int64}, orient="row").unique(
        maintain_order=True
    )
    keys = frame["key"].unique().sort()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "TOGETHER", together)
        patched.setattr(grouped, "BLOCK", 3)
        found = frame[grouped.by_key_and_revision(frame, keys, Spill())]
    assert found.equals(frame.sort("key", "revision"))


@given(st.integers(0, 40), st.integers(1, 9))
def test_what_is_worked_out_by_blocks_is_what_it_is_at_once(size: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouped, "BLOCK", block)
        found = grouped.by_blocks(Spill(), size, np.int64, lambda some: np.arange(some.start, some.stop) ** 2)
    assert found.tolist() == [number**2 for number in range(size)]
