"""Show advice: sentences (`text`, `answers`), JSON (`document`), the terminal, the page's section with its figure.

`record` is the advice as an architecture decision record in Markdown.
"""

from lab.report.advice.document import document
from lab.report.advice.record import record, write_record
from lab.report.advice.terminal import print_advice

__all__ = ["document", "print_advice", "record", "write_record"]
