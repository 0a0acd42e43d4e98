"""The verdict on a claim, with what it was judged by."""

from __future__ import annotations

from dataclasses import dataclass

VERIFIED, REFUTED, INCONCLUSIVE = "verified", "refuted", "inconclusive"


@dataclass(frozen=True)
class JudgedClaim:
    """A claim's verdict. `left` and `right` are medians over the repetitions; None where they are not told.

    `value` is the ratio of left to right or their difference (`compared` says which), `low` and `high` the ends of its
    95 % interval; None for counts, which are exact. `reason` says why a claim is inconclusive and how many repetitions
    it would take, and of counts in which repetition it doesn't hold.
    """

    verdict: str
    repetitions: int
    reason: str = ""
    left: float | None = None
    right: float | None = None
    compared: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
