"""`dynamodb.keyvalue`: an item for each record, or one for each revision, below its record in the order of revisions.

An item's value is the row in Python's `marshal` format: exact, and only readable by the lab. DynamoDB's own numbers
have 38 decimal digits and neither infinity nor NaN.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import polars as pl

from lab.base import Batch, Key, LabError
from lab.queries.answers import Row, sought
from lab.servers.dynamodb_place import PARTITION, PLACE
from lab.stores.dynamodb_items import DynamodbItems
from lab.stores.dynamodb_parts import (
    ALONE,
    KEY,
    MARK,
    REVISION,
    VALUE,
    Name,
    delete,
    keyed,
    named,
    numbered,
    partition,
    place,
    put,
    put_newer,
)
from lab.stores.key_bytes import key_bytes
from lab.stores.keyvalue import Backwards, KeyValue, seen
from lab.stores.parked import changed, decoded
from lab.stores.prepared import Answering
from lab.stores.slices import fitting, tuples

# Revisions of one record that are read at once while one is sought.
_FEW = 16


class DynamodbKeyvalue(KeyValue, DynamodbItems):
    """An item for each record, which an older revision never replaces; or a partition for each, of its revisions."""

    name = "dynamodb.keyvalue"
    answers = frozenset({"get", "get_many", "as_of", "history"})
    gaps = MappingProxyType(
        dict(KeyValue.gaps)
        | {"aggregate": "never: what comes twice would count twice: a large batch is no single transaction"}
    )
    holds = ("records", "revisions")

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Write rows, the guard's memory, what is parked and the checkpoint, in one transaction if they are few."""
        # All that can be refused is refused before anything is written.
        self._commit([*self._rows(batch), *self._beside(batch)])

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Batch by batch; a rebuild that is interrupted is begun anew."""
        self._commit([put(MARK, b"")])
        try:
            for batch in frames:
                self.apply(batch)
        except BaseException:
            # What can't be emptied now is emptied when it is opened.
            with suppress(LabError):
                self.reset()
            raise
        self._commit([delete(MARK)])

    def _rows(self, batch: Batch) -> list[dict[str, Any]]:
        """The parts that write rows, the last of each item."""
        made: dict[Name, dict[str, Any]] = {}
        for row in tuples(batch.rows, list(self.layout.schema(batch.entity))):
            more = {KEY: {"B": place(key_bytes(row[1]))}}
            if self.layout.kept.replaces:
                name = (partition("row", batch.entity, row[1]), ALONE)
                made[name] = put_newer(name, marshal.dumps(row), row[2], **more)
            else:
                name = (partition("log", batch.entity, row[1]), numbered(row[2]))
                made[name] = put(name, marshal.dumps(row), **more)
        return list(made.values())

    def _beside(self, batch: Batch) -> list[dict[str, Any]]:
        """The parts that write the guard's memory, what is parked, and last the checkpoint."""
        parts: list[dict[str, Any]] = []
        if batch.memory is not None and batch.memory.height and self.layout.memory:
            rows = {
                self._remembered(batch.entity, row[0]): row for row in fitting(batch.memory, self.layout.memory).rows()
            }
            parts += [put(name, marshal.dumps(row)) for name, row in rows.items()]
        added, removed = changed(self, batch)
        where = partition("parked", batch.entity)
        parts += [delete((where, numbered(position))) for position in removed]
        parts += [put((where, numbered(one.position)), one.change) for one in added]
        if batch.checkpoint is not None:
            parts.append(put((partition("checkpoint", batch.entity), ALONE), self._position(batch.checkpoint)))
        return parts

    def _remembered(self, entity: str, key: Any) -> Name:
        return partition("memory", entity), place(key_bytes(key))

    # -- answers -------------------------------------------------------------------------------------------------------

    def _get(self, entity: str) -> Answering:
        ask = self._client.get_item

        def answer(parameters: Row) -> list[Row]:
            key = keyed((partition("row", entity, parameters[0]), ALONE))
            with self._mapped():
                found = ask(TableName=self._table(), Key=key, ConsistentRead=True).get("Item")
            return [] if found is None else seen(marshal.loads(found[VALUE]["B"]))

        return answer

    def _get_many(self, entity: str) -> Answering:
        return lambda keys: [one for row in self._many(entity, sought(keys)) for one in seen(row)]

    def _within(self, entity: str, answer: Any) -> Answering:
        def backwards(key: Any) -> Iterator[Row]:
            for item in self._in_partition(partition("log", entity, key), backwards=True, most=_FEW):
                yield marshal.loads(item[VALUE]["B"])

        found: Backwards = backwards
        return lambda parameters: answer(found, parameters)

    def _many(self, entity: str, keys: Sequence[Key]) -> list[Row]:
        """The rows of these keys that are there, in the order of the keys."""
        names = [(partition("row", entity, key), ALONE) for key in keys]
        found = self._found(names)
        return [marshal.loads(found[name][VALUE]["B"]) for name in names if name in found]

    # -- whole ---------------------------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """Return the position in the item of the checkpoint."""
        name = (partition("checkpoint", entity), ALONE)
        found = self._found([name])
        return int(found[name][VALUE]["B"]) if found else 0

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """The whole table is read for the names of items, which are sorted here; then page by page."""
        before = partition("row" if self.layout.kept.replaces else "log", entity)
        scanned = self._scan(before, f"{PARTITION}, {PLACE}, {KEY}")
        names = [name for _, name in sorted((item[KEY]["B"], named(item)) for item in scanned)]
        for first in range(0, len(names), self.page_rows):
            some = names[first : first + self.page_rows]
            found = self._found(some)
            rows = [marshal.loads(found[name][VALUE]["B"]) for name in some]
            yield pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """All keys, a hundred in a request; where all revisions are kept, a request for each record."""
        wanted = list(dict.fromkeys(keys))
        if self.layout.kept.replaces:
            names = {(partition("row", entity, key), ALONE): key for key in wanted}
            found = self._found(names, f"{PARTITION}, {PLACE}, {REVISION}")
            return {names[name]: int(item[REVISION]["N"]) for name, item in found.items()}
        last = {
            key: next(self._in_partition(partition("log", entity, key), backwards=True, most=1), None) for key in wanted
        }
        return {key: marshal.loads(item[VALUE]["B"])[2] for key, item in last.items() if item is not None}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        if keys is None:
            items: Iterable[Any] = self._in_partition(partition("memory", entity))
        else:
            items = self._found(self._remembered(entity, key) for key in keys).values()
        return pl.DataFrame(
            [marshal.loads(item[VALUE]["B"]) for item in items], schema=self.layout.memory, orient="row"
        )

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their items."""
        items = self._in_partition(partition("parked", entity))
        return decoded((item[VALUE]["B"] for item in items), self.layout.entities[entity])
