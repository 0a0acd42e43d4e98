"""Account for every committed change: `committed = applied + superseded + parked + skipped + pending`.

The terms come from different witnesses: what was committed from the oracle, what was applied, refused, held and
dropped from the projector, what was handed over from the journal. A projector that loses a row in silence
leaves the sum short.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lab.running.journal import Journal


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
    waiting: np.ndarray,
    given_up: np.ndarray,
    visible: np.ndarray,
) -> dict[str, object]:
    """Return a row of the table `accounting`.

    `committed` is the oracle's count; `chosen` the indices of the changes subscribed to, of `size` in all;
    `waiting` the positions still held back or parked; `given_up` those that a reader stopped waiting for; `visible` the
    times at which each change was visible.

    applied: written. superseded: a later revision had been written when it came, or made it unnecessary
    before it came. parked: held back or set aside to the end. skipped: given up, and told. pending: never handed over
    or forgotten in a crash, and not made unnecessary. duplicates: handed over again to the same projection; they are no
    part of the sum.
    """
    handed = _marked(size, journal.each("handed"))
    applied = _marked(size, journal.each("positions"))
    # A duplicate of a change that is held back is refused, but the change itself still waits: it is parked.
    parked = _marked(size, [waiting]) & ~applied
    skipped = _marked(size, journal.each("dropped")) & ~applied & ~parked
    refused = _marked(size, journal.each("refused")) & ~applied & ~parked & ~skipped
    # Changes that were held in memory when the process died, and were not delivered again.
    died = [note.handed for note in journal.notes if note.crash]
    dead = _marked(size, [*died, *journal.forgotten]) & ~applied & ~parked & ~skipped & ~refused
    never = np.zeros(size, bool)
    never[chosen] = ~handed[chosen]
    never |= dead
    unnecessary = never & np.isfinite(visible)
    told = never & ~unnecessary & _marked(size, [given_up])
    return {
        "projection": projection,
        "committed": committed,
        "applied": int(applied.sum()),
        "superseded": int(refused.sum() + unnecessary.sum()),
        "duplicates": _again(size, journal),
        "parked": int(parked.sum()),
        "skipped": int(skipped.sum() + told.sum()),
        "pending": int(never.sum() - unnecessary.sum() - told.sum()),
    }


def _again(size: int, journal: Journal) -> int:
    """Handed over more than once within the life of one projection: a rebuild reads everything again by right."""
    again = 0
    for epoch in range(journal.epoch + 1):
        arrays = [note.handed for note in journal.notes if note.epoch == epoch]
        again += sum(positions.size for positions in arrays) - int(_marked(size, arrays).sum())
    return again


def balances(row: dict[str, object]) -> int:
    """Return how many changes the identity leaves unaccounted for; 0 if it holds."""
    numbers = {name: value for name, value in row.items() if isinstance(value, int)}
    terms = ("applied", "superseded", "parked", "skipped", "pending")
    return numbers["committed"] - sum(numbers[term] for term in terms)
