"""`lab plan`: what a source of truth, a feed and each projection need, foretold from what `lab grow` has measured.

`evidence` reads the runs of a growth sweep, `laws` fits them, `queue` is the queueing model, held against the same
runs, and `needs` is the core: demand and laws in, needs out. `said` prints them. Nothing is told without runs behind
it, what is extrapolated says so, and beyond ten times what was measured it is refused.
"""

from lab.planning.evidence import GrowthEvidence, gathered
from lab.planning.needs import Demand, PlannedNeeds, planned

__all__ = ["Demand", "GrowthEvidence", "PlannedNeeds", "gathered", "planned"]
