"""Advice from measured figures: the smallest portfolio of projections that meets the service levels.

`problem` reads a run into a `SelectionProblem` (`model`). `portfolio` solves it exactly, `binding` names the levels
that stand in the way when there is no solution, `sensitivity` finds ties and how far a weight can move, and `answer`
puts these together. Everything but `problem` is pure. How advice is shown is in `lab.report.advice`.
"""

from lab.advice.answer import Advice, advise
from lab.advice.problem import read

__all__ = ["Advice", "advise", "read"]
