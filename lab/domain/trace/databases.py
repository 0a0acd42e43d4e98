"""What a database says of itself: its tables, their declared keys, and the links between them.

Each kind of database has a module of its own, with a function that lists its tables and one that reads a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from lab.base import NotReadable, nearest
from lab.domain.trace.raw import LINE

# How rows are counted, or whether there can be any is found out.
COUNT = {True: "SELECT count(*) FROM {}", False: "SELECT 0 FROM {} LIMIT 1"}


@dataclass(frozen=True)
class ForeignKey:
    """A declared link: `columns` hold what the columns `refers` of another table hold."""

    columns: tuple[str, ...]
    table: str
    refers: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """A table or a view: its rows if they were counted, its declared primary key (empty: none), and its links."""

    name: str
    rows: int
    kind: Literal["table", "view"] = "table"
    key: tuple[str, ...] = ()
    links: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """The tables and views that can be read, and why others can't be or are passed over: by name, the reason."""

    relations: tuple[Relation, ...]
    passed: dict[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[Relation, ...]:
        """Return the tables; the views, if there is no table."""
        return tuple(one for one in self.relations if one.kind == "table") or self.relations

    @property
    def largest(self) -> str:
        """Return the table with the most rows. There must be one."""
        return max(self.tables, key=lambda one: one.rows).name

    @property
    def notes(self) -> list[str]:
        """Say what is passed over."""
        return [f"`{name}` is passed over: {why}." for name, why in self.passed.items()]

    def chosen(self, where: str, table: str | None) -> Relation:
        """Return the relation of this name, or the largest. Raises NotReadable if it isn't there or can't be read."""
        if not self.relations:
            more = "; ".join(self.notes)
            raise NotReadable(where, "a database without a table that can be read", more)
        name = table or self.largest
        if name in self.passed:
            raise NotReadable(f"{where}:{name}", f"the table can't be read: {self.passed[name]}", self.nearest(name))
        found = {one.name: one for one in self.relations}
        # Names of tables have no case in SQL.
        alike = [one for one in found if one.lower() == name.lower()]
        if name not in found and len(alike) != 1:
            raise NotReadable(f"{where}:{name}", f"no table is called `{name}`", self.nearest(name))
        return found[name if name in found else alike[0]]

    def nearest(self, name: str) -> str:
        """Suggest a table that can be read."""
        return nearest(name, [one.name for one in self.relations])


def quoted(name: str) -> str:
    """Return the name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the rows' numbers, from 1."""
    return frame.with_columns(pl.int_range(1, frame.height + 1, dtype=pl.Int64).alias(LINE))


def usable(
    links: Sequence[ForeignKey], tables: Sequence[str], columns: Callable[[str], Sequence[str]]
) -> list[ForeignKey]:
    """Return the links with the names as the tables have them; what leads to no table or column is left out."""
    by_name = {name.lower(): name for name in tables}
    found = []
    for link in links:
        table = by_name.get(link.table.lower())
        if table is None:
            continue
        own = {name.lower(): name for name in columns(table)}
        refers = tuple(own[name.lower()] for name in link.refers if name.lower() in own)
        if len(refers) == len(link.columns):
            found.append(ForeignKey(link.columns, table, refers))
    return found


def starts_with(path: Path, at: int, magic: bytes) -> bool:
    """Return whether a file has these bytes at this place; False for what isn't a file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(magic)) == magic
