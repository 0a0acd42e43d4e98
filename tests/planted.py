"""Stores that are broken on purpose: a right one, and one thing that real databases and drivers are known to do.

They are classes of a module, so that another process can import them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from lab.base import Batch, CannotTake, Key
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.lmdb_keyvalue import LmdbKeyvalue
from lab.stores.memory import Memory
from lab.stores.sqlite_table import SqliteTable

Alter = Callable[[Any], Any]


def _altered(frame: pl.DataFrame, kind: pl.DataType, alter: Alter, columns: Sequence[str]) -> pl.DataFrame:
    """The frame with its values of one type altered, nulls included."""
    changes = [
        pl.Series(name, [alter(value) for value in frame[name]], frame.schema[name])
        for name in columns
        if name in frame.columns and frame.schema[name] == kind
    ]
    return frame.with_columns(changes)


class AltersValues(SqliteTable):
    """Alters the values of one type as it writes them."""

    kind: pl.DataType = pl.String()
    alter: Alter = staticmethod(lambda value: value)
    # Of keys; otherwise of the entity's own columns.
    keys = False

    def apply(self, batch: Batch) -> None:
        columns = ["key"] if self.keys else list(self.layout.entities[batch.entity].columns)
        rows = _altered(batch.rows, self.kind, type(self).alter, columns)
        identity = [name for name in self.layout.identity if name in rows.columns]
        super().apply(replace(batch, rows=rows.unique(identity, keep="last", maintain_order=True)))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        if not self.keys:
            return super().revisions(entity, keys)
        kept = [type(self).alter(key) if isinstance(key, str) == (self.kind == pl.String) else key for key in keys]
        found = super().revisions(entity, list(dict.fromkeys(kept)))
        return {key: found[one] for key, one in zip(keys, kept, strict=True) if one in found}


def text(change: Callable[[str], str | None]) -> Alter:
    """Alter texts, and leave null alone."""
    return lambda value: None if value is None else change(value)


def _number(value: str) -> str:
    try:
        return f"{float(value):.15g}"
    except ValueError:
        return value


TEXTS: dict[str, Alter] = {
    "trims texts": text(str.strip),
    "trims the ends of texts": text(str.rstrip),
    "lowers texts": text(str.lower),
    "folds texts to ASCII": text(lambda value: unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()),
    "keeps Latin-1 alone": text(lambda value: value.encode("latin-1", "replace").decode("latin-1")),
    "composes texts": text(lambda value: unicodedata.normalize("NFC", value)),
    "decomposes texts": text(lambda value: unicodedata.normalize("NFD", value)),
    "replaces ligatures": text(lambda value: unicodedata.normalize("NFKC", value)),
    "cuts texts at NUL": text(lambda value: value.partition("\x00")[0]),
    "makes empty texts null": text(lambda value: value or None),
    "makes null an empty text": lambda value: "" if value is None else value,
    "makes the word null null": text(lambda value: None if value in ("null", "NULL") else value),
    "reads texts as numbers": text(_number),
    "drops leading zeros": text(lambda value: value.lstrip("0") or value),
    "completes dates": text(lambda value: value + "T00:00:00" if value == "2024-01-01" else value),
    "cuts texts at 255 characters": text(lambda value: value[:255]),
    "cuts texts at 64 KB": text(lambda value: value.encode()[:65_535].decode(errors="ignore")),
    "keeps the basic plane alone": text(lambda value: "".join(c if ord(c) < 0x10000 else "\ufffd" for c in value)),
    "drops joiners": text(lambda value: value.replace("\u200d", "").replace("\u200b", "")),
    "drops a byte order mark": text(lambda value: value.removeprefix("\ufeff")),
    "changes line ends": text(lambda value: value.replace("\r\n", "\n")),
    "doubles quotes": text(lambda value: value.replace("'", "''")),
}
NUMBERS: dict[str, tuple[pl.DataType, Alter]] = {
    "keeps whole numbers of 32 bits": (
        pl.Int64(), lambda value: None if value is None else (value + 2**31) % 2**32 - 2**31,
    ),
    "keeps whole numbers as floats": (
        pl.Int64(), lambda value: None if value is None else max(-(2**63), min(int(float(value)), 2**63 - 1)),
    ),
    "makes null 0": (pl.Int64(), lambda value: value or 0),
    "keeps floats of 32 bits": (
        pl.Float64(), lambda value: None if value is None else pl.Series([value]).cast(pl.Float32).cast(pl.Float64)[0],
    ),
    "rounds": (pl.Float64(), lambda value: None if value is None else round(value, 2)),
    "flushes denormals": (
        pl.Float64(), lambda value: 0.0 if value is not None and 0 < abs(value) < 2.3e-308 else value,
    ),
    "keeps 15 digits": (pl.Float64(), lambda value: None if value is None else float(f"{value:.15g}")),
    "makes null false": (pl.Boolean(), bool),
}  # fmt: skip
KEYS: dict[str, tuple[pl.DataType, Alter]] = {
    "lowers keys": (pl.String(), str.lower),
    "trims keys": (pl.String(), str.strip),
    "composes keys": (pl.String(), lambda key: unicodedata.normalize("NFC", key)),
    "cuts keys": (pl.String(), lambda key: key[:32]),
    "cuts keys at NUL": (pl.String(), lambda key: key.partition("\x00")[0]),
    "reads keys as numbers": (pl.String(), _number),
    "keeps keys of 32 bits": (pl.Int64(), lambda key: (key + 2**31) % 2**32 - 2**31),
    "keeps keys without a sign": (pl.Int64(), lambda key: min(abs(key), 2**63 - 1)),
    "keeps keys as floats": (pl.Int64(), lambda key: min(int(float(key)), 2**63 - 1)),
}


class DropsKey0(SqliteTable):
    """Takes 0 for no key."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, rows=batch.rows.filter(pl.col("key").cast(pl.String) != "0")))


