"""Values that come in stretches are kept once each, and come back to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.running.journal import Note
from lab.running.stretches import LEAST, PerRow, Stretches

VALUES = st.sampled_from([0.0, -0.0, 1.5, float("inf"), float("nan"), -7.25])


@dataclass(frozen=True)
class Kept:
    first: PerRow = PerRow()  # noqa: RUF009 (a descriptor)
    second: PerRow = PerRow(None)  # noqa: RUF009 (a descriptor)


def bits(values: np.ndarray) -> bytes:
    return values.tobytes()


@given(st.lists(st.tuples(VALUES, st.integers(1, 40)), max_size=20))
def test_an_array_comes_back_bit_by_bit(stretches: list[tuple[float, int]]) -> None:
    values = np.repeat([value for value, _ in stretches], [length for _, length in stretches])
    kept = Kept(values)
    assert bits(np.asarray(kept.first)) == bits(values)
    assert bits(np.asarray(replace(kept, second=values).second)) == bits(values)
    packed = Stretches.of(values)
    assert packed is None or packed.values.size * LEAST <= values.size
    assert packed is None or bits(packed.array) == bits(values)


def test_equal_values_take_the_room_of_one() -> None:
    packed = Stretches.of(np.repeat(np.array([2, 0], np.int8), 100_000))
    assert packed is not None
    assert packed.values.tolist() == [2, 0]
    assert packed.lengths.tolist() == [100_000, 100_000]
    assert packed.array.dtype == np.int8
    assert Stretches.of(np.arange(1_000.0)) is None


def test_one_value_for_all_rows_stays_one_and_a_default_is_one() -> None:
    assert Kept(3.5).first == 3.5
    assert Kept(1).second is None
    assert Note("item", 0, np.arange(3), 1, 0.5, 2.0).landed_at is None
    with pytest.raises(TypeError, match="first"):
        Kept()  # type: ignore[call-arg, unused-ignore]
