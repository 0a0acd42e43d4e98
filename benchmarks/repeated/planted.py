"""A store that is slower by a known factor: `sqlite.table`, which waits after each piece of work.

It is registered as `planted.table` in processes that find `registered`'s folder on their path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from lab.base import Batch
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.spec import StoreSpec
from lab.stores.sqlite_table import SqliteTable

FACTOR = "LAB_PLANTED_FACTOR"
# The projection of the scenario that is in this store.
PROJECTION = "planted"


class Planted(SqliteTable):
    """`sqlite.table`, and everything takes as many times as long as the variable LAB_PLANTED_FACTOR says."""

    name = "planted.table"
    # Read once: looking it up would be a slowdown of its own.
    slower = float(os.environ.get(FACTOR, "1")) - 1

    @contextmanager
    def _slowed(self) -> Iterator[None]:
        began = perf_counter()
        yield
        ended = perf_counter()
        # A sleep of some microseconds lasts fifty; so it looks at the clock instead.
        until = ended + (ended - began) * self.slower
        while perf_counter() < until:
            pass

    def apply(self, batch: Batch) -> None:
        """Write one batch, and wait."""
        with self._slowed():
            super().apply(batch)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Fill an empty projection, and wait."""
        with self._slowed():
            super().bulk(entity, frames)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Answer, and wait."""
        with self._slowed():
            return super().query(query, parameters)


SPEC = StoreSpec("planted.table", "benchmarks.repeated.planted:Planted", "relational", "table", compared=False)


def registered(folder: Path) -> Path:
    """Make a folder with the metadata by which the store is found, as an installer writes them, and return it."""
    info = folder / "planted-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lab.stores]\nplanted.table = benchmarks.repeated.planted:SPEC\n")
    return folder
