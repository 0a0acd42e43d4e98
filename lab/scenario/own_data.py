"""The tables of a scenario on the user's own data: files, what their columns are, and links between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.decimals import KINDS, SCALE_MAX, scale_of
from lab.scenario.limits import COLUMNS_MAX, FILE_COLUMNS_MAX, PATH_MAX
from lab.scenario.values import FileColumns, Name, ScenarioTable, Set, Word

FileFormat = Literal[
    "parquet", "csv", "ndjson", "sqlite", "duckdb", "postgresql", "mysql", "debezium", "cloudevents", "flattened",
    "maxwell", "canal", "wal2json", "singer", "dms",
]  # fmt: skip


def _known(kind: str) -> str:
    """Refuse a word that is no kind of a column."""
    if kind in KINDS or scale_of(kind) is not None:
        return kind
    raise ValueError(f"must be {', '.join(KINDS)}, or decimal(s) with s digits after the point, 0 to {SCALE_MAX}")


# `decimal(s)` is exact: whole units of 10^-s, in 64 bits.
ColumnKind = Annotated[str, AfterValidator(_known)]


class LinkTable(ScenarioTable):
    """Columns that hold the key of another record of the user's; `name` is that of a column to make of them."""

    on: Set
    to: Name
    name: Name | None = None


class EntityTable(ScenarioTable):
    """One of the user's files, and which of its columns are key, time, deletion and revision."""

    name: Name
    file: str = Field(min_length=1, max_length=PATH_MAX)
    format: FileFormat | None = None
    key: Set
    time: Word | None = None
    deleted: Word | None = None
    revision: Word | None = None
    columns: dict[Word, ColumnKind] | None = Field(None, max_length=FILE_COLUMNS_MAX)
    texts: FileColumns = ()
    indexes: FileColumns = ()
    skip_bad_rows: bool = False
    header: bool | None = None
    encoding: Word | None = None
    null: FileColumns = ()
    decimal: Literal[".", ","] | None = None
    dates: Literal["dmy", "mdy", "ymd", "excel", "seconds"] | None = None
    link: tuple[LinkTable, ...] = Field((), strict=False, max_length=COLUMNS_MAX)
    time_of: Name | None = None
