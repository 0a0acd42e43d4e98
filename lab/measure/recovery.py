"""Say how a projection recovered from each outage, crash or slow period: its debt, its rate, and when it was over.

The debt is how many changes were committed and not visible. A projection has recovered with the first change, committed
after the largest lag of the fault, whose lag is back in its band, as are 95 of the 100 that follow it. The band ends
where the lags before the fault did: at their p99, or at their largest if they are fewer than 100.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.statistics.quantiles import quantile, samples_needed

# So many changes must be back in the band, but for a share of them.
_AFTER, _OUTSIDE = 100, 0.05
# So many changes are looked at first; twice as many next, and so on.
_LOOKED = 1_024
# Fewer lags before a fault give no band.
_BEFORE_MIN = 10
# Equal lags differ by the rounding of the clock.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Disturbance:
    """A fault that a lag can recover from: its kind, its times in seconds, and how many faults it stands for."""

    kind: str
    at: float
    until: float
    faults: int = 1


@dataclass(frozen=True)
class Recovery:
    """How one projection recovered from a disturbance.

    `over_at` is infinite if it didn't until the end of the run. Without a `band`, by which it would be told, it is the
    end of the fault.
    """

    disturbance: Disturbance
    over_at: float
    band: float | None
    debt: int
    debt_at: float
    drained: float | None
    rate: float
    reason: str = ""

    def row(self, projection: str) -> dict[str, object]:
        """The row of the table `recovery`."""
        fault = self.disturbance
        lasts = fault.until - fault.at
        needed = self.debt / (lasts * self.rate) if lasts > 0 and self.rate > 0 else None
        over = self.band is not None and math.isfinite(self.over_at)
        return {
            "projection": projection,
            "fault": fault.kind,
            "faults": fault.faults,
            "at_seconds": fault.at,
            "until_seconds": fault.until,
            "band_seconds": self.band,
            "debt_peak": self.debt,
            "peak_at_seconds": self.debt_at,
            "drained_per_second": self.drained,
            "back_after_seconds": max(0.0, self.over_at - fault.until) if over else None,
            "head_room": self.drained / self.rate if self.drained is not None and self.rate > 0 else None,
            "head_room_needed": needed,
            "reason": self.reason or None,
        }


def recoveries(disturbances: Iterable[Disturbance], committed: np.ndarray, visible: np.ndarray) -> list[Recovery]:
    """Return how the lag recovered from each disturbance; those that began before the one before was over are joined.

    `committed` and `visible` are seconds, one for each change; those that never became visible are infinite, and left
    out: nothing recovers them.
    """
    disturbances = sorted(disturbances, key=lambda one: one.at)
    if not disturbances:
        return []
    shown = np.isfinite(visible)
    order = np.argsort(committed[shown], kind="stable")
    lags = _Lags(committed[shown][order], visible[shown][order])
    found: list[Recovery] = []
    for one in disturbances:
        last = found[-1] if found else None
        if last is not None and one.at < max(last.over_at, last.disturbance.until):
            joined = _joined(last.disturbance, one)
            if math.isinf(last.over_at):
                # What isn't over by the end of the run is not over after another fault either.
                found[-1] = replace(last, disturbance=joined)
            else:
                found[-1] = lags.recovery(joined, found[-2] if len(found) > 1 else None)
        else:
            found.append(lags.recovery(one, last))
    return found


def _joined(one: Disturbance, other: Disturbance) -> Disturbance:
    kinds = dict.fromkeys([*one.kind.split(", "), other.kind])
    until = max(one.until, other.until)
    return replace(one, kind=", ".join(kinds), until=until, faults=one.faults + other.faults)


def apart(found: Sequence[Recovery], committed: np.ndarray) -> np.ndarray:
    """Return a mask of the changes that were committed during no disturbance, nor before it was over."""
    calm = np.ones(committed.size, bool)
    for each in found:
        over_at = max(each.over_at, each.disturbance.until)
        calm &= (committed < each.disturbance.at) | (committed >= over_at)
    return calm


class _Lags:
    def __init__(self, committed: np.ndarray, visible: np.ndarray) -> None:
        self.committed, self.visible, self.lags = committed, visible, visible - committed
        self.shown = np.sort(visible)
        # How many are committed and not visible, at each commit.
        self.debt = np.arange(1, committed.size + 1) - np.searchsorted(self.shown, committed, side="right")

    def recovery(self, fault: Disturbance, former: Recovery | None) -> Recovery:
        """How the lag recovered from a fault; its band is that of the changes since the recovery before, if any."""
        since = 0.0 if former is None else former.over_at
        if former is not None and former.band is None:
            # When that one was over is unknown, and likelier the later.
            since = (since + fault.at) / 2
        first = int(np.searchsorted(self.committed, fault.at, side="left"))
        last = int(np.searchsorted(self.committed, fault.until, side="right"))
        before = self.lags[int(np.searchsorted(self.committed, since, side="left")) : first]
        before = before[self.visible[first - before.size : first] <= fault.at]
        if first >= self.committed.size:
            return Recovery(fault, fault.until, None, 0, fault.at, None, 0.0, "nothing was committed after it began")
        # Soon after another fault, the band is the one from before it.
        band, reason = None if former is None else former.band, ""
        if before.size >= _BEFORE_MIN:
            band = quantile(before, 0.99 if before.size >= samples_needed(0.99) else 1.0)
        over = min(max(last, first), self.committed.size - 1) if band is None else self._over(band, first, last)
        there = over < self.committed.size
        if band is None:
            reason = f"fewer than {_BEFORE_MIN} changes were visible before it began"
        elif not there:
            reason = "the lag was not back in its band by the end of the run"
        stop = over + 1 if there else self.committed.size
        peak = first + int(np.argmax(self.debt[first:stop]))
        over_at = float(self.committed[over]) if there else math.inf
        end = float(self.committed[stop - 1])
        rate = (stop - first) / (end - fault.at) if end > fault.at else 0.0
        drained = None
        if band is not None and there and over_at > self.committed[peak]:
            drained = float(self.debt[peak] - self.debt[over]) / float(over_at - self.committed[peak])
        over_at = over_at if band is not None else fault.until
        debt_at = float(self.committed[peak])
        return Recovery(fault, over_at, band, int(self.debt[peak]), debt_at, drained, rate, reason)

    def _over(self, band: float, first: int, last: int) -> int:
        """The place of the first change whose lag is back in the band; the number of changes if there is none."""
        size, ahead = self.committed.size, _LOOKED
        place = first + int(np.argmax(self.lags[first : max(last, first + 1)]))
        # Most recoveries are short: to look at all that follows would take long where there are many faults.
        while place < size:
            outside = self.lags[place : place + ahead + _AFTER] > band * (1 + _ROUNDING) + _ROUNDING
            sums, places = np.append(0, np.cumsum(outside)), np.arange(min(ahead, outside.size))
            ends = np.minimum(places + _AFTER, outside.size)
            share = (sums[ends] - sums[places]) / (ends - places)
            back = np.flatnonzero(~outside[: places.size] & (share <= _OUTSIDE))
            if back.size:
                return place + int(back[0])
            place, ahead = place + ahead, 2 * ahead
        return size
