"""What engines say differently in SQL: a write model's statements are made from one of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from lab.queries.sql import quoted, remainder


@dataclass(frozen=True)
class SqlDialect:
    """One engine's SQL. The defaults are those of an engine with one writer at a time, SQLite's and DuckDB's."""

    types: Mapping[pl.DataType, str]
    # The parameter mark of the engine's Python driver.
    mark: str = "?"
    # Starts a transaction. With one writer at a time it takes the write lock, and no record needs a lock of its own.
    begin: str = "BEGIN"
    # Follows the declaration of a table that is looked up by its key alone.
    clustered: str = ""
    # What it is called in `lab.queries` and by sqlglot, if not as the engine.
    name: str = ""
    # The type of a text of the lab's own, and of one that is a key.
    text: str = "TEXT"
    key_text: str = "TEXT"
    # The scalar function that gives the largest of its arguments.
    greatest: str = "GREATEST"
    # Follows an INSERT, so that its result is the position that the engine gave to the row.
    returning: str = " RETURNING position"
    # What positions are taken from where several writers take them at once; "" where they queue.
    sequence: str = ""
    # An expression for a text's hash as a number, `{}` for the column (see `lab.ports.group`); "": there is none.
    hashed: str = ""

    def remainder(self, partitions: int, text: bool) -> str:
        """An expression for the partition of a row, by its key."""
        return remainder(self.hashed.format("key") if text else "key", partitions)

    def marks(self, count: int) -> str:
        """So many parameters, separated by commas."""
        return ", ".join([self.mark] * count)

    def next_position(self, entities: Iterable[str]) -> str:
        """An expression for the position column of an INSERT: one above the newest of all entities, from 1.

        Evaluated under the write lock, so positions have no gap, and a rollback gives them back. From a sequence they
        are taken without a lock: those of concurrent writers are not committed in order, and a rollback leaves a gap.
        """
        if self.sequence:
            return f"nextval('{self.sequence}')"
        newest = [f"COALESCE((SELECT MAX(position) FROM {quoted(name)}), 0)" for name in entities]
        return f"1 + {self.greatest}({', '.join(newest)})" if len(newest) > 1 else f"1 + {newest[0]}"

    def upsert(self, insert: str, columns: Iterable[str]) -> str:
        """`insert`, but a row whose `key` is there already is overwritten."""
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in columns)
        return f"{insert} ON CONFLICT (key) DO UPDATE SET {changes}"
