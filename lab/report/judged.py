"""Judge what differs between two runs: each figure's ratio with its interval, against chance and against the control.

A figure is called different if two things hold. Its ratio is not chance: among all figures that are looked at, by
`lab.statistics.replicated.discoveries`. And it moved by more than the **control** did, which is what both runs share
and nobody changed (`lab.report.sharing`): the calibration loop (`clock`), the commands and queries of the source of
truth, and the rebuild of a projection in `null`, which costs what the harness costs. A machine that is slower for an
hour slows them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from lab.formatting import listed
from lab.measure.figures import figures
from lab.report.sharing import CLOCK, KINDS, machine_alike, sharing
from lab.runs import Run
from lab.statistics.quantiles import median
from lab.statistics.replicated import Ratio, detectable, discoveries, middle, ratio

# The figures that are compared.
COMPARED = ("lag_p50", "lag_p99", "rebuild", "disk", "query_p50", "query_p99", "rate")
# A difference that is smaller is small.
LARGE = 1.1
# A control that moves by less than this is not said to have moved, however sure it is.
MOVES_MIN = 1.02
# Of each kind of figure: the words for a larger one and for a smaller one. What isn't here is a time.
_WORDS = {"disk": ("larger", "smaller"), "rate": ("higher", "lower"), "lag": ("longer", "shorter")}
_TIME = ("slower", "faster")

DIFFERENT, NO_DIFFERENCE, NOT_JUDGED, WITHHELD, CONTROL = (
    "different",
    "no difference",
    "not judged",
    "withheld",
    "control",
)
ONE_EACH = "not judged: one repetition each"
# Times of one thing: those of the repetitions of the first run, and of the second.
Pair = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Compared:
    """One figure of both runs: its row of `figures` in each, and by which factor it is larger in the second.

    `changed`: what of that on which it depends was changed between the runs, None for what is never a control; if it is
    empty, nobody changed the figure (`shared`), and it is a control. `timed`: the machine's speed is in it.
    """

    quantity: str
    projection: str
    query: str | None
    temperature: str | None
    a: dict[str, Any]
    b: dict[str, Any]
    ratio: Ratio
    changed: tuple[str, ...] | None = None
    timed: bool = True

    @property
    def shared(self) -> bool:
        """Whether only the machine can have moved it."""
        return self.changed == ()


@dataclass(frozen=True)
class ControlMovement:
    """What both runs share: the factor of each kind of control, of all of them together, and what must be exceeded.

    `reach` is a factor above 1: no timed figure that moved by less is called different. `left_out` says of each kind
    that is no control why not.
    """

    kinds: dict[str, Ratio] = field(default_factory=dict)
    whole: Ratio = field(default_factory=Ratio)
    moved: bool = False
    reach: float = 1.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A figure that was compared, what is concluded, and the smallest factor that would have been called different.

    `spread_from` is that factor if there were no control to exceed: what the spread between repetitions alone allows.
    """

    compared: Compared
    verdict: str
    says: str
    seen_from: float | None = None
    spread_from: float | None = None

    @property
    def limited_by_spread(self) -> bool:
        """Whether it is the spread, more than the control, that lets large differences alone be seen."""
        if self.verdict != NO_DIFFERENCE or self.spread_from is None or self.seen_from is None:
            return False
        return self.spread_from > LARGE and self.spread_from**2 > self.seen_from


def paired(a: Run, b: Run) -> bool:
    """Whether repetition n of both runs had the same seed, and drew the same commands from it."""
    seeds = [[run.repetition(number).manifest["seed"] for number in range(1, run.repetitions + 1)] for run in (a, b)]
    return seeds[0] == seeds[1] and a.manifest["changes"] == b.manifest["changes"]


def compared(a: Run, b: Run, pairs: bool) -> list[Compared]:
    """Return every figure that both runs have; p99 of queries at the first temperature alone."""
    by = ["quantity", "projection", "query", "temperature"]
    both = sharing(a, b)
    kept = [figures(run).filter(pl.col("quantity").is_in(COMPARED)) for run in (a, b)]
    rows = {tuple(row[name] for name in by): row for row in kept[1].iter_rows(named=True)}
    first = next((row["temperature"] for row in kept[0].iter_rows(named=True) if row["temperature"]), None)
    found = []
    for row in kept[0].iter_rows(named=True):
        key = tuple(row[name] for name in by)
        if key not in rows or (row["quantity"] == "query_p99" and row["temperature"] != first):
            continue
        factor_ = ratio(row["values"], rows[key]["values"], pairs)
        changed = both.changed(row["quantity"], row["projection"], row["temperature"])
        shared = None if changed is None else tuple(changed)
        owner: dict[str, Any] = {name: row[name] for name in by}
        found.append(Compared(**owner, a=row, b=rows[key], ratio=factor_, changed=shared, timed=_timed(a, key[0])))
    return found


def _timed(run: Run, quantity: str) -> bool:
    """Whether the machine's speed is in a figure: in all times but modelled ones."""
    if quantity == "disk":
        return False
    return not (quantity.startswith("lag") and str(run.manifest.get("clocks", {}).get("lag")).endswith("modelled"))


