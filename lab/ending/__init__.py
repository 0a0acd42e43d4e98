"""How a process of the lab ends: signals, the last handler of errors, exit statuses, and what still reaches a terminal.

Exit status 1 is a verdict and nothing else. What the user got wrong is 2; what is wrong with the machine, or with the
lab itself, is 4: one line with what, where and the way out. `stopping` turns signals into the end of a command wherever
it is, `failures` tells what an exception means, `output` writes to streams that may be closed, full or not Unicode, and
`last` puts them together.
"""

from lab.ending import last, output, stopping
from lab.ending.failures import INTERNAL, at_work_in, told
from lab.ending.last import complain, run, traced
from lab.ending.output import say

__all__ = ["INTERNAL", "at_work_in", "complain", "last", "output", "run", "say", "stopping", "told", "traced"]
