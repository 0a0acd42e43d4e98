"""Account for every committed change: `committed = applied + superseded + parked + skipped + pending`.

The terms come from different witnesses: what was committed from the oracle, what was applied, refused, held and
dropped from the projector, what was handed over from the journal. A projector that loses a row in silence
leaves the sum short.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lab.running.journal import Journal
from lab.statistics.grouped import blocks

# What is marked of a change, each a bit of one byte: a run has many changes.
_HANDED, _APPLIED, _PARKED, _DROPPED, _REFUSED, _DEAD, _GIVEN_UP = (1 << bit for bit in range(7))


def _mark(marks: np.ndarray, bit: int, arrays: Iterable[np.ndarray]) -> None:
    for positions in arrays:
        marks[positions - 1] |= bit


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
    marks = np.zeros(size, np.uint8)
    for bit, what in ((_HANDED, "handed"), (_APPLIED, "positions"), (_DROPPED, "dropped"), (_REFUSED, "refused")):
        _mark(marks, bit, journal.each(what))
    _mark(marks, _PARKED, [waiting])
    # Changes that were held in memory when the process died, and were not delivered again.
    _mark(marks, _DEAD, [*(note.handed for note in journal.notes if note.crash), *journal.forgotten])
    _mark(marks, _GIVEN_UP, [given_up])
    counts = dict.fromkeys(("applied", "superseded", "duplicates", "parked", "skipped", "pending"), 0)
    mine = np.zeros(size, bool)
    mine[chosen] = True
    for block in blocks(size):
        for name, found in _told(marks[block], mine[block], np.isfinite(visible[block])).items():
            counts[name] += found
    return {"projection": projection, "committed": committed} | counts | {"duplicates": _again(size, journal)}


def _told(marks: np.ndarray, mine: np.ndarray, visible: np.ndarray) -> dict[str, int]:
    """Count the terms of a block of changes."""
    handed, applied, parked, skipped, refused, dead, given_up = ((marks & 1 << bit) != 0 for bit in range(7))
    # A duplicate of a change that is held back is refused, but the change itself still waits: it is parked.
    parked &= ~applied
    skipped &= ~applied & ~parked
    refused &= ~applied & ~parked & ~skipped
    dead &= ~applied & ~parked & ~skipped & ~refused
    never = mine & ~handed | dead
    unnecessary = never & visible
    told = never & ~unnecessary & given_up
    return {
        "applied": int(applied.sum()),
        "superseded": int(refused.sum() + unnecessary.sum()),
        "parked": int(parked.sum()),
        "skipped": int(skipped.sum() + told.sum()),
        "pending": int(never.sum() - unnecessary.sum() - told.sum()),
    }


def _again(size: int, journal: Journal) -> int:
    """Handed over more than once within the life of one projection: a rebuild reads everything again by right."""
    again = 0
    for epoch in range(journal.epoch + 1):
        marks = np.zeros(size, bool)
        for note in journal.notes:
            if note.epoch == epoch:
                marks[note.handed - 1] = True
                again += note.handed.size
        again -= int(marks.sum())
    return again


def balances(row: dict[str, object]) -> int:
    """Return how many changes the identity leaves unaccounted for; 0 if it holds."""
    numbers = {name: value for name, value in row.items() if isinstance(value, int)}
    terms = ("applied", "superseded", "parked", "skipped", "pending")
    return numbers["committed"] - sum(numbers[term] for term in terms)
