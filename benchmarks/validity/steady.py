"""How often a lag is said to grow without end: of queues that can do their work, and of queues that can't.

And whether the quantiles gain by leaving out the warm-up, which the lab finds and tells, and does not leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.validity.coverage import proportion
from benchmarks.validity.section import Effort, Findings, Section
from benchmarks.validity.theory import quantile_md1
from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.quantiles import quantile
from lab.statistics.steady import growth, warm_up

Series = npt.NDArray[np.float64]
RUNS = 2_000
# At its limit, a queue is taken for growth as often as `lab.statistics.steady.BOUND` says; below it less often.
ALARMS_MOST, FOUND_LEAST = 0.025, 0.95
STABLE, SHORT, LONG = (0.5, 0.7, 0.9, 0.95, 0.98, 1.0), 2_000, 10_000
# Overloads with numbers of changes, and whether it is claimed that they are found by then. The lag grows in proportion
# to the overload and the number of changes, and wanders around that by the root of this number: half the overload takes
# four times as many changes. With half as many as is claimed, one in twelve is missed.
OVERLOADS = (
    (1.2, 2_000, True),
    (1.1, 5_000, False),
    (1.1, 10_000, True),
    (1.05, 2_000, False),
    (1.05, 20_000, False),
    (1.05, 40_000, True),
)
# The queues whose p99 is estimated with and without the warm-up; with longer memories, theory is far from any run.
WARMED = (0.5, 0.7, 0.8, 0.9, 0.95)
COLUMNS = ["M/D/1 from empty, at load", "changes", "measured", "found", "claimed", "verdict"]


@dataclass(frozen=True)
class Share:
    """How often queues of a load are taken for growth, and what is claimed of that; `holds` of a share's interval."""

    load: float
    changes: int
    claim: str = ""
    holds: Callable[[float, float], bool] = lambda low, high: True


def _false(load: float, changes: int) -> Share:
    return Share(load, changes, f"at most {ALARMS_MOST:.1%}", lambda low, _: low <= ALARMS_MOST)


def _found(load: float, changes: int, claimed: bool) -> Share:
    if not claimed:
        return Share(load, changes)
    return Share(load, changes, f"at least {FOUND_LEAST:.0%}", lambda _, high: high >= FOUND_LEAST)


SHARES = (
    *(_false(load, changes) for changes in (SHORT, LONG) for load in STABLE),
    *(_found(*overload) for overload in OVERLOADS),
)


def lags(load: float, changes: int, seed: int) -> tuple[Series, Series]:
    """Arrivals, and the time that each is in a queue with a service of 1 s that is empty at first."""
    at = np.cumsum(stream(seed, "steady", str(load), str(changes)).exponential(1 / load, changes))
    return at, single_server(at, 1.0) - at


def alarms(share: Share, runs: int, judge: Callable[[Series, Series], bool | None]) -> int:
    """In how many runs a queue is taken for one that grows."""
    return sum(bool(judge(*lags(share.load, share.changes, seed))) for seed in range(runs))


def _endless(at: Series, values: Series) -> bool | None:
    return growth(at, values).endless


def warmed(changes: int, runs: int) -> dict[str, tuple[float, float]]:
    """The relative error of the p99 over all loads of `WARMED`, as root mean square and mean: as it is, and without
    the warm-up.
    """
    errors: dict[str, list[float]] = {"all changes": [], "without the warm-up": []}
    for load in WARMED:
        truth = quantile_md1(load, 1.0, 0.99)
        for seed in range(runs):
            _, values = lags(load, changes, seed)
            for name, cut in (("all changes", 0), ("without the warm-up", warm_up(values) or 0)):
                errors[name].append(quantile(values[cut:], 0.99) / truth - 1)
    return {name: (float(np.sqrt(np.mean(np.square(each)))), float(np.mean(each))) for name, each in errors.items()}


def measured(
    runs: int, shares: tuple[Share, ...] = SHARES, judge: Callable[[Series, Series], bool | None] = _endless
) -> Findings:
    """A row for each load and length: how often growth is said; and the p99 with and without the warm-up."""
    rows, outside = [], []
    for share in shares:
        hits = alarms(share, runs, judge)
        low, high = proportion(hits, runs)
        holds = share.holds(low, high)
        verdict = "" if not share.claim else "holds" if holds else "**outside**"
        told = f"{hits / runs:.1%} ({low:.1%} to {high:.1%})"
        rows.append(
            [f"{share.load:g}", f"{share.changes:,}", "said to grow without end", told, share.claim or "-", verdict]
        )
        outside += [] if holds else [f"load {share.load:g}, {share.changes:,} changes"]
    # Fewer of these: five loads are taken together.
    for changes in (SHORT, LONG):
        found = warmed(changes, max(runs // 7, 4))
        for name, (error, mean) in found.items():
            rows.append([
                f"{WARMED[0]:g} to {WARMED[-1]:g}", f"{changes:,}", f"p99 of {name}, against theory",
                f"root mean square {error:.1%}, mean {mean:+.1%}", "-", "",
            ])  # fmt: skip
    return Findings(COLUMNS, rows, outside)


def run(effort: Effort) -> Findings:
    """Measure with 2,000 runs of each row at full effort, and fewer in proportion."""
    return measured(min(RUNS, max(50, effort.seeds * effort.size // 240)))


SECTION = Section(
    "Growth without end, and the warm-up",
    "How often the lag of a queue is said to grow without end (`lag_summary` has `stable = false` then, and no "
    f"quantile): of {RUNS:,} runs of each row at full effort, with the 95 % interval of that share (Wilson). Below a "
    "load of 1 and exactly at it a queue has no such growth, above it does. A row holds if what is claimed can't be "
    "excluded. Half the overload needs four times as many changes: the lag grows in proportion to both, and wanders by "
    "the root of their number. Where nothing is claimed, changes are too few for that. The last rows are the relative "
    "error of the p99 against the steady state (Franx), over all loads together: with all changes, as the lab tells "
    "it, and without the warm-up that MSER-5 finds.",
    run,
)
