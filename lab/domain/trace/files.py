"""Find a file, recognise its format, and read it into rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.base import NotReadable, nearest
from lab.domain.trace.addresses import is_address, parse
from lab.domain.trace.containers import COMPRESSED, HEAD, ending, lines, named, plain
from lab.domain.trace.databases import Catalogue, Relation, starts_with
from lab.domain.trace.delimited import read_csv
from lab.domain.trace.documents import refuse_document
from lab.domain.trace.duckdb_file import MAGIC as DUCKDB
from lab.domain.trace.duckdb_file import duckdb_catalogue, read_duckdb
from lab.domain.trace.folders import files_of, format_in, read_folder
from lab.domain.trace.jsonlines import read_ndjson
from lab.domain.trace.logs import FORMATS as LOGS
from lab.domain.trace.logs import keyed_lines, read_log, recognise, tables_of, unsupported_table
from lab.domain.trace.operations import FORMAT as OPERATIONS
from lab.domain.trace.operations import as_changes
from lab.domain.trace.raw import Raw
from lab.domain.trace.reading import AS_FOUND, CsvReading
from lab.domain.trace.servers import read_server, server_catalogue
from lab.domain.trace.sqlite_catalogue import MAGIC as SQLITE
from lab.domain.trace.sqlite_catalogue import catalogue
from lab.domain.trace.sqlite_file import read_sqlite
from lab.domain.trace.tables import MAGIC as PARQUET
from lab.domain.trace.tables import read_parquet
from lab.domain.trace.unreadable import refuse_text

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson",
    ".json": "ndjson", ".txt": "csv", ".tab": "csv", ".db": "sqlite", ".sqlite": "sqlite",
    ".sqlite3": "sqlite", ".db3": "sqlite", ".duckdb": "duckdb", ".ddb": "duckdb",
}  # fmt: skip
DATABASES = {"sqlite": read_sqlite, "duckdb": read_duckdb}
CATALOGUES = {"sqlite": catalogue, "duckdb": duckdb_catalogue}
# Formats that are known by their first bytes, whatever a file is called.
MAGIC = {"sqlite": (0, SQLITE), "duckdb": (8, DUCKDB), "parquet": (0, PARQUET)}
READERS = {"parquet": read_parquet, "ndjson": read_ndjson}


def database_of(path: Path) -> str | None:
    """Return the format of a database, by its first bytes or by its name; None for any other file."""
    found = _by_magic(path) or FORMATS.get(path.suffix.lower())
    return found if found in DATABASES else None


def whole_database(file: str, folder: Path) -> Catalogue | None:
    """List the tables of a database, or of a log of several, if none is named; None for any other file."""
    if is_address(file):
        return server_catalogue(file) if parse(file).table is None else None
    path, table = split(file, folder)
    if table is not None or not path.is_file() or not path.stat().st_size:
        return None
    form = database_of(path)
    return CATALOGUES[form](path) if form else _tables_of_log(path)


def _tables_of_log(path: Path) -> Catalogue | None:
    """List the tables of a change log of several; None for any other file."""
    form = _format(path, _by_name(path))
    found = tables_of(_lines(path), form) if form in LOGS else {}
    return Catalogue(tuple(Relation(name, rows) for name, rows in found.items())) if len(found) > 1 else None


def _lines(path: Path) -> Path:
    """Return a file of JSON with a value on each line, or a key and a value: itself, or a copy."""
    unpacked = plain(path)
    return unpacked if keyed_lines(unpacked) else lines(unpacked)


def _by_magic(path: Path) -> str | None:
    return next((form for form, (at, magic) in MAGIC.items() if starts_with(path, at, magic)), None)


def split(file: str, folder: Path) -> tuple[Path, str | None]:
    """Split `shop.db:orders` into path and table. Relative paths start at the folder."""
    path = folder / file
    left, colon, table = file.rpartition(":")
    if colon and not path.exists() and (database_of(folder / left) or FORMATS.get(ending(Path(left))) == "ndjson"):
        return folder / left, table
    return path, None


def find(file: str, folder: Path) -> tuple[Path, str | None]:
    """Split as `split` does. Raises NotReadable if the file doesn't exist or is empty."""
    path, table = split(file, folder)
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = [name for name in beside if ending(Path(name)) in FORMATS]
        raise NotReadable(file, "no such file", nearest(path.name, near) if near else "")
    if not path.is_dir() and not path.stat().st_size:
        raise NotReadable(file, "an empty file", "a file with at least one row is needed")
    return path, table


def format_of(file: str, folder: Path, told: str | None = None) -> str:
    """Return the format: as declared, or by the file's ending; JSON lines are examined for a change log."""
    if is_address(file):
        return parse(file).kind
    path, _ = find(file, folder)
    if told:
        return told
    if path.is_dir():
        files = files_of(path)
        found = format_in(path, files, _by_name)
        return _format(files[0], found)
    return _format(path, _by_name(path))


