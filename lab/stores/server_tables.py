"""How stores on a server of SQL keep a projection: a table for each entity, with memory, parked changes, checkpoint."""

from __future__ import annotations

import contextlib
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence

import polars as pl

from lab.base import Batch, Damaged, Entity, Key, Unavailable
from lab.queries import sql
from lab.stores.parked import ParkedRow, encoded
from lab.stores.server_store import PARKED, ServerStore, SessionT


class ServerTables(ServerStore[SessionT]):
    """Base of the stores whose tables have a column for each column of the entity."""

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def _upsert(
        self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame, identity: tuple[str, ...]
    ) -> None:
        """Write rows with these columns; those of the same identity are replaced."""

    @abstractmethod
    def _fill(self, table: str, schema: dict[str, pl.DataType], rows: pl.DataFrame) -> None:
        """Write rows of which none is there yet."""

    @abstractmethod
    def _keep(self, table: str, names: tuple[str, ...], identity: tuple[str, ...], row: Sequence[object]) -> None:
        """Write one row; one of the same identity is replaced. Without an identity, one that is there stays."""

    @abstractmethod
    def _remove(self, table: str, keys: Sequence[bytes]) -> None:
        """Delete the rows whose `key`, in bytes, is among these."""

    @abstractmethod
    def _add(self, rows: pl.DataFrame) -> None:
        """Add to the groups that are there, insert the rest. A group's value may be null."""

    @abstractmethod
    def _undo(self, session: SessionT) -> None:
        """Roll back; a session in which that can't be done is given up."""

    @abstractmethod
    def _number(self, session: SessionT) -> str:
        """What this transaction can be asked about under, once its answer was lost."""

    @abstractmethod
    def _committed(self, number: str) -> bool:
        """Ask what became of a transaction whose answer was lost; its session has ended once this one writes."""

    # -- tables --------------------------------------------------------------------------------------------------------

    def _make_tables(self) -> None:
        self._make_table("lab_checkpoint", {"entity": pl.String(), "position": pl.Int64()}, "entity")
        super()._make_tables()
        for entity in self.layout.entities.values():
            self._make_indexes(entity)

    def _make_shape(self) -> None:
        layout = self.layout
        if layout.totals is not None:
            self._make_table("totals", layout.totals_schema(), None)
            return
        key = layout.identity if len(layout.identity) > 1 else "key"
        for name in layout.entities:
            self._make_table(name, self._stored(name), key, self._computed(name))

    def _stored(self, entity: str) -> dict[str, pl.DataType]:
        """The columns that are written."""
        return self.layout.schema(entity)

    def _computed(self, entity: str) -> list[str]:
        """The definitions of columns that the server works out from those."""
        return []

    def _make_indexes(self, entity: Entity) -> None:
        for definition in self._indexes(entity):
            number = zlib.crc32(f"{entity.name} {definition}".encode())
            name = sql.quoted(f"{entity.name[:20]}_{number:08x}")
            table = sql.quoted(self._into(entity.name))
            self._connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} {definition}")

    @abstractmethod
    def _indexes(self, entity: Entity) -> list[str]:
        """What follows the table in the definition of each index."""

    def _sought(self, entity: Entity) -> list[tuple[str, ...]]:
        """The columns that readers of current records look for together."""
        if not self.layout.kept.replaces:
            return []
        return [*entity.indexes, *([(entity.parent,)] if entity.parent else [])]

    def _into(self, table: str) -> str:
        """The table that is written in the place of this one."""
        return table

    # -- writing -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[SessionT]:
        with self._mapped(self.name):
            session = self._connection
            session.execute("BEGIN")
            try:
                yield session
                # What is added twice counts twice: so whether a lost commit was one has to be known.
                number = self._number(session) if self.layout.kept.adds else None
            except BaseException:
                self._undo(session)
                raise
            try:
                session.execute("COMMIT")
            except self.errors:
                if session.alive:
                    self._undo(session)
                    raise
                if number is None or not self._landed(number):
                    raise

    def _landed(self, number: str) -> bool:
        """Ask whether a batch of increments is in. Raises Damaged where that can't be known: they might count twice."""
        try:
            return self._committed(number)
        except Unavailable as error:
            raise Damaged(f"{self.name}: it isn't known whether the last batch was committed: {error}") from None

    def _write(self, batch: Batch, replace: bool) -> None:
        layout = self.layout
        self._put(batch, replace)
        if batch.memory is not None and batch.memory.height:
            self._upsert(f"lab_memory_{batch.entity}", layout.memory, batch.memory, ("id",))
        if batch.checkpoint is not None:
            self._move(batch.entity, batch.checkpoint)
        parked = f"{PARKED}{batch.entity}"
        if batch.release:
            self._remove(parked, [parked_key(key) for key in batch.release])
        for one in encoded(batch.park):
            values = (one.position, parked_key(one.key), self._reason(one.reason), one.change)
            self._keep(parked, ParkedRow._fields, (), values)

    def _move(self, entity: str, checkpoint: int) -> None:
        """Move the checkpoint, within a transaction."""
        self._keep("lab_checkpoint", ("entity", "position"), ("entity",), (entity, checkpoint))

    def _reason(self, reason: str) -> str:
        """A reason as this server can hold it."""
        return reason

    def _put(self, batch: Batch, replace: bool) -> None:
        if self.layout.kept.adds:
            self._add(batch.rows)
        elif batch.rows.height:
            schema, rows = self._stored(batch.entity), self._rows(batch)
            if replace:
                self._upsert(batch.entity, schema, rows, self.layout.identity)
            else:
                self._fill(batch.entity, schema, rows)

    def _rows(self, batch: Batch) -> pl.DataFrame:
        """The rows as they are stored."""
        return batch.rows


def parked_key(key: Key) -> bytes:
    """A key as it is kept of a parked change."""
    return str(key).encode()
