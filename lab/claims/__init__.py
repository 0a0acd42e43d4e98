"""Claims of a scenario: read, checked, and judged from what a run measured, before any of its figures is shown.

`grammar` reads a claim's text into an `expression`, `quantities` has what can be named in it, and `naming` checks the
names. `readings` takes the quantities from a finished run, `judging` says verified, refuted or inconclusive, and
`deciding` has the three ways to that: by counting, from one repetition, from several.
"""

from lab.claims.grammar import read
from lab.claims.judged import INCONCLUSIVE, REFUTED, VERIFIED
from lab.claims.judging import judge, judge_one
from lab.claims.naming import POLICIES, SUITE, Names, problems, wrong
from lab.claims.quantities import QUANTITIES
from lab.claims.readings import Readings

__all__ = [
    "INCONCLUSIVE",
    "POLICIES",
    "QUANTITIES",
    "REFUTED",
    "SUITE",
    "VERIFIED",
    "Names",
    "Readings",
    "judge",
    "judge_one",
    "problems",
    "read",
    "wrong",
]
