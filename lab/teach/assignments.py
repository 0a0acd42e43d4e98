"""Grade what the reader writes in a chapter's assignment: as `lab grade` does, at seeds that are drawn anew each time.

A chapter has a stub in a cell; the reader fills it in and calls `hand_in`. Rebuilds are tried by `swapping`, everything
else by `lab.kit`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lab.kit.check import Verdict, judge
from lab.kit.grade import SEEDS, Grade, hidden
from lab.kit.subject import subject
from lab.teach.output import say, table
from lab.teach.swapping import try_rebuild

HISTORIES = 12
DELIVERY = "out-of-order"


@dataclass(frozen=True)
class CourseAssignment:
    """What must hold of a submission. `reads_max` is how many changes a poller may read for each that is committed."""

    properties: tuple[str, ...] = ()
    reads_max: float | None = None


ASSIGNMENTS = {
    "poller": CourseAssignment(("converged", "no_skipped_gap", "no_phantom"), reads_max=2.0),
    "guard": CourseAssignment(("converged", "no_double_effect", "no_resurrection", "per_key_order", "monotonic_reads")),
    "total": CourseAssignment(("converged", "no_double_effect", "no_resurrection", "per_key_order", "no_loss")),
    "rebuild": CourseAssignment(("no_partial_reads", "rebuild_equals_live")),
}


def hand_in(name: str, submission: Any, seeds: Sequence[int] | None = None) -> Grade:
    """Try a submission for the assignment of that name; show its points and first counter-example, return the grade.

    `seeds` are drawn anew unless they are given, so a submission can't be written for them. Raises KeyError for a name
    that is none, and BadInput for what is no projector.
    """
    wanted = ASSIGNMENTS[name]
    found: dict[str, Verdict] = {}
    for seed in hidden(secrets.randbits(60), SEEDS) if seeds is None else seeds:
        for item in _tried(name, wanted, submission, seed):
            if item.prop not in found or item.verdict == "fail" != found[item.prop].verdict:
                found[item.prop] = item
    grade = Grade(name, tuple(found.values()))
    _tell(grade)
    return grade


def passed(grade: Grade) -> bool:
    """Return whether every property holds at every seed."""
    return bool(grade.verdicts) and {item.verdict for item in grade.verdicts} == {"pass"}


def _tried(name: str, wanted: CourseAssignment, submission: Any, seed: int) -> Sequence[Verdict]:
    if name == "rebuild":
        return try_rebuild(submission, seed, HISTORIES)
    if wanted.reads_max is None:
        return _checked(submission, wanted.properties, seed)
    counted = _Reads()
    return [*_checked(counted.of(submission), wanted.properties, seed), counted.verdict(wanted.reads_max)]


def _checked(submission: Any, properties: Sequence[str], seed: int) -> Sequence[Verdict]:
    """Try a projector as `lab check` does, in this process."""
    found = subject(submission)
    options = found.options(seed, HISTORIES, properties, DELIVERY)
    return judge(found.under(DELIVERY), options, found.name, lambda *_: "").verdicts


def _tell(grade: Grade) -> None:
    rows = [(item.prop, item.verdict) for item in grade.verdicts]
    table(pl.DataFrame(rows, schema=["property", "verdict"], orient="row"))
    failed = [item for item in grade.verdicts if item.verdict == "fail"]
    say(f"**{len(rows) - len(failed)} of {len(rows)} points** at {SEEDS} hidden seeds.")
    if failed:
        print(failed[0].witness)


class _Reads:
    """Counts what a poller reads: changes handed over, and the highest number of them that there was, in each trial."""

    def __init__(self) -> None:
        self.handed, self.known = 0, 0

    def of(self, submission: type) -> type:
        """Return a subclass of the poller whose source is counted."""
        reads = self

        class CountedPoller(submission):  # type: ignore[misc]
            __doc__ = submission.__doc__

            def poll(self, source: Any) -> Any:
                if not hasattr(self, "_lab_source"):
                    self._lab_source = _CountedSource(reads)
                self._lab_source.source = source
                return super().poll(self._lab_source)

        CountedPoller.__name__, CountedPoller.__qualname__ = submission.__name__, submission.__qualname__
        return CountedPoller

    def verdict(self, reads_max: float) -> Verdict:
        """Return whether so many reads for each change were enough."""
        each = self.handed / max(self.known, 1)
        told = f"it reads each change {each:.1f} times on the average; {reads_max:g} times are enough"
        return Verdict("reads_little", "pass" if each <= reads_max else "fail", told)


class _CountedSource:
    """A poller's source that counts the changes which it hands over."""

    def __init__(self, reads: _Reads) -> None:
        self._reads, self._seen = reads, set[int]()
        self.source: Any = None

    def changes_since(self, position: int, limit: int = 1_000) -> list[dict[str, Any]]:
        """Return what the source returns."""
        return self._counted(self.source.changes_since(position, limit), lambda change: change["position"])

    def execute(self, statement: str, parameters: Any = ()) -> list[Any]:
        """Return what the source returns."""
        return self._counted(self.source.execute(statement, parameters), lambda row: row["position"])

    def horizon(self) -> int:
        """Return the source's horizon."""
        return int(self.source.horizon())

    def _counted(self, found: list[Any], position: Callable[[Any], int]) -> list[Any]:
        self._reads.handed += len(found)
        for each in found:
            if "position" in each.keys() and position(each) not in self._seen:  # noqa: SIM118 (rows of sqlite3)
                self._seen.add(position(each))
                self._reads.known += 1
        return found
