"""Shared by every room: entities, the change frame, and seeded random streams; with the errors of `lab.errors`.

A *change* is one committed revision of one record. Changes travel as Polars frames, one frame for each
entity type, never as objects; this module says what the columns of such a frame are.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

# NumPy loads it when it is first used, and swallows a Ctrl-C that comes while it does: so not in the midst of a run.
import numpy.random
import polars as pl

from lab.errors import (
    BadInput as BadInput,
)
from lab.errors import (
    CannotTake as CannotTake,
)
from lab.errors import (
    Damaged as Damaged,
)
from lab.errors import (
    Fenced as Fenced,
)
from lab.errors import (
    LabError as LabError,
)
from lab.errors import (
    MissingDriver as MissingDriver,
)
from lab.errors import (
    NoAnswer as NoAnswer,
)
from lab.errors import (
    NotAnswered as NotAnswered,
)
from lab.errors import (
    NotReadable as NotReadable,
)
from lab.errors import (
    Problem as Problem,
)
from lab.errors import (
    ReadOnly as ReadOnly,
)
from lab.errors import (
    SourceLost as SourceLost,
)
from lab.errors import (
    Unavailable as Unavailable,
)
from lab.errors import (
    Unsound as Unsound,
)
from lab.errors import (
    nearest as nearest,
)

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
