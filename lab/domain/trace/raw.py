"""What reading a file gives: its rows as a frame, what kind each column is, and the rows that are no good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from lab.base import BadInput, Kind, Problem

# Columns that the readers add. No column of a file begins with this character.
LINE = "\1line"  # int: the line or row of the file that a row comes from, from 1
DELETED = "\1deleted"  # bool: a change log says that the record is gone
KNOWN = "\1known"  # bool: a change log gives the state with the deletion
AT = "\1at"  # float: seconds since 1970
OWN = (LINE, DELETED, KNOWN, AT)

SHOWN = 5


@dataclass(frozen=True, order=True)
class Bad:
    """A row that can't be taken: its line, and why."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


@dataclass(frozen=True)
class Raw:
    """A file's rows in the order of the file. `frame` has the file's columns and `LINE`; `bad` are the first bad rows.

    A change log's frame has `DELETED`, `KNOWN` and `AT` too. `keys` are the key columns that the file itself names.
    """

    frame: pl.DataFrame
    kinds: dict[str, Kind]
    format: str
    bad: tuple[Bad, ...] = ()
    bad_count: int = 0
    keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def is_log(self) -> bool:
        """Whether it is a change log, which brings times and deletions along."""
        return DELETED in self.frame.columns

    def without(self, found: Sequence[tuple[pl.Series, str]], frame: pl.DataFrame) -> Raw:
        """`frame` less the rows of these masks, which are counted as bad, each with its reason."""
        wrong = pl.Series("wrong", [False]).new_from_index(0, frame.height)
        bad = list(self.bad)
        for mask, why in found:
            rows = frame.filter(mask & ~wrong)
            bad += [Bad(line, why) for line in rows[LINE].head(SHOWN).to_list()]
            wrong = wrong | mask
        count = int(wrong.sum())
        kept = frame.filter(~wrong) if count else frame
        shown = tuple(sorted(bad)[:SHOWN])
        return Raw(kept, self.kinds, self.format, shown, self.bad_count + count, self.keys, self.notes)


def refuse_bad(raw: Raw, where: str, way_out: str) -> None:
    """Raise BadInput if there are bad rows: how many, and the first five with their lines."""
    if raw.bad_count:
        rows = "1 row is" if raw.bad_count == 1 else f"{raw.bad_count:,} rows are"
        problems = [Problem(where, f"{rows} malformed", way_out)]
        raise BadInput(problems + [Problem(f"{where}, line {bad.line}", bad.why) for bad in raw.bad])
