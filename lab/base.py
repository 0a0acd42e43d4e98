"""Shared by every room: entities, the change frame, seeded random streams, and errors.

A *change* is one committed revision of one record. Changes travel as Polars frames, one frame for each
entity type, never as objects; this module says what the columns of such a frame are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Literal

import numpy as np

# NumPy loads it when it is first used, and swallows a Ctrl-C that comes while it does: so not in the midst of a run.
import numpy.random
import polars as pl

Key = int | str
Kind = Literal["int", "float", "str", "bool"]

DTYPES: dict[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
    "bool": pl.Boolean(),
}

# The whole numbers of TOML and of the engines have 64 bits.
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

# What the source of truth is called where projections are named: in tables, in figures, among a run's files.
TRUTH = "truth"

# The first columns of every change frame, in this order; the entity's own columns follow.
META = ("position", "key", "revision", "deleted", "committed_at")

# In a change frame with before-images, a column's former value is called this.
BEFORE = "before_"

# In a frame of parked changes, the last column: why the change waits.
REASON = "lab_reason"


@dataclass(frozen=True)
class Embed:
    """Columns of another record that a document embeds, so that a join is answered from the document alone.

    `take` are columns of the live record of `entity` whose key is in the document's column `on`; all of them are null
    while none is live.
    """

    on: str
    entity: str
    take: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return its name within a document."""
        return f"{self.on}_{self.entity}"


@dataclass(frozen=True)
class Entity:
    """One type of record: its key, its typed columns, and which of them are filtered, searched, linked or embedded.

    `columns` maps a column to int, float, str or bool; any of them may be null. `scales` are those of columns of whole
    numbers that stand for decimals: 1050 at the scale 2 is 10.50 (`lab.decimals`). `indexes` are the columns
    that readers filter and sort by together: a store that has indexes builds these. `parent` is the column that holds
    the key of another record of the same entity, for `traverse`. `texts` are the columns whose words readers search.
    `embeds` is what a store of documents keeps denormalised; stores of another shape have no use for it.
    """

    name: str
    key: Literal["int", "str"]
    columns: dict[str, Kind]
    indexes: tuple[tuple[str, ...], ...] = ()
    parent: str | None = None
    texts: tuple[str, ...] = ()
    embeds: tuple[Embed, ...] = ()
    scales: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """Return the change frame's columns and types: META, then the entity's own."""
        meta = {
            "position": pl.Int64(),
            "key": DTYPES[self.key],
            "revision": pl.Int64(),
            "deleted": pl.Boolean(),
            "committed_at": pl.Float64(),
        }
        return meta | {name: DTYPES[kind] for name, kind in self.columns.items()}

    @property
    def row(self) -> tuple[str, ...]:
        """Return the columns that a reader of a record sees: key, revision, then the entity's own."""
        return ("key", "revision", *self.columns)

    def kind(self, column: str) -> str:
        """Return the kind of a column of the change frame, META included."""
        meta = {
            "position": "int",
            "key": self.key,
            "revision": "int",
            "deleted": "bool",
            "committed_at": "float",
        }
        return meta.get(column) or self.columns[column]

    def told(self, column: str) -> str:
        """Return the kind of a column as clients see its values: `decimal(2)` of one with the scale 2."""
        scale = self.scales.get(column)
        return self.kind(column) if scale is None else f"decimal({scale})"

    def empty(self) -> pl.DataFrame:
        """Return a change frame without rows."""
        return pl.DataFrame(schema=self.schema)


@dataclass(frozen=True)
class Totals:
    """A running aggregate: live records counted, and columns summed (null counts as 0), by group.

    The result has the columns `group_by`, then `records`, then `sum_<column>` for each summed column.
    """

    entity: str
    group_by: tuple[str, ...]
    sum: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the names of the measures: `records`, then a `sum_` for each summed column."""
        return ("records", *(f"sum_{column}" for column in self.sum))

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the entity's columns that a contribution depends on."""
        return (*self.group_by, *self.sum)


