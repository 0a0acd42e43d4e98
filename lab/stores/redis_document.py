"""`redis.document`: one JSON document for each record, written and read by the server's own type (RedisJSON).

A document has the columns of its record and those that the lab adds, by their names, so that others can ask for a path
of it: `JSON.GET <prefix>:row:<entity>:<key> $.name`. All else is as in `redis.keyvalue`.

The module doesn't parse every decimal to the nearest float: some come back with another last digit. So each float is in
the document a second time, as a text below `_exact`, and that is what the store reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl

from lab.base import CannotTake, Key
from lab.engines import redis as engine
from lab.queries.answers import Row
from lab.servers.redis import SERVER
from lab.servers.redis_json import refuse_without
from lab.stores.bodies import in_json
from lab.stores.keyvalue import seen
from lab.stores.prepared import Answering
from lab.stores.redis_keyvalue import RedisKeyvalue, key_text
from lab.stores.redis_prefix import Command
from lab.stores.slices import tuples

# Below it are the floats of a document, each as the shortest decimal that only it is the nearest float of.
EXACT = "_exact"
# The root of a document as the module first called it: asked for so, it comes by itself and not in a list.
_ROOT = "."


class RedisDocument(RedisKeyvalue):
    """A document for each record."""

    name = "redis.document"
    holds = ("records",)
    reserves = frozenset({EXACT})
    answers = frozenset({"get", "get_many"})
    gaps = MappingProxyType(
        {
            "filter": "not yet: documents are in no index; RediSearch has some, beside the transaction",
            "aggregate": "not yet: see filter",
            "join": "never: a document knows no other",
            "traverse": "never: a document knows no links",
            "search": "not yet: see filter",
            "as_of": "never: a document is overwritten",
            "history": "never: a document is overwritten",
            "sql": "never: documents have no language but paths",
        }
    )

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what is made. Raises BadInput where the server has no documents."""
        cls._check()
        super().begin()

    def open(self) -> None:
        """Become the writer. Raises BadInput where the server has no documents."""
        if self._line is None:
            self._check()
        super().open()

    @classmethod
    def _check(cls) -> None:
        client = SERVER.connect()
        try:
            with engine.mapped(cls.name):
                refuse_without(client, cls.name, str(SERVER.url()))
        finally:
            client.close()

    def _written(self, entity: str, rows: pl.DataFrame) -> list[Command]:
        names, floats = list(self.layout.schema(entity)), self._floats(entity)
        listed = tuples(rows, names)
        words: list[Any] = ["JSON.MSET", *[_ROOT] * (3 * len(listed))]
        words[1::3] = self._names("row", entity, listed)
        try:
            words[3::3] = [in_json(_document(names, floats, row)) for row in listed]
        except ValueError:
            raise CannotTake(f"{self.name}: JSON has no word for a number that is not finite") from None
        return [tuple(words)]

    def _get(self, entity: str) -> Answering:
        ask: Callable[..., Any] = self._reader().execute_command
        before, row_of = self._key("row", entity, b""), self._reading(entity)

        def answer(parameters: Row) -> list[Row]:
            with engine.mapped(self.name):
                found = ask("JSON.GET", before + key_text(parameters[0]), _ROOT)
            return seen(row_of(found))

        return answer

    def _many(self, entity: str, keys: Sequence[Key]) -> list[Row | None]:
        """The rows of these keys, in their order; None where there is none."""
        if not keys:
            return []
        before, row_of = self._key("row", entity, b""), self._reading(entity)
        return [row_of(one) for one in self._ask("JSON.MGET", *(before + key_text(key) for key in keys), _ROOT)]

    def _reading(self, entity: str) -> Callable[[bytes | str | None], Row | None]:
        names, floats = list(self.layout.schema(entity)), self._floats(entity)

        def row_of(document: bytes | str | None) -> Row | None:
            if document is None:
                return None
            found = json.loads(document)
            exact = found[EXACT] if floats else {}
            for name in floats:
                if found[name] is not None:
                    found[name] = float(exact[name])
            return tuple([found[name] for name in names])

        return row_of

    def _floats(self, entity: str) -> list[str]:
        return [name for name, dtype in self.layout.schema(entity).items() if dtype.is_float()]


def _document(names: Sequence[str], floats: Sequence[str], row: Row) -> dict[str, Any]:
    """A row by the names of its columns, with its floats once more."""
    made = dict(zip(names, row, strict=True))
    if floats:
        made[EXACT] = {name: repr(made[name]) for name in floats if made[name] is not None}
    return made
