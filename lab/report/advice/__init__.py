"""Show advice: sentences (`text`), JSON (`document`), the terminal, the page's section with its figure."""

from lab.report.advice.document import document
from lab.report.advice.terminal import print_advice

__all__ = ["document", "print_advice"]
