"""List what an SQLite database holds: its tables with their declared keys and links.

What one table or view has wrong with it (a missing module, a column of a view that is gone) is told of that one alone.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc

from lab.base import NotReadable
from lab.domain.trace.databases import COUNT, Catalogue, ForeignKey, Relation, quoted, usable

MAGIC = b"SQLite format 3\0"
WAIT = 10.0  # Seconds, for another program that holds a lock.
# Tables in which modules keep what their virtual tables show; SQLite knows them only if it has the module.
SHADOWS = (
    r"content|segments|segdir|docsize|stat|data|idx|config|node|rowid|parent|rowids|chunks|info|auxiliary|"
    r"(vector_chunks|metadatachunks|metadatatext|metadata)\d*"
)
# Modules whose tables only show what stands elsewhere.
DERIVED = ("fts5vocab", "fts4aux", "fts3tokenize", "dbstat")


@contextmanager
def opened(path: Path) -> Iterator[tuple[sqlite3.Connection, str]]:
    """Open a database for reading; yield the connection and its address. Raises NotReadable for SQLite's errors."""
    try:
        address = _address(path)
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT)) as connection:
            yield connection, address
    except (sqlite3.Error, adbc.Error) as error:
        what = str(error).splitlines()[0]
        kind = "not an SQLite database, or an encrypted one" if "not a database" in what else "SQLite can't read it"
        raise NotReadable(str(path), f"{kind}: {what}") from None


def _address(path: Path) -> str:
    """Return the address by which the database can be read, in a folder without the right to write too."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    logs = [path.with_name(f"{path.name}-{end}") for end in ("wal", "journal")]
    if any(log.exists() and log.stat().st_size for log in logs):
        return address
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        # A database whose log is empty still wants a file beside it, unless it is told that it won't change.
        return f"{path.absolute().as_uri()}?immutable=1"
    return address


def catalogue(path: Path) -> Catalogue:
    """List the tables and views of a database."""
    with opened(path) as (connection, _):
        return listed(connection)


def listed(connection: sqlite3.Connection, count: bool = True) -> Catalogue:
    """List the tables and views of an open database; without `count` no rows are counted."""
    every = connection.execute(
        "SELECT name, type, coalesce(sql, '') FROM sqlite_master WHERE type IN ('table', 'view') "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
    ).fetchall()
    virtual = {name: module for name, _, sql in every if (module := _module(sql))}
    shadows = {row[1] for row in connection.execute("PRAGMA table_list") if row[2] == "shadow"}
    # The tables of a module that is missing are known by their names alone.
    missing = [name for name in virtual if not _can_be_read(connection, name)]
    shadows |= {name for name, _, _ in every if any(_shadow(name, one) for one in missing)}
    passed, found, links = dict[str, str](), list[Relation](), dict[str, list[ForeignKey]]()
    primary: dict[str, tuple[str, ...]] = {}
    for name, kind, sql in every:
        if name in shadows:
            continue
        if why := _shows(virtual.get(name, ""), sql):
            passed[name] = why
            continue
        try:
            rows = connection.execute(COUNT[count].format(quoted(name))).fetchone() or (0,)
            primary[name] = _key(connection, name)
            links[name] = _links(connection, name)
        except sqlite3.Error as error:
            passed[name] = str(error)
            continue
        found.append(Relation(name, int(rows[0]), "view" if kind == "view" else "table"))
    by_name = {name.lower(): key for name, key in primary.items()}

    def columns(name: str) -> list[str]:
        return list(columns_of(connection, name))

    complete = []
    for one in found:
        told = [
            ForeignKey(link.columns, link.table, link.refers or by_name.get(link.table.lower(), ()))
            for link in links[one.name]
        ]
        linked = tuple(usable(told, [other.name for other in found], columns))
        complete.append(Relation(one.name, one.rows, one.kind, primary[one.name], linked))
    return Catalogue(tuple(complete), passed)


def _can_be_read(connection: sqlite3.Connection, table: str) -> bool:
    try:
        connection.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1").fetchone()
    except sqlite3.Error:
        return False
    return True


def _module(sql: str) -> str:
    found = re.match(r"\s*CREATE\s+VIRTUAL\s+TABLE\b.*?\bUSING\s+[\"'`\[]?(\w+)", sql, re.IGNORECASE | re.DOTALL)
    return found[1].lower() if found else ""


def _shadow(name: str, virtual: str) -> bool:
    return re.fullmatch(f"{re.escape(virtual)}_({SHADOWS})", name, re.IGNORECASE) is not None


def _shows(module: str, sql: str) -> str:
    """Return why a virtual table is no table of its own: its rows stand in another one."""
    if module in DERIVED:
        return f"`{module}` shows what stands in other tables"
    content = (
        re.search(r"\bcontent\s*=\s*(['\"`\[]?)([^'\"`\],)]*)", sql, re.IGNORECASE) if module[:3] == "fts" else None
    )
    if content is None:
        return ""
    return (
        f"an index of words on `{content[2].strip()}`" if content[2].strip() else "an index of words without its texts"
    )


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns with their declared types, generated ones included; hidden ones of a virtual table are not."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})")
    return {row[1]: row[2].upper() for row in rows if row[6] != 1}


def _key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """Return the primary key; without one, the first declared unique columns that are never null."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    if key := tuple(row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5])):
        return key
    whole = {row[1] for row in rows if row[3]}
    found = []
    for _, index, unique, _, partial in connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        names = [row[2] for row in connection.execute(f"PRAGMA index_info({quoted(index)})")]
        if unique and not partial and whole.issuperset(names):
            found.append(tuple(names))
    return min(found, key=len, default=())


def _links(connection: sqlite3.Connection, table: str) -> list[ForeignKey]:
    """Return the foreign keys; one that names no columns of the other table has `refers` empty."""
    found: dict[int, list[Any]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})"):
        found.setdefault(row[0], []).append(row)
    own = {name.lower(): name for name in columns_of(connection, table)}
    links = []
    for _, rows in sorted(found.items(), reverse=True):
        rows.sort(key=lambda row: row[1])
        refers = tuple(row[4] for row in rows if row[4] is not None)
        links.append(ForeignKey(tuple(own.get(row[3].lower(), row[3]) for row in rows), rows[0][2], refers))
    return links