class KeepsValuesThatBecomeNull(SqliteTable):
    """Writes what a change has, and leaves the rest as it was."""

    def apply(self, batch: Batch) -> None:
        former = pl.concat([*super().pages(batch.entity), batch.rows.clear()])
        own = list(self.layout.entities[batch.entity].columns)
        both = batch.rows.join(former.select("key", *own), on="key", how="left", suffix="_former")
        filled = [pl.coalesce(name, f"{name}_former").alias(name) for name in own]
        super().apply(replace(batch, rows=both.with_columns(filled).select(batch.rows.columns)))


class CutsBatches(SqliteTable):
    """Writes the first 128 rows of a batch."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, rows=batch.rows.head(128)))


class CountsRevisionsInAByte(SqliteTable):
    """Keeps a revision modulo 256."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, rows=batch.rows.with_columns(pl.col("revision") % 256)))


class KeepsDeletedRecordsDeleted(SqliteTable):
    """Ignores a record that is created again."""

    def apply(self, batch: Batch) -> None:
        gone = pl.concat([*super().pages(batch.entity), batch.rows.clear()]).filter("deleted")["key"]
        super().apply(replace(batch, rows=batch.rows.filter(~pl.col("key").is_in(gone.implode()))))


class _Forgets(SqliteTable):
    def apply(self, batch: Batch) -> None:
        super().apply(batch)
        with self._transaction() as connection:
            connection.execute(self._forget(batch.entity))

    def _forget(self, entity: str) -> str:
        """The statement that forgets; this one forgets nothing."""
        return f'DELETE FROM "{entity}" WHERE false'


class ForgetsTombstones(_Forgets):
    """Drops tombstones once thirty later changes are in."""

    def _forget(self, entity: str) -> str:
        late = f'SELECT position FROM "{entity}" ORDER BY position DESC LIMIT 1 OFFSET 30'
        return f'DELETE FROM "{entity}" WHERE deleted AND position < ({late})'


class KeepsTheLastHundred(_Forgets):
    """A cache of a hundred records."""

    def _forget(self, entity: str) -> str:
        last = f'SELECT key FROM "{entity}" ORDER BY position DESC LIMIT 100'
        return f'DELETE FROM "{entity}" WHERE key NOT IN ({last})'


class FiltersWithoutCase(Memory):
    """Compares texts in a condition without regard to case."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        found = super().query(query, parameters)
        if query.kind == "filter" and parameters and isinstance(parameters[0], str):
            other = parameters[0].swapcase()
            found = found if other == parameters[0] else found + super().query(query, (other, *parameters[1:]))
        return found


class FiltersTrimmed(Memory):
    """Trims the texts that it is asked with."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        return super().query(query, tuple(one.strip() if isinstance(one, str) else one for one in parameters))


