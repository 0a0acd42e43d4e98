"""What the answer hangs on, as sentences: the portfolios that tie with it, and the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab.advice.answer import Advice
from lab.advice.portfolio import Portfolio
from lab.advice.weights import WeightRange
from lab.formatting import listed, number
from lab.report.advice.answers import portfolio_said

# What `Portfolio.burden` has less of, in its order.
BURDENS = ("fewer new engines", "fewer projections", "less disk", "a shorter lag", "a shorter rebuild")


def ties_said(advice: Advice) -> str:
    """Return which portfolios tie with the answer; empty if none does."""
    if not advice.tied or advice.answer is None:
        return ""
    names = listed([portfolio_said(each) for each in advice.tied])
    return (
        f"A tie: by weighted query time, {portfolio_said(advice.answer)} can't be told from {names}. "
        f"{_lighter_said(advice.answer, advice.tied)}A longer run (measure.samples) may tell them apart."
    )


def _lighter_said(answer: Portfolio, others: Sequence[Portfolio]) -> str:
    """Return by what the answer won of those that tie with it: the first of its price that differs."""
    won: dict[str, list[str]] = {}
    for other in others:
        pairs = zip(BURDENS, answer.burden, other.burden, strict=True)
        first = next(((what, own < its) for what, own, its in pairs if own != its), ("", False))
        if first[1]:
            won.setdefault(first[0], []).append(portfolio_said(other))
    told = [f"{what} than {listed(names)}" for what, names in won.items()]
    return f"It has {listed(told)}. " if told else ""


def weights_said(advice: Advice) -> list[str]:
    """Return how far each weight can move; a single sentence if none matters."""
    moving = [each for each in advice.weights if each.low > 0 or math.isfinite(each.high)]
    if not moving:
        return ["No weight of a single query makes others the fewest, whatever it is."] if advice.weights else []
    told = [_range_said(each) for each in moving]
    if rest := [each.query for each in advice.weights if each not in moving]:
        told.append(f"{listed(rest)}: any weight, the answer is the same")
    return told


def _range_said(each: WeightRange) -> str:
    told = [f"{each.query}: weight {each.weight:g}"]
    if each.below is not None and each.low > 0:
        told.append(f"below {number(each.low)} {portfolio_said(each.below)} takes its place")
    if each.above is not None:
        told.append(f"above {number(each.high)} {portfolio_said(each.above)} takes its place")
    return "; ".join(told)
