"""Values counted in parts: as many as there are, whatever the size of a part, and repeats among rows."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.trace import counting

VALUES = st.one_of(
    st.lists(st.none() | st.integers(-3, 3)),
    st.lists(st.none() | st.text("ab", max_size=2)),
    st.lists(st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan")])),
)


@given(values=VALUES, part=st.integers(1, 5))
def test_parts_count_as_the_whole_does(values: list[object], part: int) -> None:
    series = pl.Series("a", values, strict=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PART", part)
        assert counting.distinct(series) == series.n_unique()


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=1))), part=st.integers(1, 5))
def test_a_repeat_is_found_in_any_part(rows: list[tuple[int, str | None]], part: int) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "PART", part)
        assert counting.has_repeats(frame) == (len(set(rows)) < len(rows))


def test_rows_that_merely_have_one_hash_are_no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda self: pl.Series([7] * self.height, dtype=pl.UInt64))
    assert not counting.has_repeats(pl.DataFrame({"a": [1, 2, 3]}))
    assert counting.has_repeats(pl.DataFrame({"a": [1, 2, 1]}))
