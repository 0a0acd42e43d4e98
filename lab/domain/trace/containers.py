"""What a text can be wrapped in: gzip or zstd, and JSON that is one array or is printed over several lines.

Readers see a plain file beside it, with a JSON object on each line. It is made once, and is gone when the process ends.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from lab.base import NotReadable
from lab.domain.trace.databases import starts_with

COMPRESSED = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
UNPACK = "unpack it, and name a file in it"
# What files are by their first bytes, and the way out. An Excel workbook is a zip archive.
OTHERS = {
    b"PK\x03\x04": ("a zip archive, or an Excel workbook", f"{UNPACK}; save a sheet as CSV"),
    b"BZh": ("compressed by bzip2", "unpack it; the lab reads gzip and zstd"),
    b"\xfd7zXZ\x00": ("compressed by xz", "unpack it; the lab reads gzip and zstd"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"\x04\x22\x4d\x18": ("compressed by lz4", "unpack it; the lab reads gzip and zstd"),
    b"Obj\x01": ("an Avro file", "write it as Parquet or as JSON lines"),
    b"ORC": ("an ORC file", "write it as Parquet"),
    b"ARROW1": ("an Arrow file (Feather)", "write it as Parquet"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook of the old format", "save a sheet as CSV"),
}
BLOCK = 1 << 22  # Bytes that are unpacked together.
HEAD = 1 << 16  # Bytes that are looked at.
OBJECT_MAX = 1 << 27  # Bytes of one element of an array.
TOLD_MAX = 1 << 28  # A larger file is not read again to say where it is broken.
KEPT = 128  # Plain files that are kept at once.


def ending(path: Path) -> str:
    """Return the ending that says the format: of `orders.csv.gz` it is `.csv`."""
    name = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return name.suffix.lower()


def compression(path: Path) -> str | None:
    """Return how a file is compressed, by its first bytes. Raises NotReadable for what can't be unpacked."""
    for magic, (what, way_out) in OTHERS.items():
        if starts_with(path, 0, magic):
            raise NotReadable(str(path), what, way_out)
    if starts_with(path, 257, b"ustar"):
        raise NotReadable(str(path), "a tar archive", UNPACK)
    found = next((kind for magic, kind in MAGIC.items() if starts_with(path, 0, magic)), None)
    named = COMPRESSED.get(path.suffix.lower())
    if named and found is None:
        raise NotReadable(str(path), f"not {named}, though its name ends in {path.suffix}", "rename it")
    return found


def plain(path: Path) -> Path:
    """Return the file itself, or an unpacked copy. Raises NotReadable if it can't be unpacked."""
    if compression(path) is None:
        return path
    stat = path.stat()
    made = _unpacked(path, stat.st_size, stat.st_mtime_ns)[1]
    compression(made)
    return made


def lines(path: Path) -> Path:
    """Return a plain file of JSON as one with an object on each line: itself, or a copy. Raises NotReadable."""
    form = json_form(path)
    if form == "newline_delimited":
        return path
    stat = path.stat()
    made = _as_lines(path, form, stat.st_size, stat.st_mtime_ns)
    return made[1] if made else path


def json_form(path: Path) -> str:
    """Return whether JSON is an `array`, printed over several lines (`unstructured`), or `newline_delimited`."""
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8-sig", errors="replace").lstrip()
    if head.startswith("["):
        return "array"
    first = head.partition("\n")[0].strip()
    if not head.startswith("{"):
        return "newline_delimited"
    try:
        _, end = json.JSONDecoder().raw_decode(first)
    except ValueError:
        # A line that is longer than the head is a line.
        return "newline_delimited" if first == head else "unstructured"
    # Objects may also stand one after the other, without anything between.
    return "unstructured" if first[end:].lstrip().startswith("{") else "newline_delimited"


@contextmanager
def named(path: Path, *copies: Path) -> Iterator[None]:
    """Let errors about copies of a file speak of the file itself."""
    try:
        yield
    except NotReadable as error:
        raise _renamed(error, path, copies) from None


def _renamed(error: NotReadable, path: Path, copies: tuple[Path, ...]) -> NotReadable:
    where, what = error.problems[0].where, error.problems[0].what
    for copy in copies:
        where, what = where.replace(str(copy), str(path)), what.replace(str(copy), str(path))
    return NotReadable(where, what, error.problems[0].way_out)


def _place(path: Path) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Return a new folder, which goes when it is forgotten, and the path of a file in it."""
    folder = tempfile.TemporaryDirectory(prefix="lab-")
    name = path.stem if path.suffix.lower() in COMPRESSED else path.name
    return folder, Path(folder.name) / name


@lru_cache(KEPT)
def _unpacked(path: Path, size: int, modified: int) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    kind = compression(path)
    folder, made = _place(path)
    try:
        with pa.input_stream(str(path), compression=kind) as packed, made.open("wb") as file:
            while block := packed.read(BLOCK):
                file.write(block)
    except (OSError, pa.ArrowException) as error:
        folder.cleanup()
        raise NotReadable(str(path), f"damaged {kind}: {str(error).splitlines()[0]}") from None
    return folder, made


@lru_cache(KEPT)
def _as_lines(path: Path, form: str, size: int, modified: int) -> tuple[tempfile.TemporaryDirectory[str], Path] | None:
    """Write each element on a line. None for broken lines that are no array: each of them is told by their reader."""
    folder, made = _place(path)
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
    try:
        with duckdb.connect(config=config | {"memory_limit": "2GB"}) as connection, made.open("wb") as file:
            found = connection.sql(
                "SELECT json FROM read_json_objects($path, format = $form, maximum_object_size = $size)",
                params={"path": str(path), "form": form, "size": min(OBJECT_MAX, max(BLOCK, 2 * size))},
            )
            for batch in found.to_arrow_reader(10_000):
                values = pl.Series(batch.column(0)).cast(pl.String)
                # Between the tokens of JSON a line ends where a space may stand, and within them nowhere.
                each = values.str.replace_all(r"[\r\n]", " ") + "\n"
                file.write("".join(each.to_list()).encode())
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        folder.cleanup()
        if form != "array":
            return None
        raise NotReadable(str(path), _broken(path, size, str(error).splitlines()[0])) from None
    return folder, made


def _broken(path: Path, size: int, otherwise: str) -> str:
    """Say where a JSON array is broken."""
    try:
        if size <= TOLD_MAX:
            json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        return f"no JSON array: line {error.lineno}, column {error.colno}: {error.msg}"
    except ValueError as error:
        return f"no JSON array in UTF-8: {error}"
    return f"no JSON array: {otherwise}"
