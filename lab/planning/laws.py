"""What is fitted to measured runs: laws of growth, and the queueing model with what it misses by.

The model knows nothing of pauses, of refused messages, of caches. So it is asked for each measured run, too, at that
run's own rate and size, and the ratio of what was measured to what it says is fitted as any other figure: the interval
of that law is what the model may be wrong by for one more run (`lab.statistics.powers`), run to run and by itself.
Away from the measured rate there are two more doubts, and the ends of an interval are the farthest of all of both: how
much of a batch's time is that of the batch and how much that of its rows, and how long batches are at this size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lab.planning.queue import QueueFigures, QueueSettings, queue
from lab.statistics.intervals import Interval
from lab.statistics.lines import StraightLine, line
from lab.statistics.powers import FURTHEST, Power, power
from lab.statistics.student import t_quantile

RUNS_MIN, SIZES_MIN = 4, 3
# Sizes and rates that differ by less than this factor count as one.
SAME_SIZE = 1.05
# Of logarithms: less is rounding.
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class MeasuredRun:
    """One run: changes that were committed in all and seen by the projection, seconds from first to last, figures."""

    name: str
    changes: float
    seen: float
    seconds: float
    figures: dict[str, float]

    @property
    def rate(self) -> float:
        """Changes a second, of all."""
        return self.changes / self.seconds


@dataclass(frozen=True)
class Foretold:
    """A figure at a size and rate that may never have been run, with its 95 % interval for one more measurement.

    `value` is None where it is refused or unknown, and `reason` says why; it also says why an end is None.
    """

    quantity: str
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    extrapolated: bool = False
    reason: str = ""

    def times(self, factor: float, quantity: str = "", unit: str = "") -> Foretold:
        """Return it multiplied by a number that is known."""
        value, low, high = (None if each is None else each * factor for each in (self.value, self.low, self.high))
        return replace(
            self, value=value, low=low, high=high, quantity=quantity or self.quantity, unit=unit or self.unit
        )


@dataclass(frozen=True)
class GrowthLaw:
    """A figure against the number of changes; without a `power`, `reason` says what is missing.

    Sizes that were measured seldom tell a power law from a fixed part with a part in proportion. So both are fitted:
    the value is that of the closer one, and the interval has both of theirs.
    """

    quantity: str
    unit: str
    smallest: float = math.nan
    power: Power | None = None
    line: StraightLine | None = None
    reason: str = ""

    def at(self, changes: float) -> Foretold:
        """Return what one more measurement would show after so many changes; refused too far out."""
        if self.power is None:
            return Foretold(self.quantity, self.unit, reason=self.reason)
        largest = self.power.largest
        if changes > FURTHEST * largest:
            return Foretold(self.quantity, self.unit, extrapolated=True, reason=too_far(changes, largest))
        beyond = changes > largest * SAME_SIZE or changes < self.smallest / SAME_SIZE
        if beyond and self.power.error < _NO_SPREAD and abs(self.power.exponent) < _NO_SPREAD:
            why = (
                "it is the same at every size measured, as a file of the least size is: nothing is told of other sizes"
            )
            return Foretold(self.quantity, self.unit, extrapolated=True, reason=why)
        value, expected = self.power.at(changes)
        ends = [expected]
        if self.line is not None:
            other, also = self.line.at(changes)
            if other > 0:
                ends.append(also)
                value = other if self.line.misfit < self.misfit else value
        low = min(each.low for each in ends if each.low is not None)
        high = max(each.high for each in ends if each.high is not None)
        return Foretold(self.quantity, self.unit, value, low, high, beyond)

    @property
    def misfit(self) -> float:
        """The root of the mean squared logarithm of measured by said, of the power law."""
        assert self.power is not None
        return self.power.error * math.sqrt(1 - 2 / self.power.count)

    def forms(self, changes: float) -> tuple[float, float]:
        """Return the least and the largest value that the laws say; NaN where nothing is told."""
        if self.power is None or self.at(changes).value is None:
            return math.nan, math.nan
        said = [self.power.at(changes)[0]] + ([] if self.line is None else [self.line.at(changes)[0]])
        known = [each for each in said if each > 0]
        return min(known), max(known)


def too_far(changes: float, largest: float) -> str:
    """Return why a size is refused."""
    return (
        f"{changes:,.0f} changes are beyond {FURTHEST:g} times the largest size measured, {largest:,.0f}: "
        f"measure at least {changes / FURTHEST:,.0f}"
    )


def fitted(runs: Sequence[MeasuredRun], quantity: str, unit: str, values: Sequence[float | None]) -> GrowthLaw:
    """Return the law of a figure, a value for each run; without enough of them, why there is none."""
    known = [(run.changes, value) for run, value in zip(runs, values, strict=True) if value is not None and value > 0]
    sizes = _different([changes for changes, _ in known])
    if len(known) < len(runs):
        why = f"{quantity} is unknown in {len(runs) - len(known)} of {len(runs)} runs"
        return GrowthLaw(quantity, unit, reason=why)
    if len(known) < RUNS_MIN or sizes < SIZES_MIN:
        what = f"{len(known)} runs of {sizes} sizes; {RUNS_MIN} of {SIZES_MIN} are needed"
        return GrowthLaw(quantity, unit, reason=what)
    sizes_of, values_of = [changes for changes, _ in known], [value for _, value in known]
    return GrowthLaw(quantity, unit, min(sizes_of), power(sizes_of, values_of), line(sizes_of, values_of))


def _different(sizes: Sequence[float]) -> int:
    """Return how many sizes there are; runs of one size differ by a few rejected commands."""
    ordered = sorted(sizes)
    return sum(1 for one, other in zip([0.0, *ordered], ordered, strict=False) if other > SAME_SIZE * one)


def law_of(runs: Sequence[MeasuredRun], quantity: str, unit: str) -> GrowthLaw:
    """Return the law of a figure that the runs have."""
    return fitted(runs, quantity, unit, [run.figures.get(quantity) for run in runs])


Simulate = Callable[..., QueueFigures]


@dataclass(frozen=True)
class QueueLaw:
    """The queueing model of one projection, fitted to its runs: `measured` are the settings of those."""

    runs: tuple[MeasuredRun, ...]
    measured: QueueSettings
    seed: int
    simulate: Simulate = field(default=queue, repr=False)

    @cached_property
    def batch(self) -> GrowthLaw:
        """The mean seconds of a batch, as large as batches were."""
        return law_of(self.runs, "batch_seconds", "seconds")

    @cached_property
    def fixed(self) -> tuple[float, float, float]:
        """Which share of a batch's time doesn't depend on its rows: mean, and the ends of the mean's interval."""
        shares = [run.figures["per_batch"] / run.figures["batch_seconds"] for run in self.runs]
        mean, freedom = float(np.mean(shares)), len(shares) - 1
        wide = t_quantile(freedom, 0.975) * float(np.std(shares, ddof=1)) / math.sqrt(len(shares))
        return min(mean, 1.0), min(max(mean - wide, 0.0), 1.0), min(mean + wide, 1.0)

    @cached_property
    def rows(self) -> float:
        """The mean rows of a batch."""
        return float(np.mean([run.figures["batch_rows"] for run in self.runs]))

    @cached_property
    def part(self) -> float:
        """The share of all changes that the projection sees."""
        return float(np.mean([run.seen / run.changes for run in self.runs]))

    @cached_property
    def rate(self) -> float:
        """The highest rate that was measured, in changes a second."""
        return max(run.rate for run in self.runs)

    @property
    def missing(self) -> str:
        """Why there is no model; empty if there is one."""
        if any(not {"per_batch", "batch_seconds", "batch_rows"} <= run.figures.keys() for run in self.runs):
            return "how long its batches take is unknown in some runs: were they measured by an older version?"
        return self.batch.reason or self.slower.reason

    @cached_property
    def slower(self) -> GrowthLaw:
        """How much more of the time it was at work than the model says."""
        said = [self._said(run, 1.0).busy for run in self.runs]
        return self._missed("busy_share", said)

    @cached_property
    def late(self) -> dict[str, GrowthLaw]:
        """How much larger the p50 and the p99 of the lag were than the model says, once that is taken into account."""
        said = [self._said(run, self.slower.at(run.changes).value or 1.0) for run in self.runs]
        return {
            "lag_p50": self._missed("lag_p50", [each.p50 for each in said]),
            "lag_p99": self._missed("lag_p99", [each.p99 for each in said]),
        }

    def _missed(self, quantity: str, said: Sequence[float | None]) -> GrowthLaw:
        values = [
            run.figures[quantity] / model if model and quantity in run.figures else None
            for run, model in zip(self.runs, said, strict=True)
        ]
        return fitted(self.runs, quantity, "ratio", values)

    def _said(self, run: MeasuredRun, factor: float) -> QueueFigures:
        seconds = self.batch.at(run.changes).value or math.nan
        rate, count = run.rate * self.part, max(round(run.seen), 1)
        return self.simulate(self.measured, rate, *self._split(seconds * factor, self.fixed[0]), self.seed, count)

    def _split(self, seconds: float, fixed: float) -> tuple[float, float]:
        """Return the seconds of each batch and of each row."""
        return seconds * fixed, seconds * (1 - fixed) / self.rows

    def at(self, rate: float, changes: float, settings: QueueSettings) -> dict[str, Foretold]:
        """Return `busy_share`, `lag_p50` and `lag_p99` at so many changes a second, after so many changes."""
        names = {"busy_share": "share", "lag_p50": "seconds", "lag_p99": "seconds"}
        why = self.missing
        batch = self.batch.at(changes)
        if not why and rate > FURTHEST * self.rate:
            batch = replace(batch, value=None, extrapolated=True)
            why = (
                f"{rate:,.0f} changes a second are beyond {FURTHEST:g} times the highest rate measured, "
                f"{self.rate:,.0f}: measure a higher one"
            )
        if why := why or ("" if batch.value is not None else batch.reason):
            return {
                name: Foretold(name, unit, extrapolated=batch.extrapolated, reason=why) for name, unit in names.items()
            }
        missed = {"busy_share": self.slower.at(changes)}
        missed |= {name: law.at(changes) for name, law in self.late.items()}
        beyond = batch.extrapolated or rate > self.rate * SAME_SIZE
        middle, corners = self._corners(rate, changes, missed["busy_share"], settings)
        found = {}
        for name, unit in names.items():
            ratio = Foretold(name, "ratio", 1.0, 1.0, 1.0) if name == "busy_share" else missed[name]
            found[name] = replace(_between(name, unit, middle, corners, ratio), extrapolated=beyond)
        return found

    def _corners(
        self, rate: float, changes: float, slower: Foretold, settings: QueueSettings
    ) -> tuple[QueueFigures, list[QueueFigures]]:
        mean, least, most = self.fixed
        (shortest, longest), middle = self.batch.forms(changes), self.batch.at(changes).value or 0.0
        made = [(middle * (slower.value or 1.0), mean)]
        for seconds in (shortest * (slower.low or 0.0), longest * (slower.high or 1.0)):
            made += [(seconds, fixed) for fixed in dict.fromkeys((least, most))]
        found = [
            self.simulate(settings, rate * self.part, *self._split(seconds, fixed), self.seed)
            for seconds, fixed in made
        ]
        return found[0], found


def _figure(figures: QueueFigures, name: str) -> float | None:
    if name == "busy_share":
        return figures.busy
    return {"lag_p50": figures.p50, "lag_p99": figures.p99}[name] if figures.keeps_up else math.inf


def _between(name: str, unit: str, middle: QueueFigures, corners: Sequence[QueueFigures], ratio: Foretold) -> Foretold:
    """Return the figure of the middle with the farthest ends of all corners, times what the model misses by."""
    if ratio.value is None:
        return Foretold(name, unit, reason=ratio.reason)
    value, others = _figure(middle, name), [_figure(each, name) for each in corners]
    known = [each for each in others if each is not None]
    if value is None or len(known) < len(others):
        return Foretold(name, unit, reason="changes that never become visible are too many for it")
    if math.isinf(value):
        return Foretold(name, unit, reason="it can't keep up: the lag grows without end")
    ends = Interval(min(known) * (ratio.low or 0.0), max(known) * (ratio.high or math.inf))
    if math.isinf(ends.high or 0.0):
        why = "where its batches take as long as they may, it can't keep up"
        return Foretold(name, unit, value * ratio.value, ends.low, None, reason=why)
    return Foretold(name, unit, value * ratio.value, ends.low, ends.high)
