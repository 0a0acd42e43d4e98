"""Spill to disk what a run keeps for each of its changes: arrays and frames, read through memory maps.

A run of many millions of changes has more of them than memory. What is kept for every one is written to unnamed files
beside the run, and stands there as read-only arrays and frames whose pages the kernel loads when they are looked at.
`breathe`, called between the parts of a long pass, gives these pages back; what is looked at again is loaded again.
"""

from __future__ import annotations

import contextlib
import contextvars
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa

from lab.mapped import MappedFile, NoRoom, SharedFile, breathe

# Arrays below this size stay in memory: a file would cost more than it saves. For frames, and arrays that are written
# to, a file of their own is made.
LEAST_BYTES, LEAST_OWN_BYTES = 1 << 12, 1 << 20
# Rows of a spilled frame that are written together, and by which a pass over all rows goes.
ROWS = 250_000
# Arrays share files of this length, of which only what is written takes room on disk.
_FILE_BYTES = 1 << 34
# An array of this size has a file of its own, whose room is free as soon as the array is.
_ALONE_BYTES = 1 << 24
# Bytes of rows that are brought into another order together.
_TOGETHER_BYTES = 1 << 27
# Rows that span fewer chunks than this are taken from them as a whole.
_NEAR = 4
# More passes over a frame than this are saved by going through it once, and through parts of it, so many at the most.
_PASSES, _PARTS = 4, 256
_PLACE = "lab_place"


