"""The result of reading a file: rows as a frame, the kind of each column, and the malformed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from lab.base import BadInput, Kind, Problem

# Columns that the readers add; no column of a file begins with this character.
LINE = "\1line"  # int: the line or row of the file that a row comes from, from 1
DELETED = "\1deleted"  # bool: a change log says that the record is gone
KNOWN = "\1known"  # bool: a change log gives the state with the deletion
AT = "\1at"  # float: seconds since 1970
OWN = (LINE, DELETED, KNOWN, AT)

SHOWN = 5


@dataclass(frozen=True, order=True)
class Bad:
    """A malformed row: its line and the reason."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


@dataclass(frozen=True)
class Raw:
    """A file's rows in their order. `frame` has the file's columns and `LINE`; `bad` has the first malformed rows.

    A change log's frame also has `DELETED`, `KNOWN` and `AT`. `keys` are the key columns that the file names, `steady`
    the columns that no update changed; empty if the file doesn't say.
    """

    frame: pl.DataFrame
    kinds: dict[str, Kind]
    format: str
    bad: tuple[Bad, ...] = ()
    bad_count: int = 0
    keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    steady: tuple[str, ...] = field(default=())

    @property
    def is_log(self) -> bool:
        """Return whether it is a change log, which has times and deletions."""
        return DELETED in self.frame.columns

    def without(self, found: Sequence[tuple[pl.Series, str]], frame: pl.DataFrame) -> Raw:
        """Remove the rows of these masks from `frame`, and count them as malformed with their reasons."""
        wrong = pl.Series("wrong", [False]).new_from_index(0, frame.height)
        bad = list(self.bad)
        for mask, why in found:
            rows = frame.filter(mask & ~wrong)
            bad += [Bad(line, why) for line in rows[LINE].head(SHOWN).to_list()]
            wrong = wrong | mask
        count = int(wrong.sum())
        kept = frame.filter(~wrong) if count else frame
        shown = tuple(sorted(bad)[:SHOWN])
        return replace(self, frame=kept, bad=shown, bad_count=self.bad_count + count)


def refuse_bad(raw: Raw, where: str, way_out: str) -> None:
    """Raise BadInput if there are malformed rows, with their number and the first five lines."""
    if raw.bad_count:
        rows = "1 row is" if raw.bad_count == 1 else f"{raw.bad_count:,} rows are"
        problems = [Problem(where, f"{rows} malformed", way_out)]
        raise BadInput(problems + [Problem(f"{where}, line {bad.line}", bad.why) for bad in raw.bad])
