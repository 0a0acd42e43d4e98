"""The result of a check: pass, fail or unknown, the number of violations, and a witness of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lab.verdict.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """What a check found. `count` is the number of violations; the witness explains one of them.

    `focus` is the index of the change that the witness is about, if there is one; `indices` are all such.
    """

    verdict: str
    count: int = 0
    witness: str = ""
    focus: int | None = None
    indices: np.ndarray | None = field(default=None, compare=False, repr=False)


def found(count: int, witness: Callable[[], list[str]], focus: int | None = None) -> Finding:
    """Fail with so many violations and the lines of one, or pass if there is none."""
    return Finding("fail", count, "\n".join(witness()), focus) if count else Finding("pass")


def or_seen(finding: Finding, evidence: Evidence, kind: int) -> Finding:
    """Return the finding if it is a failure, else the violations of this kind that mid-run reads found."""
    if finding.verdict == "fail" or evidence.dumps is None or not evidence.looks:
        return finding
    count, lines = evidence.answered.told(kind)
    return found(count, lambda: lines)


def about(evidence: Evidence, indices: np.ndarray, witness: Callable[[int], list[str]]) -> Finding:
    """Fail with these changes (by index) and the witness of the one that is easiest to follow, or pass without any."""
    if not indices.size:
        return Finding("pass")
    index = evidence.simplest(indices)
    return Finding("fail", int(indices.size), "\n".join(witness(index)), index, indices)
