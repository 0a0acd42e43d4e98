"""Transactions of which readers saw a part: from when each of their changes was visible, and for how long.

A whole answer is impossible while a part of any transaction is seen. To find those times without a list of what is
seen, each change has a number at random, and the numbers of a transaction add up to 0 (modulo 2^64): so does the sum
over all that is seen, but for one case in 2^64, exactly if every transaction is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.mapped import breathe
from lab.measure.windows import Window
from lab.spill import Spill
from lab.statistics.grouped import BLOCK, TOGETHER, blocks


class Half(NamedTuple):
    """One transaction of which a part was seen: where its changes begin among `legs`, and the times in seconds."""

    place: int
    since: float
    until: float

    @property
    def lasts(self) -> float:
        """Return for how long it was torn, in seconds."""
        return self.until - self.since


@dataclass(frozen=True)
class Halves:
    """What was seen of the transactions: how many there are, how many were torn, and for how long in all, in seconds.

    `first` was the first one to be seen in part, `longest` was so for the longest time.
    """

    transactions: int = 0
    torn: int = 0
    seconds: float = 0.0
    first: Half | None = None
    longest: Half | None = None


def legs_of(transaction: np.ndarray, chosen: np.ndarray, spill: Spill) -> np.ndarray:
    """Return those of the chosen changes of whose transaction there is another one among them."""
    found, size = spill.empty(chosen.size, np.int64), 0
    for block in blocks(chosen.size):
        first = max(0, block.start - 1)
        of = transaction[chosen[first : block.stop + 1]]
        same = of[1:] == of[:-1]
        several = (np.append(False, same) | np.append(same, False))[block.start - first :][: block.stop - block.start]
        some = chosen[block][several]
        found[size : size + some.size] = some
        size += some.size
    return found[:size]


def _together(transaction: np.ndarray, legs: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks that end where a transaction ends, and where in the block each transaction begins."""
    first = 0
    while first < legs.size:
        breathe()
        last = min(first + BLOCK, legs.size)
        while last < legs.size and transaction[legs[last]] == transaction[legs[last - 1]]:
            last += 1
        of = transaction[legs[first:last]]
        yield slice(first, last), np.flatnonzero(np.append(True, of[1:] != of[:-1]))
        first = last


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return numbers that look drawn at random, the same for the same ones (the finaliser of SplitMix64)."""
    found = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = found ^ (found >> np.uint64(31))
    return mixed


def numbers_of(transaction: np.ndarray, legs: np.ndarray, spill: Spill) -> np.ndarray:
    """Return a number for each leg, at random; those of a transaction add up to 0, modulo 2^64."""
    found = spill.empty(legs.size, np.uint64)
    for block, starts in _together(transaction, legs):
        some = _mixed(legs[block])
        ends = np.append(starts[1:], some.size) - 1
        some[ends] -= np.add.reduceat(some, starts)
        found[block] = some
    return found


def parts(transaction: np.ndarray, legs: np.ndarray, windows: Sequence[Window]) -> Halves:
    """Look at one transaction after the other: from when to when some of its changes were visible, and some not."""
    count, torn, seconds = 0, 0, 0.0
    first: Half | None = None
    longest: Half | None = None
    for block, starts in _together(transaction, legs):
        count += starts.size
        marks = np.zeros(starts.size, bool)
        for window in windows:
            times = window.visible[legs[block]]
            since = np.maximum(np.minimum.reduceat(times, starts), window.since)
            lasts = np.minimum(np.maximum.reduceat(times, starts), window.until) - since
            apart = np.flatnonzero(lasts > 0)
            if not apart.size:
                continue
            marks[apart] = True
            seconds += float(lasts[apart].sum())
            early, long = apart[np.argmin(since[apart])], apart[np.argmax(lasts[apart])]
            one, other = (
                Half(block.start + int(starts[at]), float(since[at]), float(since[at] + lasts[at]))
                for at in (early, long)
            )
            first = one if first is None or one.since < first.since else first
            longest = other if longest is None or other.lasts > longest.lasts else longest
        torn += int(marks.sum())
    return Halves(count, torn, seconds, first, longest)


def impossible(window: Window, legs: np.ndarray, numbers: np.ndarray) -> float:
    """Return for how many seconds a part of some transaction was seen, a range of times after the other."""
    sample = window.visible[legs[:: max(1, legs.size // BLOCK)]]
    sample = np.sort(sample[(sample >= window.since) & (sample < window.until)])
    edges = np.unique([window.since, *sample[:: max(1, sample.size * TOGETHER // max(1, legs.size))], window.until])
    balance, at, found = np.zeros(1, np.uint64), window.since, 0.0
    for low, high in pairwise(edges):
        times, values = [np.empty(0)], [np.empty(0, np.uint64)]
        for block in blocks(legs.size):
            shown = window.visible[legs[block]]
            mine = (shown >= low) & (shown < high)
            times.append(shown[mine])
            values.append(numbers[block][mine])
        seconds, balance, at = _unbalanced(np.concatenate(times), np.concatenate(values), balance, at)
        found += seconds
    return found + (window.until - at if balance[0] else 0.0)


def impossible_again(
    shown: pl.DataFrame, published: Published, legs: np.ndarray, numbers: np.ndarray, until: float
) -> float:
    """Return the same of a projection that shows older revisions again; `shown` as `lab.measure.lag` tells it."""
    own = np.zeros(published.record.size, np.uint64)
    own[legs] = numbers
    # What there is of a record up to each of its revisions.
    order = np.lexsort((published.revision, published.record))
    record, upto = published.record[order], np.cumsum(own[order], dtype=np.uint64)
    begins = np.append(True, record[1:] != record[:-1])[: record.size]
    before = (upto - own[order])[begins][np.cumsum(begins) - 1]
    sums = np.zeros(record.size + 1, np.uint64)
    sums[order] = upto - before
    # The last entry is that of index -1: nothing is shown.
    now = shown["index"].to_numpy()
    former = shown.select(pl.col("index").shift(1).over("record").fill_null(-1))["index"].to_numpy()
    balance = np.zeros(1, np.uint64)
    seconds, balance, at = _unbalanced(shown["at"].to_numpy(), sums[now] - sums[former], balance, 0.0)
    return seconds + (until - at if balance[0] else 0.0)


def _unbalanced(
    times: np.ndarray, values: np.ndarray, balance: np.ndarray, at: float
) -> tuple[float, np.ndarray, float]:
    """Return the seconds since `at` without balance up to the last of these times, the balance after it, that time."""
    if not times.size:
        return 0.0, balance, at
    order = np.argsort(times, kind="stable")
    times, sums = times[order], np.cumsum(values[order], dtype=np.uint64) + balance
    # What becomes visible at one time is seen together.
    last = np.append(times[1:] != times[:-1], True)
    times, sums = times[last], sums[last]
    before = np.append(balance, sums[:-1])
    return float(np.diff(times, prepend=at)[before != 0].sum()), sums[-1:], float(times[-1])


@dataclass(frozen=True)
class TornTransactions:
    """The transactions of one projection: its legs, the windows, and what came of them.

    `impossible` are the seconds, of `seconds`, in which a part of some transaction was seen.
    """

    transaction: np.ndarray
    legs: np.ndarray
    windows: Sequence[Window]
    parts: Halves
    impossible: float
    seconds: float

    @property
    def share(self) -> float:
        """Return at which share of all moments a whole answer was impossible."""
        return self.impossible / self.seconds if self.seconds else 0.0

    def number(self, part: Half) -> int:
        """Return what a transaction is called: the position of its first change."""
        return int(self.transaction[self.legs[part.place]])

    def legs_at(self, part: Half) -> np.ndarray:
        """Return the changes of a transaction, by index."""
        last = part.place
        while last < self.legs.size and self.transaction[self.legs[last]] == self.number(part):
            last += 1
        found: np.ndarray = self.legs[part.place : last]
        return found

    def row(self, projection: str) -> dict[str, object]:
        """Return its row of the table `transactions`."""
        longest = self.parts.longest
        return {
            "projection": projection,
            "transactions": self.parts.transactions,
            "torn": self.parts.torn,
            "impossible_share": self.share,
            "torn_at_once": self.parts.seconds / self.seconds if self.seconds else 0.0,
            "longest_seconds": longest.lasts if longest else 0.0,
        }
