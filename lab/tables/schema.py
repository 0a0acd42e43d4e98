"""The schema of a table of the run folder: its columns in order, their types and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

FLOAT, INT, TEXT, BOOL = pl.Float64(), pl.Int64(), pl.String(), pl.Boolean()
SIMULATED, WALL = "simulated", "wall"
# In a run of several repetitions, the last column of every table but `claims`: which of them the row is of, from 1.
REPETITION = "repetition"
# Tables about a run as a whole, which don't have it.
WHOLE = frozenset({"claims"})


class WrongColumns(ValueError):
    """A table was about to be written with other columns than its schema has."""


@dataclass(frozen=True)
class TableColumn:
    """One column: its Polars type, and what its values mean."""

    name: str
    dtype: pl.DataType
    meaning: str

    @property
    def unit(self) -> str:
        """`s`, `µs`, `ns`, `bytes` or `1/s`, by the end of the name; empty for what has no unit."""
        ends = {"per_second": "1/s", "nanoseconds": "ns", "seconds": "s", "_at": "s", "_us": "µs", "bytes": "bytes"}
        return next((unit for end, unit in ends.items() if self.name.endswith(end)), "")


@dataclass(frozen=True)
class Schema:
    """One table of the run folder: what a row is, its columns in order, and the clock that its times are on.

    `note` is shown below the table of columns in the documentation.
    """

    name: str
    rows: str
    columns: tuple[TableColumn, ...]
    clock: str = SIMULATED
    note: str = ""

    @cached_property
    def types(self) -> dict[str, pl.DataType]:
        """The columns in order, with their types: a Polars schema."""
        return {column.name: column.dtype for column in self.columns}

    def frame(self, rows: Iterable[Mapping[str, Any]] = ()) -> pl.DataFrame:
        """A frame of these rows, each with exactly the columns of the schema. Raises WrongColumns."""
        listed = list(rows)
        for names in {tuple(row): None for row in listed}:
            self.confirm(names)
        return pl.DataFrame(listed, schema=self.types)

    def typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its columns in order and in their types. Raises WrongColumns."""
        self.confirm(frame.columns)
        return frame.select(pl.col(name).cast(dtype) for name, dtype in self.types.items())

    def read(self, frame: pl.DataFrame, repeated: bool = False) -> pl.DataFrame:
        """What was written, perhaps by an earlier version of the lab: columns that it did not have yet are null.

        `repeated`: of a run of several repetitions, so the column `repetition` comes last.
        """
        absent = {name: pl.lit(None, dtype) for name, dtype in self.types.items() if name not in frame.columns}
        found = self.typed(frame.with_columns(**absent).select(*self.types))
        return found.with_columns(frame[REPETITION].cast(pl.Int64)) if repeated else found

    def confirm(self, names: Sequence[str]) -> None:
        """Raise WrongColumns unless these are the names of the columns, in any order."""
        missing, unknown = self.types.keys() - set(names), set(names) - self.types.keys()
        if missing or unknown:
            wrong = [f"`{name}` is missing" for name in sorted(missing)]
            wrong += [f"`{name}` is no column of it" for name in sorted(unknown)]
            raise WrongColumns(f"table `{self.name}`: {', '.join(wrong)}")


# The columns that many tables have.
PROJECTION = (TEXT, "its name")
NINETY = (FLOAT, "the same for 90 of 100; null of fewer than 10")
NINETY_NINE = (FLOAT, "the same for 99 of 100; null of fewer than 100")
UNBIASED = (FLOAT, "the p99 as it is averaged over repetitions: interpolated, too large as often as too small")
UNBIASED_NINETY = (FLOAT, "the same for the p90")


def columns(**declared: tuple[pl.DataType, str]) -> tuple[TableColumn, ...]:
    """The columns of a schema from keyword arguments: each name with its type and its meaning, in order."""
    return tuple(TableColumn(name, dtype, meaning) for name, (dtype, meaning) in declared.items())
