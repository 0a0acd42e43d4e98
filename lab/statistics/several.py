"""Many comparisons at once: which of them show a difference, if chance alone would show one among so many."""

from __future__ import annotations

from collections.abc import Sequence

from lab.statistics.intervals import CONFIDENCE


def discoveries(p: Sequence[float | None], rate: float = 1 - CONFIDENCE) -> tuple[list[bool], float]:
    """Return which of many comparisons show a difference, and the p-value that one more would have needed.

    By Y. Benjamini and Y. Hochberg ("Controlling the false discovery rate", 1995): of the differences that are called
    one, a share of `rate` is false, in the mean. If nothing differs at all, that is the chance that anything is called
    a difference. (`holm` holds that chance also beside true differences, and finds fewer of them: a reader of a long
    list asks how much of it is true.) Comparisons without a p-value take no part.
    """
    known = sorted(value for value in p if value is not None)
    held = [place for place, value in enumerate(known, 1) if value <= rate * place / len(known)]
    last = held[-1] if held else 0
    most = known[last - 1] if last else -1.0
    needed = rate * min(last + 1, len(known)) / len(known) if known else rate
    return [value is not None and value <= most for value in p], needed


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return the p-values corrected for their number: what is at most 0.05 is wrong in 5 % of such lists at the most.

    By S. Holm ("A simple sequentially rejective multiple test procedure", 1979), for lists in which a single false
    statement counts. Comparisons without a p-value take no part.
    """
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    most = 0.0
    for before, (value, place) in enumerate(known):
        most = max(most, min((len(known) - before) * value, 1.0))
        corrected[place] = most
    return corrected
