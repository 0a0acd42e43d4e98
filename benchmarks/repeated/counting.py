"""Count what `lab compare` says of each figure over many pairs of runs, and hold the counts against the targets.

A **figure** is what one projection is compared by: its rebuild, its disk, the p50 or p99 of its lag or of one of its
queries, or all of them together, hot or cold. Each pair of runs has one comparison of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.repeated.planted import PROJECTION
from benchmarks.validity.coverage import proportion
from lab.report.judged import DIFFERENT, NO_DIFFERENCE
from lab.statistics.quantiles import median

# Of runs that don't differ, so much may be called different; of a planted slowdown, so much must be found.
FALSE_MOST, FOUND_LEAST = 0.05, 0.95
# From this slowdown and this number of repetitions on. What is smaller is counted, and has no target.
FACTOR_LEAST, REPETITIONS_LEAST = 1.1, 10
# The figures that must show a store that takes longer: all its queries together. A single query or rebuild takes as
# many times as long, and varies by more; of a lag, waiting for messages and batches is the larger part. These are
# counted only.
REACHED = ("queries hot", "queries cold")


@dataclass(frozen=True, order=True)
class Figure:
    """What is compared in each pair: of which projection, and of which query (or of none)."""

    projection: str
    quantity: str
    query: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.projection, self.quantity, self.query)))


@dataclass(frozen=True)
class Counted:
    """Over so many comparisons: how many could be judged, how many were called different, and how many of them slower.

    `ratio` is the median of the ratios; None if there is none.
    """

    compared: int
    judged: int
    different: int
    slower: int
    ratio: float | None

    @property
    def share(self) -> float:
        """The share of the judged that was called different; 0 without any."""
        return self.different / self.judged if self.judged else 0.0


@dataclass(frozen=True)
class Target:
    """What was to be reached, what was found in words, and whether that is enough."""

    what: str
    found: str
    met: bool


def rows(result: dict[str, Any]) -> Iterator[tuple[Figure, dict[str, Any]]]:
    """Every figure of a comparison, with its row."""
    for one in result["lag"]:
        yield from ((Figure(one["projection"], f"lag {part}"), one[part]) for part in ("p50", "p99") if part in one)
    for name in ("rebuild", "disk"):
        yield from ((Figure(one["projection"], name), one) for one in result[name])
    for one in result["stores"]:
        yield Figure(one["projection"], f"queries {one['temperature']}"), one
    for quantile, asked in (("p50", result["queries"]), ("p99", result["queries_p99"])):
        for one in asked:
            yield Figure(one["projection"], f"query {quantile} {one['temperature']}", one["query"]), one


def called(result: dict[str, Any]) -> list[str]:
    """The figures of one comparison that are called different, each by its name, with what is said of it."""
    return [f"{figure}: {row['says']}" for figure, row in rows(result) if row["verdict"] == DIFFERENT]


def counted(results: Sequence[dict[str, Any]]) -> dict[Figure, Counted]:
    """Count each figure over all pairs."""
    found: dict[Figure, list[dict[str, Any]]] = {}
    for result in results:
        for figure, row in rows(result):
            found.setdefault(figure, []).append(row)
    return {figure: _count(found[figure]) for figure in sorted(found)}


def _count(several: Sequence[dict[str, Any]]) -> Counted:
    different = [row for row in several if row["verdict"] == DIFFERENT]
    ratios = [row["ratio"] for row in several if row["ratio"] is not None]
    return Counted(
        compared=len(several),
        judged=len(different) + sum(row["verdict"] == NO_DIFFERENCE for row in several),
        different=len(different),
        slower=sum(row["ratio"] > 1 for row in different),
        ratio=median(ratios) if ratios else None,
    )


def together(several: Sequence[Counted]) -> Counted:
    """The counts of several figures as those of one; without a ratio."""
    return Counted(
        compared=sum(one.compared for one in several),
        judged=sum(one.judged for one in several),
        different=sum(one.different for one in several),
        slower=sum(one.slower for one in several),
        ratio=None,
    )


def targets(what: str, factor: float, repetitions: int, found: dict[Figure, Counted]) -> list[Target]:
    """The targets of `same` or `planted`; none for a slowdown or a number of repetitions that promises nothing.

    What was not compared at all misses its target: nothing was shown.
    """
    if what == "same":
        return [_at_most("figures called different", list(found.values()))]
    if factor < FACTOR_LEAST or repetitions < REPETITIONS_LEAST:
        return []
    mine = {figure: one for figure, one in found.items() if figure.projection == PROJECTION}
    others = [one for figure, one in found.items() if figure not in mine]
    reached = [
        _at_least(f"{PROJECTION} {quantity} found slower", [mine[one] for one in mine if one.quantity == quantity])
        for quantity in REACHED
    ]
    return [*reached, _at_most("figures of other projections called different", others)]


def _at_most(what: str, several: Sequence[Counted]) -> Target:
    whole = together(several)
    return Target(
        f"{what}: at most {100 * FALSE_MOST:.0f} %",
        of(whole.different, whole.judged),
        whole.judged > 0 and whole.share <= FALSE_MOST,
    )


def _at_least(what: str, several: Sequence[Counted]) -> Target:
    # A comparison that could not be judged has found nothing.
    whole = together(several)
    met = whole.compared > 0 and whole.slower >= FOUND_LEAST * whole.compared
    return Target(f"{what}: at least {100 * FOUND_LEAST:.0f} %", of(whole.slower, whole.compared), met)


def of(hits: int, count: int) -> str:
    """Format a share with its 95 % interval (Wilson): `3 of 40, 7.5 % (2.6 to 19.9)`."""
    if not count:
        return "nothing was compared"
    low, high = proportion(hits, count)
    return f"{hits:,} of {count:,}, {100 * hits / count:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def so_far(what: str, results: Sequence[dict[str, Any]]) -> str:
    """The counts up to now in one line: what was found of the planted store, and what was called different falsely."""
    found = counted(results)
    mine = {figure: one for figure, one in found.items() if what == "planted" and figure.projection == PROJECTION}
    false = together([one for figure, one in found.items() if figure not in mine])
    parts = [f"{of(sum(map(bool, map(called, results))), len(results))} pairs have a difference"] if not mine else []
    for quantity in REACHED:
        several = [mine[figure] for figure in mine if figure.quantity == quantity]
        if several:
            whole = together(several)
            parts.append(f"{quantity} found slower in {of(whole.slower, whole.compared)}")
    parts.append(f"{'others ' if mine else ''}called different {of(false.different, false.judged)}")
    return "; ".join(parts)


def document(what: str, factor: float, repetitions: int, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All counts in JSON types: targets, pairs, and each figure by its name."""
    found = counted(results)
    return {
        "what": what,
        "factor": factor,
        "repetitions": repetitions,
        "pairs": len(results),
        "pairs_with_a_difference": sum(map(bool, map(called, results))),
        "pairs_whose_control_moved": sum(result["control"]["moved"] for result in results),
        "targets": [
            {"target": one.what, "found": one.found, "met": one.met}
            for one in targets(what, factor, repetitions, found)
        ],
        "figures": {
            str(figure): {
                "compared": one.compared,
                "judged": one.judged,
                "different": one.different,
                "slower": one.slower,
                "median_ratio": one.ratio,
            }
            for figure, one in found.items()
        },
    }