class LooksKeysUpWithoutCase(Memory):
    """Finds a record under another key."""

    def query(self, query: Query, parameters: Row) -> list[Row]:
        return super().query(query, tuple(one.lower() if isinstance(one, str) else one for one in parameters))


class _Sorts(Memory):
    def query(self, query: Query, parameters: Row) -> list[Row]:
        found = super().query(replace(query, limit=None), parameters)
        if query.kind == "filter" and query.order_by:
            at = query.entity.row.index(query.order_by)
            found = self._sorted(found, at)
        return found[: query.limit]

    def _sorted(self, rows: list[Row], at: int) -> list[Row]:
        return rows


class SortsNullsFirst(_Sorts):
    def _sorted(self, rows: list[Row], at: int) -> list[Row]:
        return sorted(rows, key=lambda row: row[at] is not None)


class SortsByALocale(_Sorts):
    def _sorted(self, rows: list[Row], at: int) -> list[Row]:
        if not rows or not any(isinstance(row[at], str) for row in rows):
            return rows
        return sorted(rows, key=lambda row: (row[at] is None, str(row[at]).casefold(), row[0]))


class SortsTiesBackwards(_Sorts):
    def _sorted(self, rows: list[Row], at: int) -> list[Row]:
        backwards = sorted(rows, key=lambda row: row[0], reverse=True)
        order: dict[Any, int] = {}
        for row in rows:
            order.setdefault(row[at], len(order))
        return sorted(backwards, key=lambda row: order[row[at]])


class AnswersInFloatsOf32Bits(Memory):
    def query(self, query: Query, parameters: Row) -> list[Row]:
        found = super().query(query, parameters)
        return [
            tuple(pl.Series([one]).cast(pl.Float32)[0] if isinstance(one, float) else one for one in row)
            for row in found
        ]


class ReadsFloatsOf32Bits(Memory):
    """Its columns come back in another type."""

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        for page in super().pages(entity):
            yield page.with_columns(pl.col(pl.Float64).exclude("committed_at").cast(pl.Float32))


class StopsAtNul(Memory):
    """Raises an error of its own where it should say that it can't take a change."""

    def apply(self, batch: Batch) -> None:
        if any("\x00" in value for row in batch.rows.rows() for value in row if isinstance(value, str)):
            raise ValueError("embedded null byte")
        super().apply(batch)


class RefusesEverything(Memory):
    """Says of each change that it can't take it."""

    def apply(self, batch: Batch) -> None:
        if batch.rows.height:
            raise CannotTake("not this one")
        super().apply(batch)


class ForgetsWhenReopened(SqliteTable):
    """Loses the empty text when it is closed."""

    def close(self) -> None:
        if self._writer is not None:
            for name, entity in self.layout.entities.items():
                for column, kind in entity.columns.items():
                    if kind == "str":
                        self._writer.execute(f'UPDATE "{name}" SET "{column}" = NULL WHERE "{column}" = \'\'')
        super().close()


BROKEN_IN_WORDS: dict[str, type] = {
    one.__name__: one
    for one in (
        DropsKey0, KeepsValuesThatBecomeNull, CutsBatches, CountsRevisionsInAByte, KeepsDeletedRecordsDeleted,
        ForgetsTombstones, KeepsTheLastHundred, FiltersWithoutCase, FiltersTrimmed, LooksKeysUpWithoutCase,
        SortsNullsFirst, SortsByALocale, SortsTiesBackwards, AnswersInFloatsOf32Bits, ReadsFloatsOf32Bits, StopsAtNul,
        RefusesEverything, ForgetsWhenReopened,
    )
}  # fmt: skip


def _made(name: str, kind: pl.DataType, alter: Alter, keys: bool = False) -> type[AltersValues]:
    title = "".join(word.capitalize() for word in name.split())
    made = type(title, (AltersValues,), {"kind": kind, "alter": staticmethod(alter), "keys": keys})
    made.__module__ = __name__
    globals()[title] = made
    return made


# The planted classes with nothing planted in them: they are no fault.
HARMLESS: dict[str, type] = {
    **{
        f"leaves values of {kind} as they are": _made(f"leaves {kind} as it is", kind, lambda value: value)
        for kind in (pl.String(), pl.Int64(), pl.Float64(), pl.Boolean())
    },
    **{
        f"leaves keys of {kind} as they are": _made(f"leaves keys of {kind}", kind, lambda key: key, keys=True)
        for kind in (pl.String(), pl.Int64())
    },
    "forgets nothing": _Forgets,
    "leaves the order as it is": _Sorts,
}