def _by_name(path: Path) -> str | None:
    """Return the format by the first bytes or the ending; of text without one, JSON is recognised."""
    found = _by_magic(path) or FORMATS.get(ending(path))
    if found == "csv" and ending(path) != ".txt":
        return found
    return "ndjson" if found in (None, "csv") and _looks_like_json(path, found is None) else found


def _looks_like_json(path: Path, bare: bool) -> bool:
    """Return whether a text begins as JSON does; `bare`: its name says nothing, unless it is compressed."""
    if bare and (ending(path) or path.suffix.lower() not in COMPRESSED):
        return False
    with plain(path).open("rb") as file:
        head = file.read(HEAD).decode("utf-8-sig", errors="replace").lstrip()
    # A message of a topic may also stand behind its key and a tab.
    return head.startswith(('{"', "[{", "{ ", "{\n", "[\n")) or ("\t{" in head and keyed_lines(plain(path)))


def _format(path: Path, found: str | None) -> str:
    if found is None:
        # An archive, or another known format, is called by its name.
        refuse_text(plain(path))
        ends = ending(path)
        what = f"`{ends}` is" if ends else "no ending is"
        raise NotReadable(str(path), f"{what} none of the endings that the lab reads", f"valid: {', '.join(FORMATS)}")
    if found in ("csv", "ndjson"):
        unpacked = plain(path)
        with named(path, unpacked):
            refuse_text(unpacked, found == "csv")
    if found != "ndjson":
        return found
    copy = _lines(path)
    with named(path, copy, plain(path)):
        return recognise(copy) or found


def read(file: str, folder: Path, told: str | None = None, how: CsvReading = AS_FOUND, key: Sequence[str] = ()) -> Raw:
    """Read all rows of a file, as `how` says. Raises NotReadable if it can't be read or has no row.

    `key` has the key's columns, if they are known; a change log tells by them which updates give a record another key.
    """
    if is_address(file):
        return _with_rows(read_server(file), file)
    path, table = find(file, folder)
    form = format_of(file, folder, told)
    of_rows = form == OPERATIONS and (table_of_changes := format_of(file, folder)) in ("csv", "parquet")
    form = table_of_changes if of_rows else form
    how.confirm(form, file)
    try:
        if path.is_dir():
            raw = read_folder(path, files_of(path), lambda one: _read(one, None, form, how, key))
        else:
            raw = _read(path, table, form, how, key)
    except OSError as error:
        raise NotReadable(file, error.strerror or str(error)) from None
    raw = _with_every_name(_with_rows(raw, file))
    if told is None and not raw.is_log and (known := unsupported_table(raw.kinds)):
        raise NotReadable(file, f"{known[0]}, which the lab doesn't read", known[1])
    return as_changes(raw, file) if of_rows else raw


def _with_every_name(raw: Raw) -> Raw:
    """Give a name to the column whose name is empty, as a key of JSON or a column of a database may be."""
    if "" not in raw.kinds:
        return raw
    names, number = list(raw.kinds), list(raw.kinds).index("") + 1
    name = next(one for one in (f"column_{n}" for n in range(number, number + len(names) + 1)) if one not in names)
    each = {old: old or name for old in names}
    return replace(
        raw, frame=raw.frame.rename({"": name}), kinds={each[old]: kind for old, kind in raw.kinds.items()},
        keys=tuple(each[old] for old in raw.keys), nameless=(*raw.nameless, name),
        notes=(*raw.notes, f"Column {number} has no name: it is called `{name}` here."),
    )  # fmt: skip


def _with_rows(raw: Raw, file: str) -> Raw:
    if not raw.frame.height and not raw.bad_count:
        raise NotReadable(file, "no rows", "a file with at least one row is needed")
    return raw


def _read(path: Path, table: str | None, form: str, how: CsvReading, key: Sequence[str]) -> Raw:
    if form in DATABASES:
        return DATABASES[form](path, table)
    unpacked = plain(path)
    copy = unpacked if form in ("csv", "parquet") else _lines(path)
    with named(path, copy, unpacked):
        if form in LOGS:
            raw = read_log(copy, form, table, key)
        else:
            raw = read_csv(copy, how) if form == "csv" else READERS[form](copy)
        if form == "ndjson" and raw.frame.height == 1 and not raw.bad_count:
            refuse_document(copy)
    if copy == unpacked:
        return raw
    # Each element of an array is a line of the copy.
    return replace(raw, unit="element", bad=tuple(replace(one, unit="element") for one in raw.bad))


def digest(file: str, folder: Path, told: str | None = None) -> str:
    """The SHA-256 of a file's bytes; of a database the one of its table's rows, since its file changes without them."""
    summed = hashlib.sha256()
    if not is_address(file):
        path, _ = find(file, folder)
        if path.is_dir():
            for one in files_of(path):
                summed.update(f"{one.relative_to(path).as_posix()} {_of_bytes(one)}\n".encode())
            return summed.hexdigest()
        if format_of(file, folder, told) not in DATABASES:
            return _of_bytes(path)
    frame = read(file, folder, told).frame
    summed.update(repr(frame.columns).encode())
    for row in frame.iter_rows():
        summed.update(repr(row).encode())
    return summed.hexdigest()


def _of_bytes(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
