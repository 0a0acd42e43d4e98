"""Find a file, recognise its format, and read it into rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lab.base import NotReadable, nearest
from lab.domain.trace.jsonlines import read_ndjson
from lab.domain.trace.logs import FORMATS as LOGS
from lab.domain.trace.logs import read_log, recognise
from lab.domain.trace.raw import Raw
from lab.domain.trace.sqlite_file import read_sqlite
from lab.domain.trace.tables import read_csv, read_parquet

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson",
    ".json": "ndjson", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip
READERS = {"parquet": read_parquet, "csv": read_csv, "ndjson": read_ndjson}


def split(file: str, folder: Path) -> tuple[Path, str | None]:
    """Split `shop.db:orders` into path and table. Relative paths start at the folder."""
    path = folder / file
    left, colon, table = file.rpartition(":")
    if colon and not path.exists() and FORMATS.get(Path(left).suffix.lower()) in ("sqlite", "ndjson"):
        return folder / left, table
    return path, None


def find(file: str, folder: Path) -> tuple[Path, str | None]:
    """Split as `split` does. Raises NotReadable if the file doesn't exist or is empty."""
    path, table = split(file, folder)
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = [name for name in beside if Path(name).suffix.lower() in FORMATS]
        raise NotReadable(file, "no such file", nearest(path.name, near) if near else "")
    if path.is_dir():
        raise NotReadable(file, "a folder, not a file", "name one file in it")
    if not path.stat().st_size:
        raise NotReadable(file, "an empty file", "a file with at least one row is needed")
    return path, table


def format_of(file: str, folder: Path, told: str | None = None) -> str:
    """Return the format: as declared, or by the file's ending; JSON lines are examined for a change log."""
    path, _ = find(file, folder)
    if told:
        return told
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        ending = f"`{path.suffix}` is" if path.suffix else "no ending is"
        raise NotReadable(file, f"{ending} none of the endings that the lab reads", f"valid: {', '.join(FORMATS)}")
    return (recognise(path) or found) if found == "ndjson" else found


def read(file: str, folder: Path, told: str | None = None, key: Sequence[str] = ()) -> Raw:
    """Read all rows of a file. Raises NotReadable if it can't be read or has no row.

    `key` has the key's columns, if they are known; a change log tells by them which updates give a record another key.
    """
    path, table = find(file, folder)
    form = format_of(file, folder, told)
    try:
        if form in LOGS:
            raw = read_log(path, form, table, key)
        else:
            raw = read_sqlite(path, table) if form == "sqlite" else READERS[form](path)
    except OSError as error:
        raise NotReadable(file, error.strerror or str(error)) from None
    if not raw.frame.height and not raw.bad_count:
        raise NotReadable(file, "no rows", "a file with at least one row is needed")
    return raw


def digest(file: str, folder: Path, told: str | None = None) -> str:
    """The SHA-256 of a file's bytes; of a database the one of its table's rows, since its file changes without them."""
    path, _ = find(file, folder)
    if format_of(file, folder, told) != "sqlite":
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    summed, frame = hashlib.sha256(), read(file, folder, told).frame
    summed.update(repr(frame.columns).encode())
    for row in frame.iter_rows():
        summed.update(repr(row).encode())
    return summed.hexdigest()
