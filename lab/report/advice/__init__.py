"""Advice from measured figures: the smallest portfolio of projections that meets the service levels.

`problem` reads a run into the question (`model`). `portfolio` answers it, `binding` says why there is no answer,
`sensitivity` how firm it is, and `answer` puts that together; all of these are pure. `telling` puts it into
words, `document` into JSON, `printing` onto the terminal, `section` and `figure` onto the report's page.
"""

from lab.report.advice.answer import Advice, advise
from lab.report.advice.document import document
from lab.report.advice.printing import print_advice
from lab.report.advice.problem import read

__all__ = ["Advice", "advise", "document", "print_advice", "read"]
