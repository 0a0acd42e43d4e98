"""The text of a counter-example: the anomaly, what happened, what was shown and what should have been."""

from __future__ import annotations

from typing import Any

from lab.checks import CHECKS
from lab.kit.outcome import TrialOutcome
from lab.kit.reader import Violation
from lab.kit.telling import shown as in_short
from lab.kit.telling import state


def witness(prop: str, outcome: TrialOutcome, violation: Violation | None) -> str:
    """The anomaly in one line, then what happened, then what was shown and should have been."""
    anomaly = CHECKS[prop].anomaly
    if outcome.raised:
        first = f"{anomaly}: the projector {outcome.raised}"
    elif violation is None:
        return f"{anomaly}: seen once, and not again: the projector does not do the same every time"
    else:
        first = f"{anomaly}: {violation.text}"
    end = outcome.raised_at if outcome.raised or violation is None else violation.step
    lines = [first, *(f"  {who:<9}  {what}" for step, who, what, _ in outcome.lines if step <= end)]
    if violation is not None and not outcome.raised and violation.key is not None:
        shows = "; ".join(_shown(row) for row in violation.shows) or "nothing"
        lines += [
            f"  {'rows()':<9}  shows of key {in_short(violation.key)}: {shows}",
            f"  {'':<9}  should show: {violation.should}",
        ]
    lines += [f"  {'' if index else 'stderr':<9}  {line}" for index, line in enumerate(outcome.printed)]
    return "\n".join(lines)


def _shown(row: dict[str, Any]) -> str:
    revision = f" (revision {row['revision']})" if "revision" in row else ""
    return state(row) + revision
