"""The tables of a scenario on the user's own data: files, what their columns are, and links between them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.scenario.limits import COLUMNS_MAX, FILE_COLUMNS_MAX, PATH_MAX
from lab.scenario.values import FileColumns, Name, ScenarioTable, Set, Word

FileFormat = Literal[
    "parquet", "csv", "ndjson", "sqlite", "duckdb", "postgresql", "mysql", "debezium", "cloudevents", "flattened",
    "maxwell", "canal", "wal2json", "singer", "dms",
]  # fmt: skip


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
    columns: dict[Word, Literal["int", "float", "str", "bool"]] | None = Field(None, max_length=FILE_COLUMNS_MAX)
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
