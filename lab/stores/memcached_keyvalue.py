"""`memcached.keyvalue`: an entry for each record, its value the row.

A value is the revision, and then the row in Python's `marshal` format: quick, exact, and only readable by the lab.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from time import sleep
from types import MappingProxyType

import polars as pl

from lab.base import Batch, Key, LabError, NotAnswered, Unavailable
from lab.engines import memcached as engine
from lab.engines.memcached import MemcachedClient
from lab.queries.answers import Row, sought
from lab.stores.keyvalue import KeyValue, seen
from lab.stores.memcached_entries import MemcachedEntries
from lab.stores.parked import decoded, encoded, with_parked
from lab.stores.prepared import Answering
from lab.stores.slices import fitting, rows_within, tuples

# Rows that are made Python objects at a time, and bytes of them.
AT_ONCE, AT_ONCE_BYTES = 20_000, 2**24
# How often, and after which pause, an entry is tried again that another writer changed or that there was no memory for.
_TRIES, _PAUSE_SECONDS = 100, 0.005
_REFUSED = "{}: {} entries: other writers change them all the time, or there is no memory that could be freed for them"
_REVISION = struct.Struct(">q")

Entry = tuple[bytes, bytes]


class MemcachedKeyvalue(KeyValue, MemcachedEntries):
    """A value for each record, which an older revision never replaces."""

    name = "memcached.keyvalue"
    answers = frozenset({"get", "get_many"})
    gaps = MappingProxyType(
        dict(KeyValue.gaps)
        | {
            "aggregate": "never: what comes twice would count twice, and a cache can't tell",
            "as_of": "never: an entry is the last revision of its record",
            "history": "never: an entry is the last revision of its record",
        }
    )
    holds = ("records",)

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Write the rows that are not older than what is there; then memory and what is parked; last the checkpoint."""
        # All that can be refused is refused before anything is written.
        rows, memory, position = self._rows(batch), self._memory(batch), self._position(batch.checkpoint)
        parks = batch.park is not None or batch.release
        parked = encoded(with_parked(self.parked(batch.entity), batch)) if parks else []
        self._fits([*rows, *memory])
        client = self._writing()
        with engine.mapped(self.name):
            self._guarded(client, rows)
            self._put(client, memory)
            if parks:
                self._park(batch.entity, [one.change for one in parked])
            if position is not None:
                self._put(client, [(self._names("checkpoint", batch.entity, [""])[0], position)])

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Written without a look at what is there; a rebuild that is interrupted is begun anew."""
        try:
            for batch in frames:
                client = self._writing()
                for piece in batch.rows.iter_slices(rows_within(batch.rows, AT_ONCE, AT_ONCE_BYTES)):
                    rows = self._rows(Batch(entity, piece))
                    self._fits(rows)
                    with engine.mapped(self.name):
                        self._put(client, rows)
                self.apply(replace(batch, rows=batch.rows.clear()))
        except BaseException:
            with suppress(LabError, OSError):
                self.reset()
            raise

    def _rows(self, batch: Batch) -> list[Entry]:
        rows = tuples(batch.rows, list(self.layout.schema(batch.entity)))
        names = self._names("row", batch.entity, [row[1] for row in rows])
        return [(name, _REVISION.pack(row[2]) + marshal.dumps(row)) for name, row in zip(names, rows, strict=True)]

    def _memory(self, batch: Batch) -> list[Entry]:
        if batch.memory is None or not batch.memory.height or not self.layout.memory:
            return []
        rows = fitting(batch.memory, self.layout.memory).rows()
        names = self._names("memory", batch.entity, [row[0] for row in rows])
        return [(name, marshal.dumps(row)) for name, row in zip(names, rows, strict=True)]

    def _guarded(self, client: MemcachedClient, rows: Sequence[Entry]) -> None:
        """Write entries, unless one is there with a higher revision. Raises Unavailable where others keep writing."""
        for _ in range(_TRIES):
            there = client.found_to_change([name for name, _ in rows])
            wanted = []
            for name, value in rows:
                former, number = there.get(name, (b"", None))
                # Fixed width, big end first; revisions are positive, so their bytes sort as they do.
                if former[:8] <= value[:8]:
                    wanted.append((name, value, number))
            taken = client.put(wanted)
            rows = [(name, value) for (name, value, _), done in zip(wanted, taken, strict=True) if not done]
            if not rows:
                return
            sleep(_PAUSE_SECONDS)
        raise Unavailable(_REFUSED.format(self.name, len(rows)))

    def _put(self, client: MemcachedClient, entries: Sequence[Entry]) -> None:
        """Write entries, whatever is there. Raises Unavailable where there is no memory for them."""
        for _ in range(_TRIES):
            taken = client.put([(name, value, None) for name, value in entries], b"set")
            entries = [entry for entry, done in zip(entries, taken, strict=True) if not done]
            if not entries:
                return
            sleep(_PAUSE_SECONDS)
        raise Unavailable(_REFUSED.format(self.name, len(entries)))

    # -- reading -------------------------------------------------------------------------------------------------------

    def _get(self, entity: str) -> Answering:
        return lambda parameters: [one for row in self._looked_up(entity, sought(parameters[:1])) for one in seen(row)]

    def _get_many(self, entity: str) -> Answering:
        return lambda keys: [one for row in self._looked_up(entity, sought(keys)) for one in seen(row)]

    def _looked_up(self, entity: str, keys: Sequence[Key]) -> list[Row]:
        return [marshal.loads(value[8:]) for value in self._found(self._names("row", entity, keys))]

    def rows(self, entity: str, keys: Iterable[Key]) -> Iterator[pl.DataFrame]:
        """The rows of these keys, as far as they are there, page by page in their order."""
        wanted = sorted(set(keys))
        for first in range(0, len(wanted), self.page_rows):
            rows = self._looked_up(entity, wanted[first : first + self.page_rows])
            if rows:
                yield pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Raise NotAnswered: the server has no list of its entries that could be relied on."""
        raise NotAnswered(f"{self.name}: its rows can't be listed; `rows` looks them up by their keys")

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """All keys, some hundred in a question."""
        return {row[1]: row[2] for row in self._looked_up(entity, list(dict.fromkeys(keys)))}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory of these keys. Raises NotAnswered without any: it can't be listed."""
        if keys is None:
            raise NotAnswered(f"{self.name}: the guard's memory can't be listed; it is looked up by its ids")
        found = self._found(self._names("memory", entity, list(dict.fromkeys(keys))))
        return pl.DataFrame(list(map(marshal.loads, found)), schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their file."""
        return decoded(self._parked_changes(entity), self.layout.entities[entity])
