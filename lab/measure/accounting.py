"""Where every committed change went: `committed = applied + superseded + parked + skipped + pending`.

The terms come from different witnesses: what was committed from the oracle, what was applied, refused, held and
dropped from the projector, what was handed over from whoever drove it. A projector that loses a row in silence
leaves the sum short.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lab.projection.workers import Journal


def _marked(size: int, arrays: Iterable[np.ndarray]) -> np.ndarray:
    marks = np.zeros(size, bool)
    for positions in arrays:
        marks[positions - 1] = True
    return marks


def account(
    projection: str,
    committed: int,
    chosen: np.ndarray,
    size: int,
    journal: Journal,
    held: np.ndarray,
    visible: np.ndarray,
) -> dict[str, object]:
    """One row of `accounting`.

    `committed` is the oracle's count; `chosen` the indices of the changes subscribed to, of `size` in all;
    `held` the positions still held back; `visible` the times at which each change was visible.

    applied: written. superseded: a later revision had been written when it came, or made it unnecessary
    before it came. parked: held back to the end. skipped: given up. pending: never handed over, and not
    made unnecessary. duplicates: handed over again; they are no part of the sum.
    """
    handed = _marked(size, journal.handed)
    applied = _marked(size, journal.written)
    # A duplicate of what is held back is refused, and the change waits all the same: it is parked.
    parked = _marked(size, [held]) & ~applied
    skipped = _marked(size, journal.dropped) & ~applied & ~parked
    refused = _marked(size, journal.refused) & ~applied & ~parked & ~skipped
    never = np.zeros(size, bool)
    never[chosen] = ~handed[chosen]
    unnecessary = never & np.isfinite(visible)
    return {
        "projection": projection,
        "committed": committed,
        "applied": int(applied.sum()),
        "superseded": int(refused.sum() + unnecessary.sum()),
        "duplicates": sum(positions.size for positions in journal.handed) - int(handed.sum()),
        "parked": int(parked.sum()),
        "skipped": int(skipped.sum()),
        "pending": int(never.sum() - unnecessary.sum()),
    }


def balances(row: dict[str, object]) -> int:
    """How many changes the identity leaves unaccounted for; 0 when it holds."""
    numbers = {name: value for name, value in row.items() if isinstance(value, int)}
    terms = ("applied", "superseded", "parked", "skipped", "pending")
    return numbers["committed"] - sum(numbers[term] for term in terms)