def control(a: Run, b: Run, found: Sequence[Compared], pairs: bool) -> ControlMovement:
    """Return what the controls of two runs did; none without repetitions, or if nothing is shared."""
    series: dict[str, list[Pair]] = {}
    clocks = [_clock(run) for run in (a, b)]
    if clocks[0] and clocks[1] and machine_alike(a, b):
        series[CLOCK] = [(clocks[0], clocks[1])]
    for one in found:
        if one.shared and one.ratio.value is not None:
            # A rate is the inverse of a time.
            sign = -1 if one.quantity == "rate" else 1
            before, after = ([value**sign for value in each["values"]] for each in (one.a, one.b))
            series.setdefault(KINDS[one.quantity], []).append((before, after))
    if min(a.repetitions, b.repetitions) < 2:
        return ControlMovement()
    why: dict[str, list[str]] = {} if machine_alike(a, b) else {CLOCK: ["versions"]}
    for one in found:
        if one.changed and KINDS[one.quantity] not in series:
            why[KINDS[one.quantity]] = list(one.changed)
    said = tuple(f"{kind}, since {listed(changed)} changed" for kind, changed in why.items())
    return replace(settled(series, pairs), left_out=said)


def settled(series: dict[str, list[Pair]], pairs: bool) -> ControlMovement:
    """Return what controls did: for each kind pairs of times, those of both runs' repetitions.

    The controls of a kind count as one, and the kinds count the same, whatever their numbers.
    """
    if not series:
        return ControlMovement()
    means = {
        kind: [np.mean([np.log(pair[run]) for pair in each], axis=0) for run in (0, 1)] for kind, each in series.items()
    }
    kinds = {kind: ratio(np.exp(one).tolist(), np.exp(other).tolist(), pairs) for kind, (one, other) in means.items()}
    both = [np.exp(np.mean([each[run] for each in means.values()], axis=0)).tolist() for run in (0, 1)]
    whole = ratio(both[0], both[1], pairs)
    assert whole.value is not None
    assert whole.low is not None
    assert whole.high is not None
    moved = not whole.low <= 1.0 <= whole.high and _apart(whole.value) >= MOVES_MIN
    reach = max(_apart(whole.low), _apart(whole.high)) if moved else _apart(whole.value)
    return ControlMovement(kinds, whole, moved, reach)


def _clock(run: Run) -> list[float]:
    """The calibration loop's time in each repetition; empty of runs that have none."""
    each = [run.repetition(number).manifest.get("clock_seconds") for number in range(1, run.repetitions + 1)]
    return [median(times) for times in each if times] if all(each) else []


def judge(
    found: Sequence[Compared], shared: ControlMovement, withheld: Sequence[str | None], name: str
) -> list[Judged]:
    """Return a conclusion on each figure; `withheld` has a reason for those of projections that don't pass.

    `name` is what the second run is called.
    """
    free = [not why and not one.shared for one, why in zip(found, withheld, strict=True)]
    chosen, alpha = discoveries([one.ratio.p if is_free else None for one, is_free in zip(found, free, strict=True)])
    rows = zip(found, withheld, chosen, strict=True)
    return [_judged(one, why, is_chosen, shared, alpha, name) for one, why, is_chosen in rows]


def _judged(one: Compared, why: str | None, chosen: bool, shared: ControlMovement, alpha: float, name: str) -> Judged:
    reach = shared.reach if one.timed else 1.0
    if why:
        return Judged(one, WITHHELD, why)
    if one.ratio.value is None or one.ratio.p is None:
        several = min(one.a["repetitions"], one.b["repetitions"]) > 1
        return Judged(one, NOT_JUDGED, f"not judged: {_untold(one)}" if several else ONE_EACH)
    if one.shared:
        return Judged(one, CONTROL, f"control: {times(one.ratio)}")
    seen, spread = detectable(one.ratio, alpha, reach), detectable(one.ratio, alpha)
    if chosen and _nearest(one.ratio) > reach:
        return Judged(one, DIFFERENT, _said(one, name), seen)
    if chosen and reach > 1:
        return Judged(one, NO_DIFFERENCE, f"{times(one.ratio)}: no more than the control may have moved", seen, spread)
    return Judged(one, NO_DIFFERENCE, f"no difference shown: {times(one.ratio)}", seen, spread)


def _untold(one: Compared) -> str:
    return one.a["reason"] or one.b["reason"] or one.ratio.reason


def _apart(factor: float) -> float:
    """A factor as one above 1: 0.5 is as far from 1 as 2."""
    return max(factor, 1 / factor)


def _nearest(found: Ratio) -> float:
    """How far from 1 the interval's nearer end is; 1 if the interval holds it."""
    assert found.low is not None
    assert found.high is not None
    return 1.0 if found.low <= 1 <= found.high else min(_apart(found.low), _apart(found.high))


def _said(one: Compared, name: str) -> str:
    """Say who is how many times what: the factor is above 1 in either direction."""
    found = one.ratio
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    larger, smaller = _WORDS.get(one.quantity.partition("_")[0], _TIME)
    if found.value >= 1:
        return f"{name}: {factor(found.value)} times {larger} ({factor(found.low)} to {factor(found.high)})"
    return f"{name}: {factor(1 / found.value)} times {smaller} ({factor(1 / found.high)} to {factor(1 / found.low)})"


def times(found: Ratio) -> str:
    """Format a ratio with its interval: `1.04 times (0.98 to 1.1)`."""
    if found.value is None:
        return "no ratio"
    ends = "" if found.low is None or found.high is None else f" ({factor(found.low)} to {factor(found.high)})"
    return f"{factor(found.value)} times{ends}"


def factor(value: float) -> str:
    """Format a factor with three digits at the most: 0.98, 1.04, 16, 1,200."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}" if value < 9.95 else f"{value:.0f}"


def shown(one: Judged) -> float | None:
    """Return the median difference of the values, b less a; None if one is infinite or not told."""
    values = [middle(each["values"]) for each in (one.compared.a, one.compared.b)]
    if values[0] is None or values[1] is None or not all(map(math.isfinite, (values[0], values[1]))):
        return None
    return values[1] - values[0]
