"""Delta debugging: the fewest items that still fail (Zeller and Hildebrandt, 2002)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], fails: Callable[[list[T]], bool], trials: int = 2000) -> list[T]:
    """A part of `items`, in their order, that fails and from which no single one can be left out.

    `fails` must hold for all of them. It is asked at most `trials` times; then what is left may not be the least.
    """
    kept = list(items)
    parts = 2
    while kept and trials > 0:
        size = max(1, -(-len(kept) // parts))
        for first in range(0, len(kept), size):
            rest = kept[:first] + kept[first + size :]
            trials -= 1
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
            if trials <= 0:
                return kept
        else:
            if size == 1:
                return kept
            parts = min(len(kept), parts * 2)
    return kept
