"""Checks of a projection's store, by what came of the trials that it went through before the run."""

from __future__ import annotations

from collections.abc import Callable

from lab.conformance.job import Conformance, TrialResult
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding, found
from lab.verdict.runcheck import Needs, run_check

# Lines of a witness: the first few of what a trial found.
LINES_MAX = 4


def tried(result: Callable[[Conformance], TrialResult]) -> Needs:
    """Needs: a trial of the store."""

    def missing(evidence: Evidence) -> str | None:
        if evidence.conformance is None:
            return "the store was not tried"
        return result(evidence.conformance).unknown or None

    return missing


@run_check(tried(lambda made: made.values))
def values_preserved(evidence: Evidence) -> Finding:
    """The store gave awkward values back as they were written."""
    assert evidence.conformance is not None
    return _found(evidence.conformance.values)


@run_check(tried(lambda made: made.crashes))
def survives_crash(evidence: Evidence) -> Finding:
    """The store held what was confirmed, and nothing by half, after its process was killed."""
    assert evidence.conformance is not None
    return _found(evidence.conformance.crashes)


def _found(result: TrialResult) -> Finding:
    rest = len(result.faults) - LINES_MAX
    more = [f"and {rest} more"] if rest > 0 else []
    return found(len(result.faults), lambda: [*result.faults[:LINES_MAX], *more])