class Spill:
    """Files in a folder for what is too large for memory; without a folder, everything stays in memory.

    The files have no name from the start, so they are gone when the process ends, however it does; the room of a file
    is free again once nothing that was written to it is referenced.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._shared: SharedFile | None = None

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return the same values, read-only; from disk if they are many."""
        if self.folder is None or values.nbytes < LEAST_BYTES or values.dtype.hasobject:
            return values
        with contextlib.suppress(NoRoom):
            return self._file(SharedFile.needed(values)).put(values)
        return values

    def empty(self, size: int, dtype: type | np.dtype) -> np.ndarray:
        """Return an array of zeros to be written to, on disk if it is large."""
        dtype = np.dtype(dtype)
        if self.folder is None or size * dtype.itemsize < LEAST_OWN_BYTES:
            return np.zeros(size, dtype)
        with self._unnamed() as file:
            if hasattr(os, "posix_fallocate"):
                # A disk that is full raises here. Where a page can't be written later, the process is killed.
                os.posix_fallocate(file, 0, size * dtype.itemsize)
            else:
                os.ftruncate(file, size * dtype.itemsize)
            mapped = MappedFile(file, 0, access=mmap.ACCESS_WRITE)
            mapped.grown(size * dtype.itemsize)
        return np.frombuffer(mapped, dtype)

    def kept(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a whole frame, on disk if it is large; one that is there already as it is."""
        return frame if _FRAMES.get(id(frame)) is frame else self.frame([frame], dict(frame.schema))

    def series(self, values: pl.Series) -> pl.Series:
        """Return the same series, on disk if it is large."""
        return self.kept(values.to_frame()).to_series()

    def frame(self, pieces: Iterable[pl.DataFrame], schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """Return the pieces as one frame: in memory if it is small, else in chunks of `ROWS` rows on disk."""
        held: list[pl.DataFrame] = []
        size = 0
        rest = iter(pieces)
        for piece in rest:
            held.append(piece)
            size += int(piece.estimated_size())
            if self.folder is not None and size >= LEAST_OWN_BYTES:
                return self._written(held, rest, schema)
        return pl.concat(held, rechunk=True) if held else pl.DataFrame(schema=schema)

    def _written(
        self, held: list[pl.DataFrame], rest: Iterator[pl.DataFrame], schema: dict[str, pl.DataType]
    ) -> pl.DataFrame:
        empty = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.newest())
        with self._unnamed() as file:
            with os.fdopen(os.dup(file), "wb") as out, pa.ipc.new_file(out, empty.schema) as writer:
                while held or (piece := next(rest, None)) is not None:
                    for part in (held.pop(0) if held else piece).iter_slices(ROWS):  # type: ignore[union-attr]
                        writer.write_table(_own(part.select(list(schema))).cast(empty.schema))
                        # What the pieces are made of may be on disk, too.
                        breathe()
            mapped = MappedFile(file, 0, access=mmap.ACCESS_READ)
            mapped.grown(len(mapped))
        found = pl.from_arrow(pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all(), rechunk=False)
        assert isinstance(found, pl.DataFrame)
        _FRAMES[id(found)] = found
        return found

    def _file(self, size: int) -> SharedFile:
        """The file that arrays are added to, a new one where it is full; of a large array, a file of its own."""
        if size >= _ALONE_BYTES:
            with self._unnamed() as file:
                return SharedFile(file, size)
        if self._shared is None or self._shared.left < size:
            with self._unnamed() as file:
                self._shared = SharedFile(file, _FILE_BYTES)
        return self._shared

    @contextlib.contextmanager
    def _unnamed(self) -> Iterator[int]:
        """Open a file without a name; what is mapped outlives its descriptor."""
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            yield file.fileno()


_HERE: contextvars.ContextVar[Spill | None] = contextvars.ContextVar("spill", default=None)


@contextlib.contextmanager
def spilling(spill: Spill) -> Iterator[None]:
    """Within the block, readers of files put what they read into this spill (`here`)."""
    token = _HERE.set(spill)
    try:
        yield
    finally:
        _HERE.reset(token)


def here() -> Spill:
    """Return the spill of the block that this is called in; outside any, one that keeps everything in memory."""
    return _HERE.get() or Spill()


def briefly(values: np.ndarray) -> np.ndarray:
    """Return the same values, in a file of their own if they are many: its room is free once they are not used."""
    spill = here()
    if spill.folder is None or values.nbytes < LEAST_OWN_BYTES:
        return values
    found = spill.empty(values.size, values.dtype)
    found[:] = values
    return found


def widened(frame: pl.DataFrame, beside: Sequence[pl.Series], columns: Sequence[str]) -> pl.DataFrame:
    """Return these columns of a frame and of series beside it, which take no room of their own, nor on disk."""
    found = frame.with_columns(beside).select(columns)
    if _FRAMES.get(id(frame)) is frame:
        _FRAMES[id(found)] = found
    return found


def taken(frame: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """Return these rows of a frame in their order; of a spilled one only the part is read that they are in."""
    if frame.n_chunks() == 1 or not rows.size:
        return frame[rows]
    first, last = int(rows.min()), int(rows.max()) + 1
    if last - first <= _NEAR * ROWS:
        return frame[first:last][rows - first]
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    cuts = np.flatnonzero(np.diff(ordered // ROWS)) + 1
    pieces = []
    for some in np.split(ordered, cuts):
        pieces.append(frame[int(some[0]) : int(some[-1]) + 1][some - some[0]])
        breathe()
    found: pl.DataFrame = pl.concat(pieces, rechunk=True)
    if np.array_equal(ordered, rows):
        return found
    pieces.clear()
    back = np.empty(rows.size, np.int64)
    back[order] = np.arange(rows.size)
    reordered_rows: pl.DataFrame = found[back]
    return reordered_rows


def sifted(frame: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    """Return the rows of a frame that satisfy a condition on each row by itself; of a spilled one, part by part."""
    if frame.n_chunks() == 1 or frame.height <= ROWS:
        return frame.filter(condition)
    found = []
    for part in frame.iter_slices(ROWS):
        found.append(part.filter(condition))
        breathe()
    return pl.concat(found, rechunk=True)


def sized(frame: pl.DataFrame) -> int:
    """Return how many bytes a frame takes, looked at part by part: text is looked at whole."""
    size = 0
    for part in frame.iter_slices(ROWS):
        size += int(part.estimated_size())
        breathe()
    return size


def reordered(frame: pl.DataFrame, rows: np.ndarray, spill: Spill) -> pl.DataFrame:
    """Return these rows of a frame in their order, on disk if they are many."""
    # Rows from all over a frame on disk are looked for in all of it: so, many together.
    each = sized(frame) / max(1, frame.height)
    step = max(ROWS, int(_TOGETHER_BYTES / max(1.0, each)))
    if spill.folder is not None and frame.n_chunks() > 1 and rows.size > _PASSES * step:
        return spill.frame(_distributed(frame, rows, max(step, rows.size // _PARTS + 1), spill), dict(frame.schema))
    return spill.frame(_in_order(frame, rows, step), dict(frame.schema))


def _distributed(frame: pl.DataFrame, rows: np.ndarray, step: int, spill: Spill) -> Iterator[pl.DataFrame]:
    """Go through the frame once, and put each row into a file of those that stand near it in the end."""
    place = spill.empty(frame.height, np.int64)
    for first in range(0, rows.size, ROWS):
        # From 1: the places of rows that aren't wanted are 0.
        place[rows[first : first + ROWS]] = np.arange(first + 1, min(first + ROWS, rows.size) + 1)
    if np.count_nonzero(place) < rows.size:
        # Some are wanted more than once.
        yield from _in_order(frame, rows, step)
        return
    bounds = np.append(np.arange(0, rows.size, step), rows.size)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile(dir=spill.folder)) for _ in bounds[1:]]
        _deal(frame, place, bounds, files)
        for first, file in zip(bounds, files, strict=False):
            file.seek(0)
            found = pl.from_arrow(pa.ipc.open_stream(file).read_all())
            assert isinstance(found, pl.DataFrame)
            # The room on disk is free again.
            file.close()
            back = np.empty(found.height, np.int64)
            back[found[_PLACE].to_numpy() - first] = np.arange(found.height)
            found = found.drop(_PLACE).rechunk()
            for part in range(0, back.size, ROWS):
                yield found[back[part : part + ROWS]]


def _deal(frame: pl.DataFrame, place: np.ndarray, bounds: np.ndarray, files: Sequence[IO[bytes]]) -> None:
    """Write each row that has a place, counted from 1, to the file between whose bounds (from 0) it stands."""
    empty = frame.clear().with_columns(pl.Series(_PLACE, [], pl.Int64)).to_arrow(compat_level=pl.CompatLevel.newest())
    with contextlib.ExitStack() as opened:
        writers = [opened.enter_context(pa.ipc.new_stream(file, empty.schema)) for file in files]
        for start in range(0, frame.height, _NEAR * ROWS):
            at = place[start : start + _NEAR * ROWS]
            kept = np.flatnonzero(at)
            order = kept[np.argsort(at[kept], kind="stable")]
            part = frame[start : start + _NEAR * ROWS][order].with_columns(pl.Series(_PLACE, at[order] - 1))
            cuts = np.searchsorted(at[order] - 1, bounds)
            for writer, first, last in zip(writers, cuts, cuts[1:], strict=False):
                if last > first:
                    writer.write_table(_own(part[first:last]).cast(empty.schema))
            breathe()


def _in_order(frame: pl.DataFrame, rows: np.ndarray, step: int) -> Iterator[pl.DataFrame]:
    for first in range(0, rows.size, step):
        some = rows[first : first + step]
        if some.size <= ROWS:
            yield taken(frame, some)
            continue
        # Sorted, they are copied once and put into their order a part at a time.
        order = np.argsort(some, kind="stable")
        found, back = taken(frame, some[order]), np.empty(some.size, np.int64)
        back[order] = np.arange(some.size)
        for part in range(0, some.size, ROWS):
            yield found[back[part : part + ROWS]]


def chosen_of(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the values of ascending indices, each of which comes once; of all of them, the values as they are."""
    return values if chosen.size == values.size else values[chosen]


_FRAMES: weakref.WeakValueDictionary[int, pl.DataFrame] = weakref.WeakValueDictionary()


def _own(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as Arrow data of its own: a slice would be written with the texts of the whole."""
    copied = pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(copied, pl.DataFrame)
    return copied.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
