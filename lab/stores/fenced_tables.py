"""Stores whose tables several processes write at a time, each the owner of a partition of the records.

The rows of all partitions lie in the same tables. Each partition has a checkpoint of its own, and a row with the
generation and the token of its owner, which is locked and compared in the transaction of every batch: an owner that
was replaced, and doesn't know yet, is refused as a whole. A broker that has lost what it counted may give the same
generation to two owners: the token, drawn for each claim, tells them apart.

The row stays locked for no longer than the server works, or waits for a client by its own limits: an owner that stands
still in the midst of a batch holds up the next one by that time at most.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import polars as pl

from lab.base import META, Batch, Damaged, Entity, Fenced, Key, Unavailable
from lab.ports import Assignment, KeySlice
from lab.queries import sql
from lab.stores.server_store import PARKED, SessionT
from lab.stores.server_tables import ServerTables, parked_key

# The tables of owners and of the checkpoints of partitions.
OWNERS, PLACES = "lab_partition", "lab_partition_checkpoint"
# Seconds after which the server ends a transaction whose owner sends nothing.
IDLE_SECONDS = 10
# Seconds that an owner waits for the row of its partition: only a former owner's open transaction can have locked it.
WAITS_SECONDS = 2
# So many records are deleted by one statement.
DELETED = 5_000
_OWNER = {"number": pl.Int64(), "generation": pl.Int64(), "token": pl.String()}


class FencedTables(ServerTables[SessionT]):
    """Base of the stores on a server that know partitions. Without `claim`, the whole projection is written.

    Such a writer makes the tables: it must have opened the store before an owner does.
    """

    # A text's hash as a number, in the server's SQL.
    hashed: ClassVar[str]

    # What is written to; None for the whole.
    _claimed: Assignment | None = None
    # By which the server knows this owner from another of the same generation.
    _token = ""

    @abstractmethod
    def _bound(self, session: SessionT) -> None:
        """Have the server end a transaction of this session that is left open, so that it holds up no next owner.

        And have it end a wait for a row that is locked, after `WAITS_SECONDS`.
        """

    def _send(self, batch: Batch) -> None:
        """Send rows for whose end the server would wait without a limit, to where nothing lasts.

        It is called in the transaction of the batch, before the owner's row is locked.
        """

    @abstractmethod
    def _delete(self, table: str, keys: Sequence[Key]) -> None:
        """Delete the rows of these keys."""

    @abstractmethod
    def _waited(self, error: Exception) -> bool:
        """Whether a wait for a locked row was ended."""

    def claim(self, assignment: Assignment) -> None:
        """Write as the owner of a partition, from the next opening on."""
        self.close()
        self._claimed, self._token = assignment, secrets.token_hex(8)

    def _take_lock(self, session: SessionT, name: str) -> None:
        """An owner waits for no other process: what replaces it is its generation."""
        if self._claimed is None:
            self._take_writers_lock(session, name)
        else:
            self._bound(session)

    @abstractmethod
    def _take_writers_lock(self, session: SessionT, name: str) -> None:
        """Wait for the lock of the session that writes the whole: one for each place."""

    def _make_tables(self) -> None:
        """An owner finds them made, and takes its place. Raises Fenced."""
        if self._claimed is not None:
            self._take_over(self._claimed)
            return
        super()._make_tables()
        if not self.layout.partitions:
            return
        self._make_table(OWNERS, _OWNER, "number")
        places = {"number": pl.Int64(), "entity": pl.String(), "position": pl.Int64()}
        self._make_table(PLACES, places, ("number", "entity"))
        for number in range(self.layout.partitions):
            self._keep(OWNERS, tuple(_OWNER), (), (number, 0, ""))

    def _take_over(self, mine: Assignment) -> None:
        generation, token = self._owner(mine.partition)
        if generation < mine.generation:
            self._keep(OWNERS, tuple(_OWNER), ("number",), (mine.partition, mine.generation, self._token))
        else:
            self._compare(generation, token, mine)

    def _owner(self, partition: int) -> tuple[int, str]:
        """Generation and token of the owner; its row stays locked until the transaction ends. Raises Unavailable."""
        asked = f"SELECT generation, token FROM {OWNERS} WHERE number = ? FOR UPDATE"
        try:
            found = self._connection.execute(asked, (partition,)).fetchall()
        except self.errors as error:
            if not self._waited(error):
                raise
            what = f"partition {partition} is locked by a transaction that its former owner has left open"
            said = f"the server ends it after {IDLE_SECONDS} s without work"
            raise Unavailable(f"{self.name}: {what}; {said}") from None
        if not found:
            raise Damaged(f"{self.name}: there is no partition {partition}")
        generation, token = found[0]
        return int(generation), str(token)

    def _compare(self, generation: int, token: str, mine: Assignment) -> None:
        if generation == mine.generation and token == self._token:
            return
        what = f"partition {mine.partition} was given away"
        if generation > mine.generation:
            said = f"{what}: generation {generation} has it, and this is {mine.generation}"
        elif generation == mine.generation:
            said = f"{what}: another owner has generation {generation}, too"
        else:
            # It has crashed, with the claim not yet on disk: what this owner knows may be gone, too.
            what = f"the server has lost that partition {mine.partition} was claimed"
            said = f"{what}: it knows of generation {generation}, and this is {mine.generation}"
        raise Fenced(f"{self.name}: {said}", generation)

    def _write(self, batch: Batch, replace: bool) -> None:
        """Write a batch, if its owner is still the owner. Raises Fenced."""
        if self._claimed is not None:
            self._send(batch)
            self._compare(*self._owner(self._claimed.partition), self._claimed)
        super()._write(batch, replace)

    def clear(self) -> None:
        """Delete what is there of an owner's partition, in one transaction: it has nothing then, and is at position 0.

        The records of other owners are neither touched nor locked. Raises Fenced.
        """
        mine = self._claimed
        assert mine is not None
        with self._transaction() as session:
            self._compare(*self._owner(mine.partition), mine)
            for name, entity in self.layout.entities.items():
                asked = f'SELECT "key" FROM {sql.quoted(name)} WHERE {self._of(mine, entity)}'
                keys = [key for (key,) in session.execute(asked).fetchall()]
                for first in range(0, len(keys), DELETED):
                    self._delete(name, keys[first : first + DELETED])
                aside = self.parked(name)["key"].unique().to_list()
                for first in range(0, len(aside), DELETED):
                    self._remove(f"{PARKED}{name}", [parked_key(key) for key in aside[first : first + DELETED]])
                self._move(name, 0)

    def newest(self, entity: str, most: int) -> pl.DataFrame:
        """Return the newest records of an owner's partition by position: `META` of so many at the most."""
        assert self._claimed is not None
        found = self.layout.entities[entity]
        where = f"WHERE {self._of(self._claimed, found)} ORDER BY position DESC LIMIT {most}"
        schema = {name: found.schema[name] for name in META}
        return self._frame(f"SELECT {sql.columns(list(META))} FROM {sql.quoted(entity)} {where}", schema)

    def _of(self, mine: Assignment, entity: Entity) -> str:
        """The condition, in SQL, for the records of an owner's partition."""
        number = self.hashed.format('"key"') if entity.key == "str" else '"key"'
        return f"{sql.remainder(number, self.layout.partitions)} = {mine.partition}"

    def _move(self, entity: str, checkpoint: int) -> None:
        """Of an owner, that of its partition; else those of all partitions."""
        if not self.layout.partitions:
            super()._move(entity, checkpoint)
            return
        numbers = range(self.layout.partitions) if self._claimed is None else [self._claimed.partition]
        for number in numbers:
            row = (number, entity, checkpoint)
            self._keep(PLACES, ("number", "entity", "position"), ("number", "entity"), row)

    def checkpoint(self, entity: str) -> int:
        """Return an owner's own position; of the whole, that up to which every partition has come."""
        if not self.layout.partitions:
            return super().checkpoint(entity)
        with self._mapped(self.name):
            asked = f"SELECT number, position FROM {PLACES} WHERE entity = ?"
            found = dict(self._connection.execute(asked, (entity,)).fetchall())
        if self._claimed is not None:
            return int(found.get(self._claimed.partition, 0))
        return min((int(found.get(number, 0)) for number in range(self.layout.partitions)), default=0)

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, of an owner those of its own records."""
        found = super().parked(entity)
        if self._claimed is None:
            return found
        return KeySlice(self._claimed.partition, self.layout.partitions).of(found)
