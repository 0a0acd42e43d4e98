"""Judge what differs between two runs: each figure's ratio with its interval, against chance and beside the control.

A time is compared beside the **control** (`lab.report.controls`), which is what both runs share and nobody changed:
what the machine did to the control in each repetition is taken out of the figure (`lab.statistics.covariance`). It is
called different if its ratio is not chance: among all figures that are looked at, by
`lab.statistics.several.discoveries`.

A projection's queries are compared each by itself, and all **together** (`queries_p50`, the geometric mean of their
medians): what slows the store as a whole is seen sooner there. These are a list of their own, with its own 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lab.base import TRUTH
from lab.measure.figures import figures
from lab.report.controls import Beside, ControlMovement, beside, clock, control, shared_figure
from lab.report.sharing import KINDS, sharing
from lab.runs import Run
from lab.statistics.replicated import Ratio, detectable, interval, middle
from lab.statistics.several import discoveries

# The figures that are compared.
COMPARED = ("lag_p50", "lag_p99", "rebuild", "disk", "query_p50", "query_p99", "rate")
# A difference that is smaller is small.
LARGE = 1.1
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
# All queries of a projection: the geometric mean of their medians, in each repetition.
TOGETHER = "queries_p50"


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
    ratios: Beside
    changed: tuple[str, ...] | None = None
    timed: bool = True

    @property
    def shared(self) -> bool:
        """Whether only the machine can have moved it."""
        return self.changed == ()

    @property
    def ratio(self) -> Ratio:
        """The ratio that is judged: of a time beside the control, if it isn't one."""
        return self.ratios.ratio


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


def compared(a: Run, b: Run, pairs: bool) -> tuple[list[Compared], ControlMovement]:
    """Return every figure that both runs have, and what the control did.

    p99 of queries at the first temperature alone; of each projection with several queries one more figure, `TOGETHER`.
    """
    both = sharing(a, b)
    rows = _rows(a, b)
    controls, unlike = clock(a, b), dict[str, tuple[str, ...]]()
    changes = [both.changed(one["quantity"], one["projection"], one["temperature"]) for one, _ in rows]
    for (one, other), changed in zip(rows, changes, strict=True):
        if changed:
            unlike.setdefault(KINDS[one["quantity"]], tuple(changed))
        elif changed is not None and _told(one, other):
            controls.append(shared_figure(one["quantity"], one["temperature"], one, other))
    shared = control(a, b, controls, unlike, pairs)
    found = []
    for (one, other), changed in zip(rows, changes, strict=True):
        timed = _timed(a, one["quantity"])
        free = timed and changed != []
        owner: dict[str, Any] = {name: one[name] for name in _BY}
        values = one["values"], other["values"]
        factor_ = beside(values, shared if free else ControlMovement(), (one["quantity"], one["temperature"]), pairs)
        why = None if changed is None else tuple(changed)
        found.append(Compared(**owner, a=one, b=other, ratios=factor_, changed=why, timed=timed))
    return found, shared


_BY = ("quantity", "projection", "query", "temperature")


def _told(*rows: dict[str, Any]) -> bool:
    return all(value is not None and 0 < value < math.inf for row in rows for value in row["values"])


def _rows(a: Run, b: Run) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of each figure in both runs, those of all queries of a projection together last."""
    kept = [figures(run).filter(pl.col("quantity").is_in(COMPARED)) for run in (a, b)]
    rows = {tuple(row[name] for name in _BY): row for row in kept[1].iter_rows(named=True)}
    first = next((row["temperature"] for row in kept[0].iter_rows(named=True) if row["temperature"]), None)
    found, several = [], dict[tuple[str, str | None], list[tuple[dict[str, Any], dict[str, Any]]]]()
    for row in kept[0].iter_rows(named=True):
        other = rows.get(tuple(row[name] for name in _BY))
        if other is None or (row["quantity"] == "query_p99" and row["temperature"] != first):
            continue
        found.append((row, other))
        if row["quantity"] == "query_p50" and row["projection"] != TRUTH:
            several.setdefault((row["projection"], row["temperature"]), []).append((row, other))
    return found + [_together(each) for each in several.values() if len(each) > 1]


def _together(each: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All queries of a projection as one figure of each run: the geometric mean, repetition by repetition."""
    # A query that one repetition can't tell is left out of both runs.
    told = [rows for rows in each if _told(*rows)] or each[:1]
    made = []
    for run in (0, 1):
        values = [rows[run]["values"] for rows in told]
        whole = (
            np.exp(np.mean(np.log(np.array(values, dtype=float)), axis=0)).tolist() if _told(*told[0]) else values[0]
        )
        ends = interval(whole)
        made.append(
            told[0][run]
            | {"quantity": TOGETHER, "query": None, "values": whole, "value": middle(whole)}
            | {"low": ends.low, "high": ends.high, "reason": ends.reason}
        )
    return made[0], made[1]


def _timed(run: Run, quantity: str) -> bool:
    """Whether the machine's speed is in a figure: in all times but modelled ones."""
    if quantity == "disk":
        return False
    return not (quantity.startswith("lag") and str(run.manifest.get("clocks", {}).get("lag")).endswith("modelled"))


def judge(
    found: Sequence[Compared], shared: ControlMovement, withheld: Sequence[str | None], name: str
) -> list[Judged]:
    """Return a conclusion on each figure; `withheld` has a reason for those of projections that don't pass.

    `name` is what the second run is called.
    """
    free = [not why and not one.shared for one, why in zip(found, withheld, strict=True)]
    # Stores as a whole are a list of their own: among a hundred single figures, hardly one of them would be chosen.
    lists = {
        whole: discoveries(
            [
                one.ratio.p if is_free and (one.quantity == TOGETHER) == whole else None
                for one, is_free in zip(found, free, strict=True)
            ]
        )
        for whole in (True, False)
    }
    judged = []
    for place, (one, why) in enumerate(zip(found, withheld, strict=True)):
        chosen, alpha = lists[one.quantity == TOGETHER]
        judged.append(_judged(one, why, chosen[place], shared, alpha, name))
    return judged


def _judged(one: Compared, why: str | None, chosen: bool, shared: ControlMovement, alpha: float, name: str) -> Judged:
    if why:
        return Judged(one, WITHHELD, why)
    if one.ratio.value is None or one.ratio.p is None:
        several = min(one.a["repetitions"], one.b["repetitions"]) > 1
        return Judged(one, NOT_JUDGED, f"not judged: {_untold(one)}" if several else ONE_EACH)
    if one.shared:
        return Judged(one, CONTROL, f"control: {times(one.ratio)}")
    measured = one.ratios.measured
    seen, spread = detectable(one.ratio, alpha), detectable(measured, alpha)
    if chosen:
        return Judged(one, DIFFERENT, _said(one, name), seen)
    if shared.moved and one.timed and measured.p is not None and measured.p <= alpha:
        return Judged(one, NO_DIFFERENCE, f"{times(measured)}: no more than the control may have moved", seen, spread)
    return Judged(one, NO_DIFFERENCE, f"no difference shown: {times(one.ratio)}", seen, spread)


def _untold(one: Compared) -> str:
    return one.a["reason"] or one.b["reason"] or one.ratio.reason


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
