"""The lab's own statements as MariaDB and MySQL understand them.

They are written once for all engines, with nulls last and names that are no words elsewhere. A user's own statement is
translated by sqlglot, as for every engine; these are too plain to need it.
"""

from __future__ import annotations

import re
from functools import lru_cache

_QUOTED = r'"(?:[^"]|"")*"'
_KEY = re.compile(rf"{_QUOTED}|'(?:[^']|'')*'|`[^`]*`|\bkey\b")
# What is ordered by: a column, of a table or not, perhaps quoted.
_LAST = re.compile(rf"((?:\w+\.)?(?:{_QUOTED}|\w+))( DESC)? NULLS LAST")


@lru_cache(maxsize=4_096)
def as_mysql(statement: str) -> str:
    """The statement with its `key` quoted, which is a word there, and with the order of nulls spelt out.

    Nulls come before all else there: first where the order ascends, and last where it descends.
    """
    named = _KEY.sub(lambda found: '"key"' if found[0] == "key" else found[0], statement)
    return _LAST.sub(lambda found: f"{found[1]} DESC" if found[2] else f"{found[1]} IS NULL, {found[1]}", named)
