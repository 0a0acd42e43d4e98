"""Shared by the stores of Parquet files: immutable files, and a manifest that lists the current ones.

A file is never changed. A batch is written into new files, and then a new manifest atomically replaces the old one, so
rows, the guard's memory and the checkpoint become current together. Files that no manifest names are leftovers of a
killed process, and are removed when the store is opened.

Each table is a number of parts, sorted and written once, and one small file with what has come since, which stands
before them: files in which every row can be anywhere would have to be written anew for every batch.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl

from lab.base import INT_MAX, INT_MIN, Batch, CannotTake, Damaged, Key
from lab.place import FolderPlace
from lab.stores.layout import Layout
from lab.stores.parked import changed, decoded
from lab.stores.parquet_disk import MANIFEST, FolderDisk
from lab.stores.parquet_table import GROUP_ROWS, PART_ROWS, Landing, Part, Table, file_stem, merged
from lab.stores.port import Store

PARKED: Mapping[str, pl.DataType] = {"position": pl.Int64(), "change": pl.Binary()}


class ParquetFolder(Store):
    """A projection in a folder of Parquet files; a reader sees the files of the last manifest."""

    durability = "full; or normal: a power cut can damage the projection, which is then built anew"
    files: ClassVar[tuple[str, ...]] = (MANIFEST, f"{MANIFEST}.next", f"*-{'[0-9]' * 8}.parquet")

    # What stands in the names of files before their numbers, whichever process wrote them: a pattern.
    _marks = ""
    _tables: dict[str, Table] | None = None

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        super().__init__(place, layout)
        self._disk = self._disk_of()
        self._checkpoints: dict[str, int] = {}
        self._sequence = 0

    def _disk_of(self) -> FolderDisk:
        return FolderDisk(self.path, self.layout.durability == "full")

    def open(self) -> None:
        """Read the manifest, and sweep away what it doesn't name. Raises Damaged where its files aren't whole."""
        if self._tables is None:
            try:
                self._disk.open()
                self._read_manifest()
            except BaseException:
                self._tables = None
                raise
            self._sweep()

    def close(self) -> None:
        """Nothing is open between two calls; what is known of the files is given up."""
        self._tables = None
        self._disk.close()

    def reset(self) -> None:
        """An empty manifest, then no files."""
        sequence = self._sequence
        self._forget()
        self._sequence = sequence
        self._write_manifest(self._known(), self._checkpoints)
        self._sweep()

    def _known(self) -> dict[str, Table]:
        if self._tables is None:
            self.open()
        assert self._tables is not None
        return self._tables

    def _forget(self) -> None:
        self._tables, self._checkpoints, self._sequence = {}, {}, 0
        for name in self.layout.entities:
            self._tables[name] = Table.empty(self.layout.schema(name), self.layout.identity)
            if self.layout.memory:
                self._tables[_memory(name)] = Table.empty(self.layout.memory, ("id",))
            self._tables[_parked(name)] = Table.empty(PARKED, ("position",))

    def checkpoint(self, entity: str) -> int:
        """Return the position in the manifest."""
        self._known()
        return self._checkpoints.get(entity, 0)

    def apply(self, batch: Batch) -> None:
        """Write new files, then a new manifest."""
        self._land(batch.entity, [batch], whole=False)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Write all parts, sorted, then one manifest."""
        self._land(entity, list(frames), whole=True)

    def _land(self, entity: str, batches: list[Batch], whole: bool) -> None:
        tables, checkpoints = dict(self._known()), dict(self._checkpoints)
        landing = Landing(self._disk, self._sequence)
        try:
            for name, frames in (
                (entity, [batch.rows for batch in batches]),
                (_memory(entity), [batch.memory for batch in batches if batch.memory is not None]),
            ):
                filled = [frame for frame in frames if frame.height]
                if filled and name in tables:
                    rows = pl.concat([tables[name].fit(frame) for frame in filled])
                    tables[name] = self._with(name, tables[name], rows, landing, whole)
            for batch in batches:
                if batch.checkpoint is not None:
                    checkpoints[entity] = _position(batch.checkpoint, self.name)
                self._park(batch, tables, landing)
            self._sequence = landing.sequence
            self._write_manifest(tables, checkpoints)
        except BaseException:
            self._disk.remove(landing.written)
            raise
        former = self._known()
        self._tables, self._checkpoints = tables, checkpoints
        kept = {part.file for table in tables.values() for part in table.files}
        self._disk.remove(part.file for table in former.values() for part in table.files if part.file not in kept)

    def _with(self, name: str, table: Table, rows: pl.DataFrame, landing: Landing, whole: bool) -> Table:
        """The table with these rows in it, in new files."""
        identity = list(table.identity)
        recent = pl.concat([table.recent, rows]).unique(identity, keep="last", maintain_order=True)
        if not whole and table.holds(recent):
            part = landing.write(name, recent.sort(identity), identity[0])
            return replace(table, recent=recent, recent_part=part)
        parts = self._settled(name, table, recent, landing)
        return replace(table, parts=parts, recent=recent.clear(), recent_part=None)

    @abstractmethod
    def _settled(self, name: str, table: Table, recent: pl.DataFrame, landing: Landing) -> tuple[Part, ...]:
        """The table's parts when what is recent becomes part of them."""

    def _write_manifest(self, tables: Mapping[str, Table], checkpoints: Mapping[str, int]) -> None:
        said = {
            "sequence": self._sequence,
            "checkpoints": checkpoints,
            "tables": {
                name: {
                    "parts": [_listed(part) for part in table.parts],
                    "recent": _listed(table.recent_part) if table.recent_part else None,
                }
                for name, table in tables.items()
            },
        }
        self._disk.put_manifest(json.dumps(said))

    def _read_manifest(self) -> None:
        """Know the tables of the manifest, or empty ones without a manifest. Raises Damaged, and OSError."""
        self._forget()
        assert self._tables is not None
        try:
            if (text := self._disk.manifest()) is None:
                return
            said = json.loads(text)
        except ValueError as error:
            raise Damaged(f"{self.name}: {MANIFEST}: {error}") from None
        try:
            sizes = self._disk.sizes()
            for name, table in self._tables.items():
                found = said["tables"].get(name, {"parts": [], "recent": None})
                parts = tuple(_part(item, sizes) for item in found["parts"])
                recent_part = _part(found["recent"], sizes) if found["recent"] else None
                recent = self._disk.scan([recent_part.file]).collect() if recent_part else table.recent
                self._tables[name] = replace(table, parts=parts, recent=recent, recent_part=recent_part)
            self._checkpoints, self._sequence = dict(said["checkpoints"]), int(said["sequence"])
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError, pl.exceptions.PolarsError) as error:
            raise Damaged(f"{self.name}: {error}") from None

    def _sweep(self) -> None:
        named = {part.file for table in self._known().values() for part in table.files}
        own = re.compile(f"({'|'.join(map(file_stem, self._known()))})-{self._marks}[0-9]{{8}}[.]parquet")
        self._disk.sweep([file for file in self._disk.sizes() if file not in named and own.fullmatch(file)])

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        if not self.layout.memory:
            return pl.DataFrame()
        table = self._known()[_memory(entity)]
        return merged(self._frames(table, keys), table)

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Yield pages of all parts, merged with the recent rows."""
        table = self._known()[entity]
        return self.sliced(merged(self._frames(table), table))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """From the columns of keys and revisions of those files that may have one of the keys."""
        found = pl.concat(self._frames(self._known()[entity], keys, ("key", "revision")))
        if self.layout.kept.replaces:
            # The newest file counts, whatever its revision.
            return dict(found.rows())
        return dict(found.group_by("key").agg(pl.col("revision").max()).rows())

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their file."""
        return decoded(self._known()[_parked(entity)].recent["change"], self.layout.entities[entity])

    def _park(self, batch: Batch, tables: dict[str, Table], landing: Landing) -> None:
        """Write the parked changes anew, if the batch changes them: they are few, and one file."""
        added, removed = changed(self, batch)
        if not added and not removed:
            return
        name = _parked(batch.entity)
        rows = [(row.position, row.change) for row in added]
        recent = tables[name].recent.filter(~pl.col("position").is_in(removed))
        recent = pl.concat([recent, pl.DataFrame(rows, schema=dict(PARKED), orient="row")]).sort("position")
        part = landing.write(name, recent, "position") if recent.height else None
        tables[name] = replace(tables[name], recent=recent, recent_part=part)

    def _frames(
        self, table: Table, keys: Sequence[Key] | None = None, columns: Sequence[str] = ()
    ) -> list[pl.DataFrame]:
        """The table's rows, the newest last: all, or those of some keys; all columns, or some."""
        names = list(columns or table.schema)
        files = [part.file for part in table.parts if keys is None or _may_have(part, keys)]
        scans = [*(self._disk.scan([file]) for file in files), table.recent.lazy()]
        if keys is not None:
            wanted = pl.Series(keys, dtype=table.schema[table.identity[0]]).implode()
            scans = [scan.filter(pl.col(table.identity[0]).is_in(wanted)) for scan in scans]
        return pl.collect_all([scan.select(names) for scan in scans])

    def size_bytes(self) -> int:
        """Return the size of the current files and the manifest in bytes."""
        files = sum(part.bytes for table in self._known().values() for part in table.files)
        return files + self._disk.manifest_bytes()

    def settings(self) -> dict[str, Any]:
        """Return the library's version, and the layout of the files."""
        rows = {"part_rows": PART_ROWS, "row_group_rows": GROUP_ROWS}
        return {"library": pl.__version__, "compression": "zstd", **rows, "durability": self.layout.durability}


def _memory(entity: str) -> str:
    return f"lab_memory_{entity}"


def _parked(entity: str) -> str:
    return f"lab_parked_{entity}"


def _may_have(part: Part, keys: Sequence[Key]) -> bool:
    return any(part.first <= key <= part.last for key in keys)


def _part(said: Mapping[str, Any], sizes: Mapping[str, int]) -> Part:
    part = Part(**said)
    if sizes[part.file] != part.bytes:
        raise ValueError(f"{part.file} is not whole")
    return part


def _listed(part: Part) -> dict[str, Any]:
    return {"file": part.file, "rows": part.rows, "bytes": part.bytes, "first": part.first, "last": part.last}


def _position(number: int, store: str) -> int:
    """As wide as every other engine's integers: a larger number is refused here, not kept and misread elsewhere."""
    if not INT_MIN <= number <= INT_MAX:
        raise CannotTake(f"{store}: a checkpoint of more than 64 bits")
    return number