@dataclass(frozen=True)
class Batch:
    """Rows for a store to write, with everything that must be committed together with them.

    `rows` are the changes to write, one of each record at the most for a projection of records, in any order.
    `memory` is the guard's own (`id`, `revision`), to be kept with the data. `checkpoint` is the catch-up position
    that holds once these rows are in; None leaves it alone. `release` are keys whose parked changes are removed, and
    `park` are changes to set aside after that: a change frame with the column `REASON` last. `positions` (int64) are
    those of all changes that the batch brings in, in order, also of those that it overwrites itself.
    """

    entity: str
    rows: pl.DataFrame
    checkpoint: int | None = None
    memory: pl.DataFrame | None = None
    park: pl.DataFrame | None = None
    release: Sequence[Key] = ()
    positions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), compare=False)


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the random stream of these names, so that the draws of one consumer don't affect another's."""
    return np.random.Generator(np.random.PCG64([seed, *(zlib.crc32(name.encode()) for name in names)]))


def nearest(word: str, valid: Iterable[str]) -> str:
    """Suggest a correction for a mistyped name: the nearest valid one, or all of them if none is near."""
    names = sorted(valid)
    if close := get_close_matches(str(word), names, n=1, cutoff=0.5):
        return f"did you mean `{close[0]}`?"
    return f"valid: {', '.join(names)}" if names else "nothing is valid here"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where (file, table, key), what, and a way out."""

    where: str
    what: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.way_out})" if self.way_out else "")


class LabError(Exception):
    """Everything that the lab itself raises. The command line prints it without a traceback.

    LabError
    ├── BadInput          the user's file, key or argument is wrong; carries every problem at once
    │   └── NotReadable   the file itself can't be read: missing, binary, not TOML, not a run
    │       └── DamagedRun  a file of a finished run is not what the lab wrote (`lab.runs`)
    ├── MissingDriver     a store's library is not installed; says how to get it
    ├── ReadOnly          a query tried to change a projection
    ├── CannotTake        a store can't take a change, however often it is tried: the change is poison to it
    ├── Unavailable       a store refused a batch for now; the same batch may succeed later
    ├── Fenced            another process was given the partition that this one writes to
    ├── Damaged           a store's files are not what was written there
    ├── NotAnswered       the store can't answer this class of query
    │   └── NoAnswer      a statement of the user's own came to no answer: an error, too long, too large
    ├── SourceLost        the source of truth was deleted or replaced, or another one is in its place
    └── Unsound           the lab's own evidence contradicts itself: no figure of the run can be trusted
    """

    # Exit status of a command that ends with this error: 2 for bad input, 3 if no verdict is possible, 4 for the rest.
    exit_status = 2


@dataclass
class BadInput(LabError):
    """The user's input is wrong. All problems are reported at once, each with its place and a way out."""

    problems: Sequence[Problem] = field(default_factory=tuple)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class NotReadable(BadInput):
    """A file that can't be read at all."""

    def __init__(self, where: str, what: str, way_out: str = "") -> None:
        super().__init__([Problem(where, what, way_out)])


class MissingDriver(LabError):
    """A store's library is not installed."""


class ReadOnly(LabError):
    """A query tried to change a projection."""

    exit_status = 4


class CannotTake(LabError):
    """A store can't take a change, however often it is tried."""

    exit_status = 4


class Unavailable(LabError):
    """A store refused a batch for now."""

    exit_status = 4


class Fenced(LabError):
    """A partition has another owner, of this generation: nothing of the batch is written."""

    exit_status = 4

    def __init__(self, said: str, generation: int) -> None:
        super().__init__(said)
        self.generation = generation


class Damaged(LabError):
    """A store's files are not what was written there."""

    exit_status = 4


class NotAnswered(LabError):
    """A store was asked a class of query that it doesn't answer."""

    exit_status = 4


class SourceLost(LabError):
    """The source of truth was deleted, or replaced by another one."""

    exit_status = 4


class NoAnswer(NotAnswered):
    """A statement of the user's own came to no answer in this engine."""


class Unsound(LabError):
    """The lab's own evidence contradicts itself."""

    exit_status = 3
