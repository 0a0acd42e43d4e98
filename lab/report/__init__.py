"""The report room: a run as figures, one self-contained page, in the terminal, and beside another run.

It reads run folders and nothing else: words and numbers in `words`, what was found in `facts`, sentences in
`sentences`, the style in `style`, figures in `figures` (over time) and `bars` (totals). What went wrong on purpose is
drawn in `faults`, `shading` and `timelines`, and told in `troubles` and `mending`; `sections` puts figures and words
together for the `page`. What the figures advise is worked out in `advice`; `stretches` says how sure a lag is.
"""

from lab.report.compare import compare, print_compare
from lab.report.page import render, write_report
from lab.report.terminal import print_run, summary

__all__ = ["compare", "print_compare", "print_run", "render", "summary", "write_report"]
