"""A section of the page: a name, a paragraph, and a function that returns a table. `SECTIONS` is the registry.

A section on theory is a list of cases (`against_theory`). Any other makes its own `Findings`, for example a table of
coverages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Protocol

import numpy as np

from lab.formatting import plural
from lab.statistics.student import t_quantile

# Sections by name, in the order of the page: where the object is.
SECTIONS = {
    "queues": "benchmarks.validity.queues:SECTION",
    "polling": "benchmarks.validity.polling:SECTION",
    "replicas": "benchmarks.validity.replicas:SECTION",
    "coverage": "benchmarks.validity.coverage:SECTION",
    "replicated": "benchmarks.validity.replicated:SECTION",
    "steady": "benchmarks.validity.steady:SECTION",
}
# The interval that is shown, and the one that a value of theory must lie in. With dozens of cases, several would lie
# outside of their 95 % interval by chance alone.
SHOWN, HELD = 0.95, 0.999


@dataclass(frozen=True)
class Effort:
    """How much is done: `seeds` repetitions of each case with about `size` changes (or trials) each."""

    seeds: int
    size: int


FULL, QUICK = Effort(seeds=12, size=40_000), Effort(seeds=5, size=2_000)


class Measure(Protocol):
    """What the lab says of a case."""

    def __call__(self, seed: int, size: int) -> float:
        """One repetition with this seed and about this many changes; the figure that theory foretells."""


@dataclass(frozen=True)
class Case:
    """A figure that theory foretells: name with parameters, value, source of the formula, and what the lab measures."""

    name: str
    theory: float
    source: str
    measure: Measure
    # What is published for it, if it differs from what the formula gives.
    note: str = ""


@dataclass(frozen=True)
class Held:
    """A case after its repetitions: the lab's mean, the half-width of its 95 % interval, and whether theory holds."""

    case: Case
    mean: float
    half_width: float
    holds: bool

    @property
    def error(self) -> float:
        """The lab's mean by the value of theory, less 1."""
        return self.mean / self.case.theory - 1 if self.case.theory else float(self.mean != 0)


@dataclass(frozen=True)
class Findings:
    """The table of a section, in words, and the names of the rows that don't hold."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    outside: Sequence[str]


@dataclass(frozen=True)
class Section:
    """One part of the page. `about` is a paragraph in Markdown; `run` makes the table, the page's with `full`."""

    title: str
    about: str
    run: Callable[[Effort], Findings]
    full: Effort = FULL


def section(name: str) -> Section:
    """Look up a section of the registry."""
    module, _, attribute = SECTIONS[name].partition(":")
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Section)
    return found


def hold(case: Case, effort: Effort) -> Held:
    """Repeat a case with seeds 1, 2, ... and compare: Student's t-interval of the mean over the seeds.

    Repetitions are independent, whatever the changes within one are. A case holds if theory lies within the 99.9 %
    interval. Where every repetition gives the same, it must give the value of theory to nine digits.
    """
    found = np.array([case.measure(seed, effort.size) for seed in range(1, effort.seeds + 1)])
    mean, error = float(found.mean()), float(found.std(ddof=1)) / np.sqrt(found.size)
    wide = t_quantile(found.size - 1, (1 + HELD) / 2) * error
    holds = abs(mean - case.theory) <= max(wide, 1e-9 * abs(case.theory))
    return Held(case, mean, t_quantile(found.size - 1, (1 + SHOWN) / 2) * error, bool(holds))


def against_theory(title: str, about: str, cases: Callable[[], Sequence[Case]], full: Effort = FULL) -> Section:
    """A section that holds cases against theory; they are made when it runs."""
    return Section(title, about, partial(_compared, cases), full)


def _compared(cases: Callable[[], Sequence[Case]], effort: Effort) -> Findings:
    held = [hold(case, effort) for case in cases()]
    rows = [
        (
            one.case.name, f"{one.case.theory:.5g}", f"{one.mean:.5g}", f"{one.half_width:.2g}",
            f"{one.error:+.2%}", "holds" if one.holds else "**outside**", one.case.source, one.case.note,
        )
        for one in held
    ]  # fmt: skip
    columns = ["case", "theory", "lab", "± (95 %)", "relative", "verdict", "source"]
    noted = any(one.case.note for one in held)
    rows_shown = [row if noted else row[:-1] for row in rows]
    return Findings(
        [*columns, *(["published"] if noted else [])], rows_shown, [one.case.name for one in held if not one.holds]
    )


def told(findings: Findings) -> str:
    """How many rows hold, in words."""
    missed = len(findings.outside)
    return f"{plural(len(findings.rows), 'row')}, {missed or 'none'} outside"
