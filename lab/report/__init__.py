"""The report room: a run as figures, one self-contained page, in the terminal, and beside another run.

It reads run folders and shows what they hold; it decides nothing. Fixed texts are in `words`, findings in `facts`,
sentences in `sentences`, the style in `style`, figures over time in `figures`, totals in `bars`. Faults are drawn in
`faults`, `shading` and `timelines`, and described in `fault_texts`. `grid` is the table of query times, which comes
first. `sections` joins figures and sentences for the `page`; `advice` shows what `lab.advice` found.
"""

from lab.report.compare import compare
from lab.report.compare_terminal import print_compare
from lab.report.page import render, write_report
from lab.report.terminal import print_run, summary

__all__ = ["compare", "print_compare", "print_run", "render", "summary", "write_report"]
