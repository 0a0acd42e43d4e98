"""The result of reading a file: rows as a frame, the kind of each column, and the malformed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from lab.base import BadInput, Problem
from lab.domain.trace.numerals import Understood
from lab.spill import ROWS, here

# Columns that the readers add; no column of a file begins with this character.
LINE = "\1line"  # int: the line or row of the file that a row comes from, from 1
DELETED = "\1deleted"  # bool: a change log says that the record is gone
KNOWN = "\1known"  # bool: a change log gives the state with the deletion
AT = "\1at"  # float: seconds since 1970
# What a change log says of each change, beside that.
PLACE = "\1place"  # int: the place in commit order over the file, added when the order is known
TURN = "\1turn"  # int: the line with which its transaction begins
COMMITTED = "\1committed"  # bool: `AT` is the commit's time, and not when the change was read
UNCHANGED = "\1unchanged"  # list of text: columns that are as they were, whatever the row has
TRUNCATES = "\1truncates"  # bool: every record of the table is deleted
TOMBSTONE = "\1tombstone"  # bool: a message without a value, which deletes what is still alive
ORDER = "\1order"  # text that sorts: the place in the database's log
SENT = "\1sent"  # text that sorts: partition and offset in the topic
IDENTITY = "\1identity"  # int: the same for a change that was sent again
RUN = "\1run"  # int: of rows of one identity, those with a later run than the first are left out
LOGGED = (TURN, COMMITTED, UNCHANGED, TRUNCATES, TOMBSTONE, ORDER, SENT, IDENTITY, RUN)
OWN = (LINE, DELETED, KNOWN, AT, *LOGGED)

SHOWN = 5


@dataclass(frozen=True)
class SourceCount:
    """A number for the run's table `source`: of which column (empty: of the file), of what, and how many."""

    column: str
    what: str
    count: int


@dataclass(frozen=True, order=True)
class Bad:
    """A malformed row: its line (or what else is counted, its `unit`) and the reason."""

    line: int
    why: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.unit} {self.line}: {self.why}"


@dataclass(frozen=True)
class Raw:
    """A file's rows in their order. `frame` has the file's columns and `LINE`; `bad` has the first malformed rows.

    A change log's frame also has `DELETED`, `KNOWN`, `AT` and those of `LOGGED`. `keys` are the key columns that the
    file names, `steady` the columns that no update changed; empty if the file doesn't say. `roles` says what a log's
    times, deletions and order are: the fields, which are no columns, and the reason. `unit` is what `LINE` counts:
    line, row, element. `counts` are values or lines that are read as something else than they stand in the file, or
    passed over.
    `container` is the format of a table whose rows say what was done to them; empty for any other. `table` is the name
    of a log's table, with those of its schema and database as far as the log tells them.
    `notations` says how numbers in columns of text are written, `nameless` which columns have no name in the file.
    """

    frame: pl.DataFrame
    kinds: dict[str, str]
    format: str
    bad: tuple[Bad, ...] = ()
    bad_count: int = 0
    keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    steady: tuple[str, ...] = field(default=())
    unit: str = "line"
    counts: tuple[SourceCount, ...] = field(default=())
    notations: dict[str, Understood] = field(default_factory=dict)
    nameless: tuple[str, ...] = field(default=())
    roles: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    container: str = ""
    table: str = ""

    @property
    def is_log(self) -> bool:
        """Return whether it is a change log, which has times and deletions."""
        return DELETED in self.frame.columns

    def counting(self, column: str, what: str, count: int) -> Raw:
        """Add a number for the table `source`, unless it is 0."""
        return replace(self, counts=(*self.counts, SourceCount(column, what, count))) if count else self

    def without(self, found: Sequence[tuple[pl.Series, str]], frame: pl.DataFrame) -> Raw:
        """Remove the rows of these masks from `frame`, and count them as malformed with their reasons."""
        wrong = pl.Series("wrong", [False]).new_from_index(0, frame.height)
        bad = list(self.bad)
        for mask, why in found:
            rows = frame.filter(mask & ~wrong)
            bad += [Bad(line, why, self.unit) for line in rows[LINE].head(SHOWN).to_list()]
            wrong = wrong | mask
        count = int(wrong.sum())
        kept = frame
        if count:
            pieces = (frame[at : at + ROWS].filter(~wrong[at : at + ROWS]) for at in range(0, frame.height, ROWS))
            kept = here().frame(pieces, dict(frame.schema))
        shown = tuple(sorted(bad)[:SHOWN])
        return replace(self, frame=kept, bad=shown, bad_count=self.bad_count + count)


def as_text_note(column: str, what: str) -> str:
    """Say that the values of a column are text here."""
    if what == "nested values":
        return f"Column `{column}` has nested values: they are JSON text here."
    return f"Column `{column}` holds {what}: they are text here."


def as_text_count(column: str, what: str, values: pl.Series) -> list[SourceCount]:
    """Count the values of a column that are text here; nothing if `what` is empty, or if none is there."""
    count = values.len() - values.null_count() if what else 0
    return [SourceCount(column, f"{what}, as text", count)] if count else []


def refuse_bad(raw: Raw, where: str, way_out: str) -> None:
    """Raise BadInput if there are malformed rows, with their number and the first five lines."""
    if raw.bad_count:
        rows = "1 row is" if raw.bad_count == 1 else f"{raw.bad_count:,} rows are"
        problems = [Problem(where, f"{rows} malformed", way_out)]
        raise BadInput(problems + [Problem(f"{where}, {bad.unit} {bad.line}", bad.why) for bad in raw.bad])
