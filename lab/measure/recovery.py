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
    """How one projection recovered from a disturbance. `over_at` is infinite if it didn't until the end of the run."""

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
            "back_after_seconds": max(0.0, self.over_at - fault.until) if math.isfinite(self.over_at) else None,
            "head_room": self.drained / self.rate if self.drained is not None and self.rate > 0 else None,
            "head_room_needed": needed,
            "reason": self.reason or None,
        }


def recoveries(disturbances: Iterable[Disturbance], committed: np.ndarray, visible: np.ndarray) -> list[Recovery]:
    """Return how the lag recovered from each disturbance; those that began before the one before was over are joined.

    `committed` and `visible` are seconds, one for each change; those that never became visible are infinite, and left
    out: nothing recovers them.
    """
    shown = np.isfinite(visible)
    order = np.argsort(committed[shown], kind="stable")
    lags = _Lags(committed[shown][order], visible[shown][order])
    found: list[Recovery] = []
    for one in sorted(disturbances, key=lambda one: one.at):
        last = found[-1] if found else None
        if last is not None and one.at < max(last.over_at, last.disturbance.until):
            joined = _joined(last.disturbance, one)
            since = found[-2].over_at if len(found) > 1 else 0.0
            found[-1] = lags.recovery(joined, since)
        else:
            found.append(lags.recovery(one, last.over_at if last else 0.0))
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

    def recovery(self, fault: Disturbance, since: float) -> Recovery:
        """How the lag recovered from a fault; the band is that of changes committed from `since` on."""
        first = int(np.searchsorted(self.committed, fault.at, side="left"))
        last = int(np.searchsorted(self.committed, fault.until, side="right"))
        before = self.lags[int(np.searchsorted(self.committed, since, side="left")) : first]
        before = before[self.visible[first - before.size : first] <= fault.at]
        if first >= self.committed.size:
            return Recovery(fault, fault.until, None, 0, fault.at, None, 0.0, "nothing was committed after it began")
        over, band, reason = self.committed.size, None, f"fewer than {_BEFORE_MIN} changes were visible before it began"
        if before.size >= _BEFORE_MIN:
            band = quantile(before, 0.99 if before.size >= samples_needed(0.99) else 1.0)
            over, reason = self._over(band, first, last), ""
        there = over < self.committed.size
        if band is not None and not there:
            reason = "the lag was not back in its band by the end of the run"
        stop = over + 1 if there else self.committed.size
        peak = first + int(np.argmax(self.debt[first:stop]))
        over_at = float(self.committed[over]) if there else math.inf
        end = float(self.committed[stop - 1])
        rate = (stop - first) / (end - fault.at) if end > fault.at else 0.0
        drained = None
        if there and over_at > self.committed[peak]:
            drained = float(self.debt[peak] - self.debt[over]) / float(over_at - self.committed[peak])
        debt_at = float(self.committed[peak])
        return Recovery(fault, over_at, band, int(self.debt[peak]), debt_at, drained, rate, reason)

    def _over(self, band: float, first: int, last: int) -> int:
        """The place of the first change whose lag is back in the band; the number of changes if there is none."""
        worst = first + int(np.argmax(self.lags[first : max(last, first + 1)]))
        outside = self.lags[worst:] > band * (1 + _ROUNDING) + _ROUNDING
        sums = np.append(0, np.cumsum(outside))
        ends = np.minimum(np.arange(outside.size) + _AFTER, outside.size)
        share = (sums[ends] - sums[:-1]) / (ends - np.arange(outside.size))
        back = np.flatnonzero(~outside & (share <= _OUTSIDE))
        return worst + int(back[0]) if back.size else self.committed.size
