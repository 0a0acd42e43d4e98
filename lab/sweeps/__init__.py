"""Sweeps: a scenario with some of its keys varied, as many runs as that takes, on one machine or on many.

`varying` reads what is to be varied, `design` makes the points, `plan` names each run by the hash of what it runs.
`task` carries out one run, anywhere; `executors` and `running` have them carried out and write down what comes back,
into a folder that is the only state (`folder`).
"""

from lab.sweeps.folder import Sweep, load_sweep, merge
from lab.sweeps.plan import SweepPlan
from lab.sweeps.running import carry_on
from lab.sweeps.sweeping import sweep

__all__ = ["Sweep", "SweepPlan", "carry_on", "load_sweep", "merge", "sweep"]
