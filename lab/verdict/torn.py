"""The check of transactions: whether a reader could see some changes of one, and not the others."""

from __future__ import annotations

import numpy as np

from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding, found
from lab.verdict.halves import Half
from lab.verdict.runcheck import run_check


def has_transactions(evidence: Evidence) -> str | None:
    """Needs: transactions that are known to change several records of the projection."""
    if evidence.transactions is not None:
        return None
    return "does not apply: no transaction is known to change several records of this projection"


@run_check(has_transactions)
def no_torn_transaction(evidence: Evidence) -> Finding:
    """No reader saw a part of a transaction at any moment."""
    torn = evidence.transactions
    assert torn is not None
    if torn.parts.first is None:
        # An older revision that is shown again takes back what was seen of later transactions.
        again = (
            f"a part of some transaction was seen for {torn.impossible:.3f} s, when older revisions were shown again"
        )
        return found(int(torn.impossible > 0), lambda: [again])
    return found(torn.parts.torn, lambda: lines(evidence))


def lines(evidence: Evidence) -> list[str]:
    """Tell the first transaction that was seen in part, the longest, and for how long no whole answer was right."""
    torn = evidence.transactions
    assert torn is not None
    parts = torn.parts
    assert parts.first is not None
    assert parts.longest is not None
    return [
        *_told(evidence, parts.first),
        f"  {parts.torn:,} of {parts.transactions:,} transactions were seen in part, and at {torn.share:.2%} of all "
        f"moments there was one; the longest time was {parts.longest.lasts:.3f} s, "
        f"from {parts.longest.since:.3f} s (transaction {torn.number(parts.longest)})",
    ]


def _told(evidence: Evidence, part: Half) -> list[str]:
    """Tell which of a transaction's changes were visible, and which were not."""
    torn = evidence.transactions
    assert torn is not None
    legs = torn.legs_at(part)
    visible = next(window.visible for window in torn.windows if window.since <= part.since < window.until)
    there = visible[legs] <= part.since
    shown, missing = (
        " and ".join(f"{evidence.label(int(index))} (position {index + 1})" for index in some)
        for some in (legs[there], legs[~there])
    )
    ends = "to the end of the run" if np.isinf(visible[legs]).any() else f"to {part.until:.3f} s"
    return [
        f"from {part.since:.3f} s {ends} a part of transaction {torn.number(part)} was seen",
        f"  there: {shown}",
        f"  not there: {missing}",
    ]
