"""Advice from measured figures: which projections to keep, and why.

`problem` reads a run into a `SelectionProblem` (`model`), with the readings of `figures` and the reasons of `gaps`.
`search` finds the portfolios that meet the service levels, exactly; `choice` picks the fewest projections, the quickest
and the best bargain. `binding` names the levels that stand in the way when there is no solution, `sensitivity` finds
ties and how far a weight can move, `reasons` says what each candidate is good for and which query alone decides.
`answer` puts these together. Everything but `problem`, `figures` and `gaps` is pure. How advice is shown is in
`lab.report.advice`.
"""

from lab.advice.answer import Advice, advise
from lab.advice.problem import read

__all__ = ["Advice", "advise", "read"]
