"""Change logs: a recogniser and a translator for each format, and one neutral change that they all become.

`messages` takes a message out of what stands around it on its line, a format's file translates it, and `gather` keeps
the changes of a table as a frame. `lab.domain.trace.history` then puts them in order, once the key is known.
"""

from lab.domain.trace.logs.messages import keyed_lines
from lab.domain.trace.logs.read import FORMATS, read_log, recognise, tables_of
from lab.domain.trace.logs.unsupported import unsupported_table, unsupported_value

__all__ = [
    "FORMATS", "keyed_lines", "read_log", "recognise", "tables_of", "unsupported_table", "unsupported_value",
]  # fmt: skip