# Every store that alters values, by what it does.
ALTERING: dict[str, type] = {
    **{name: _made(name, pl.String(), alter) for name, alter in TEXTS.items()},
    **{name: _made(name, kind, alter) for name, (kind, alter) in NUMBERS.items()},
    **{name: _made(name, kind, alter, keys=True) for name, (kind, alter) in KEYS.items()},
    **BROKEN_IN_WORDS,
}


# Stores that a crash finds out


class DataThenCheckpoint(SqliteTable):
    """Commits the checkpoint after the data, in a transaction of its own."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, checkpoint=None))
        if batch.checkpoint is not None:
            super().apply(Batch(batch.entity, batch.rows.clear(), batch.checkpoint))


class CheckpointThenData(SqliteTable):
    """Commits the checkpoint before the data."""

    def apply(self, batch: Batch) -> None:
        if batch.checkpoint is not None:
            super().apply(Batch(batch.entity, batch.rows.clear(), batch.checkpoint))
        super().apply(replace(batch, checkpoint=None))


class RowByRow(LmdbKeyvalue):
    """Commits each row by itself."""

    def apply(self, batch: Batch) -> None:
        for row in batch.rows.iter_slices(1):
            super().apply(Batch(batch.entity, row))
        super().apply(replace(batch, rows=batch.rows.clear()))


class CheckpointInMemory(SqliteTable):
    """Keeps the checkpoint in the process alone."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, checkpoint=None))
        if batch.checkpoint is not None:
            self._at = {**self.__dict__.get("_at", {}), batch.entity: batch.checkpoint}

    def checkpoint(self, entity: str) -> int:
        return int(self.__dict__.get("_at", {}).get(entity, 0))

    def reset(self) -> None:
        self._at = {}
        super().reset()


class WritesBehind(LmdbKeyvalue):
    """Confirms a batch when the next one comes, or when it is read."""

    def apply(self, batch: Batch) -> None:
        self._flush()
        self._behind = batch

    def _flush(self) -> None:
        behind, self._behind = self.__dict__.get("_behind"), None
        if behind is not None:
            super().apply(behind)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        self._flush()
        return super().query(query, parameters)

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        self._flush()
        return super().pages(entity)

    def checkpoint(self, entity: str) -> int:
        self._flush()
        return super().checkpoint(entity)

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        self._flush()
        return super().revisions(entity, keys)

    def parked(self, entity: str) -> pl.DataFrame:
        self._flush()
        return super().parked(entity)

    def close(self) -> None:
        if self.__dict__.get("_environment") is not None:
            self._flush()
        super().close()


class CommitsEverySecondBatch(SqliteTable):
    """Leaves a transaction open, for throughput."""

    def apply(self, batch: Batch) -> None:
        held = self.__dict__.get("_held")
        if held is None and batch.park is None and not batch.release:
            self._held = batch
            return
        self._held = None
        if held is not None:
            super().apply(held)
        super().apply(batch)

    def checkpoint(self, entity: str) -> int:
        held = self.__dict__.get("_held")
        return held.checkpoint if held is not None and held.checkpoint else super().checkpoint(entity)


class ResetsTheDataFirst(SqliteTable):
    """Empties the tables, and forgets the checkpoint after that."""

    def reset(self) -> None:
        for name in self.layout.entities:
            with self._transaction() as connection:
                connection.execute(f'DELETE FROM "{name}"')
        super().reset()


class MemoryApart(SqliteTable):
    """Commits the checkpoint and the guard's memory after the data."""

    def apply(self, batch: Batch) -> None:
        super().apply(replace(batch, memory=None))
        super().apply(replace(batch, rows=batch.rows.clear(), park=None, release=()))


CRASHING: tuple[type, ...] = (
    DataThenCheckpoint,
    CheckpointThenData,
    RowByRow,
    CheckpointInMemory,
    WritesBehind,
    CommitsEverySecondBatch,
    ResetsTheDataFirst,
    MemoryApart,
)


class RefusesNul(Memory):
    """Says that it can't take a text with NUL: that is no fault."""

    def apply(self, batch: Batch) -> None:
        if any("\x00" in value for row in batch.rows.rows() for value in row if isinstance(value, str)):
            raise CannotTake("a NUL")
        super().apply(batch)
