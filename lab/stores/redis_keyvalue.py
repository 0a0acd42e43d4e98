"""`redis.keyvalue`: one key for each record, its value the row; of revisions, a sorted set for each record.

A value is a row in Python's `marshal` format: quick, exact, and only readable by the lab. Names of keys can be read:
`<prefix>:row:<entity>:<key>`. Groups, memory, checkpoints and what is parked are hashes.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from lab.base import INT_MAX, INT_MIN, Batch, CannotTake, Key, LabError
from lab.engines import redis as engine
from lab.queries.answers import Row, sought
from lab.servers.redis_ledger import keys_of
from lab.stores.key_bytes import key_bytes
from lab.stores.keyvalue import Backwards, KeyValue, seen
from lab.stores.parked import changed, decoded
from lab.stores.prepared import Answering
from lab.stores.redis_prefix import Command, RedisPrefix
from lab.stores.slices import fitting, rows_within, tuples

# Rows of a rebuild in one transaction: everybody else waits for it.
AT_ONCE, AT_ONCE_BYTES = 20_000, 2**24
# Revisions of one record that are read at once while one is sought.
_FEW = 16
_BIG = struct.Struct(">Q").pack


class RedisKeyvalue(KeyValue, RedisPrefix):
    """A value for each record, or a sorted set of its revisions."""

    name = "redis.keyvalue"

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Write rows, the guard's memory and the checkpoint in one transaction."""
        self._writing()
        self._commit([*self._rows(batch), *self._beside(batch)])

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Some rows at a time, so that nobody waits long; a rebuild that is interrupted is begun anew."""
        self._commit([("SET", self._key("bulk"), entity)])
        try:
            for batch in frames:
                for rows in batch.rows.iter_slices(rows_within(batch.rows, AT_ONCE, AT_ONCE_BYTES)):
                    self._commit(self._rows(Batch(entity, rows)))
                self._commit(self._beside(batch))
        except BaseException:
            # What can't be emptied now is emptied when it is opened.
            with suppress(LabError):
                self.reset()
            raise
        self._commit([("DEL", self._key("bulk"))])

    def _rows(self, batch: Batch) -> list[Command]:
        """The commands that write the rows of a batch."""
        if not batch.rows.height:
            return []
        entity, schema = batch.entity, self.layout.schema(batch.entity)
        if self.layout.kept.adds:
            return self._added(fitting(batch.rows, schema).rows())
        if self.layout.kept.replaces:
            return self._written(entity, batch.rows)
        commands: list[Command] = []
        for row in tuples(batch.rows, list(schema)):
            key, revision = self._key("log", entity, key_text(row[1])), _BIG(row[2])
            # A revision that is there is replaced.
            commands.append(("ZREMRANGEBYLEX", key, b"[" + revision, b"(" + _BIG(row[2] + 1)))
            commands.append(("ZADD", key, 0, revision + marshal.dumps(row)))
        return commands

    def _written(self, entity: str, rows: pl.DataFrame) -> list[Command]:
        """The commands that write the last revisions of records."""
        listed = tuples(rows, list(self.layout.schema(entity)))
        words: list[Any] = ["MSET"] * (2 * len(listed) + 1)
        words[1::2] = self._names("row", entity, listed)
        words[2::2] = map(marshal.dumps, listed)
        return [tuple(words)]

    def _names(self, kind: str, entity: str, rows: Sequence[Row]) -> list[bytes]:
        """The keys of the records of these rows."""
        before = self._key(kind, entity, b"")
        if self.layout.entities[entity].key == "int":
            return [b"%b%d" % (before, row[1]) for row in rows]
        return [before + key_text(row[1]) for row in rows]

    def _added(self, rows: list[Row]) -> list[Command]:
        """The command that writes groups, with what is there already added; there is no other writer meanwhile."""
        assert self.layout.totals is not None
        width, words = len(self.layout.totals.group_by), list[Any](["HSET", self._key("totals")])
        former = dict[bytes, Row]()
        names = [marshal.dumps(row[:width], 2) for row in rows]
        for name, value in zip(names, self._ask("HMGET", self._key("totals"), *names), strict=True):
            if value is not None:
                former[name] = marshal.loads(value)
        for name, row in zip(names, rows, strict=True):
            if (before := former.get(name)) is not None:
                row = (*row[:width], *self.layout.added(before[width:], row[width:]))
            former[name] = row
        for name, row in former.items():
            words += (name, marshal.dumps(row))
        return [tuple(words)]

    def _beside(self, batch: Batch) -> list[Command]:
        """The commands that write the guard's memory, what is parked, and the checkpoint."""
        commands: list[Command] = []
        if batch.memory is not None and batch.memory.height and self.layout.memory:
            words: list[Any] = ["HSET", self._key("memory", batch.entity)]
            for row in fitting(batch.memory, self.layout.memory).rows():
                words += (key_bytes(row[0]), marshal.dumps(row))
            commands.append(tuple(words))
        added, removed = changed(self, batch)
        parked = self._key("parked", batch.entity)
        if removed:
            commands.append(("HDEL", parked, *removed))
        for one in added:
            commands.append(("HSET", parked, one.position, one.change))
        if batch.checkpoint is not None:
            if not INT_MIN <= batch.checkpoint <= INT_MAX:
                # As wide as every other engine's integers.
                raise CannotTake(f"{self.name}: a position of more than 64 bits")
            commands.append(("HSET", self._key("checkpoint"), batch.entity, batch.checkpoint))
        return commands

    # -- answers -------------------------------------------------------------------------------------------------------

    def _get(self, entity: str) -> Answering:
        ask: Callable[..., Any] = self._reader().execute_command
        before, loads = self._key("row", entity, b""), marshal.loads

        def answer(parameters: Row) -> list[Row]:
            with engine.mapped(self.name):
                found = ask("GET", before + key_text(parameters[0]))
            return [] if found is None else seen(loads(found))

        return answer

    def _get_many(self, entity: str) -> Answering:
        return lambda keys: [one for row in self._many(entity, sought(keys)) for one in seen(row)]

    def _within(self, entity: str, answer: Callable[[Backwards, Row], list[Row]]) -> Answering:
        return lambda parameters: answer(lambda key: self._backwards(entity, key), parameters)

    def _many(self, entity: str, keys: Sequence[Key]) -> list[Row | None]:
        """The rows of these keys, in their order; None where there is none."""
        if not keys:
            return []
        before = self._key("row", entity, b"")
        found = self._ask("MGET", *(before + key_text(key) for key in keys))
        return [None if value is None else marshal.loads(value) for value in found]

    def _backwards(self, entity: str, key: Any) -> Iterator[Row]:
        """The revisions of one record, the last first."""
        name, end = self._key("log", entity, key_text(key)), b"+"
        while True:
            found = self._ask("ZREVRANGEBYLEX", name, end, b"-", "LIMIT", 0, _FEW)
            for member in found:
                yield marshal.loads(member[8:])
            if len(found) < _FEW:
                return
            end = b"(" + found[-1][:8]

    def _totals(self, entity: str) -> pl.DataFrame:
        rows = [marshal.loads(value) for value in self._ask("HVALS", self._key("totals"))]
        return pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")

    # -- whole ---------------------------------------------------------------------------------------------------------

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """The keys are looked for first and sorted, for the server has no order of them; then page by page."""
        schema = self.layout.schema(entity)
        if self.layout.kept.adds:
            yield from self.sliced(self._totals(entity))
            return
        keys, rows = self._keys(entity), list[Row]()
        if self.layout.kept.replaces:
            for first in range(0, len(keys), self.page_rows):
                rows = [row for row in self._many(entity, keys[first : first + self.page_rows]) if row is not None]
                if rows:
                    yield pl.DataFrame(rows, schema=schema, orient="row")
            return
        for key in keys:
            members = self._ask("ZRANGE", self._key("log", entity, key_text(key)), 0, -1)
            rows += (marshal.loads(member[8:]) for member in members)
            while len(rows) >= self.page_rows:
                yield pl.DataFrame(rows[: self.page_rows], schema=schema, orient="row")
                rows = rows[self.page_rows :]
        if rows:
            yield pl.DataFrame(rows, schema=schema, orient="row")

    def _keys(self, entity: str) -> list[Any]:
        """The keys of all records, sorted."""
        before = self._key("row" if self.layout.kept.replaces else "log", entity, b"")
        kind = int if self.layout.entities[entity].key == "int" else _texted
        pattern = before[len(self._known) + 1 :] + b"*"
        with engine.mapped(self.name):
            some = keys_of(self._reader(), self._known, pattern)
            return sorted({kind(key[len(before) :]) for keys in some for key in keys})

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """All keys in one command; of revisions, the last one of each record."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                return dict(self.memory(entity, keys).select("id", "revision").rows())
        if self.layout.kept.replaces:
            return {row[1]: row[2] for row in self._many(entity, keys) if row is not None}
        found = {key: next(self._backwards(entity, key), None) for key in keys}
        return {key: row[2] for key, row in found.items() if row is not None}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        name = self._key("memory", entity)
        if keys is None:
            values = self._ask("HVALS", name)
        else:
            values = self._ask("HMGET", name, *map(key_bytes, dict.fromkeys(keys))) if keys else []
        rows = [marshal.loads(value) for value in values if value is not None]
        return pl.DataFrame(rows, schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their hash."""
        return decoded(self._ask("HVALS", self._key("parked", entity)), self.layout.entities[entity])


def key_text(key: Any) -> bytes:
    """A key as it can be read at the end of a name; what is neither a number nor a text, as no key is written."""
    return str(key).encode("utf-8", "surrogatepass") if isinstance(key, (int, str)) else b"\xff"


def _texted(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")
