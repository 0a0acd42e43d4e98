"""Each store's limit: its engine used by hand for the questions of the employees, as well as we know how to.

Nothing here comes from the stores of the lab: tables, indexes, statements and connections are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import polars as pl

Answer = list[tuple[Any, ...]]
Ask = Callable[[tuple[Any, ...]], Answer]
CHOSEN = ("key", "revision", "name", "manager", "department", "salary")


class ByHand(Protocol):
    """One engine, open, and filled. `asks` answers queries by name, each from its parameters."""

    asks: Mapping[str, Ask]

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """Replace the records of these rows of a change frame, and keep the position, in one transaction."""

    def close(self) -> None:
        """Close what is open."""


# By the name of the store: the module, and the class that is made of a folder and the rows that it holds.
_CLASSES = {
    "sqlite.table": "sqlite:Table",
    "sqlite.log": "sqlite:Log",
    "sqlite.document": "sqlite:Documents",
    "sqlite.graph": "sqlite:Graph",
    "sqlite.search": "sqlite:Words",
    "duckdb.columnar": "duckdb:Table",
    "duckdb.document": "duckdb:Documents",
    "duckdb.files": "duckdb:Files",
    "lmdb.keyvalue": "lmdb:Pairs",
    "parquet.files": "parquet:Files",
    "parquet.log": "parquet:Log",
    "tantivy.search": "tantivy:Words",
    "ladybug.graph": "ladybug:Graph",
}
STORES = tuple(_CLASSES)
# Not measured beside its engine yet: the questions here go along no primary key of a table of wide columns.
UNMEASURED = ("lmdb.widecolumn",)


def opened(store: str, folder: Path, rows: pl.DataFrame) -> ByHand:
    """Fill the engine of a store in a new folder, by hand."""
    module, name = _CLASSES[store].split(":")
    folder.mkdir(parents=True)
    found: ByHand = getattr(import_module(f"{__name__}.{module}"), name)(folder, rows)
    return found


def way(one: Sequence[Any], other: Sequence[Any]) -> Answer:
    """Step and key on the way from one record to another: each line leads from its record to the top of the tree."""
    place = {key: step for step, key in enumerate(other)}
    for up, key in enumerate(one):
        if key in place:
            return list(enumerate([*one[: up + 1], *reversed(other[: place[key]])]))
    return []
