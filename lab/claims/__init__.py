"""Claims of a scenario: read, checked, and judged from what a run measured, before any of its figures is shown.

`grammar` reads a claim's text into an `expression`, `quantities` has what can be named in it, and `naming` checks the
names. `readings` takes the quantities from a finished run, and `judging` says verified, refuted or inconclusive.
"""

from lab.claims.grammar import read
from lab.claims.judging import INCONCLUSIVE, REFUTED, VERIFIED, judge, judge_one
from lab.claims.naming import Names, problems
from lab.claims.quantities import QUANTITIES
from lab.claims.readings import Readings

__all__ = [
    "INCONCLUSIVE",
    "QUANTITIES",
    "REFUTED",
    "VERIFIED",
    "Names",
    "Readings",
    "judge",
    "judge_one",
    "problems",
    "read",
]
