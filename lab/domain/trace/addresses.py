"""The addresses of servers, and what a session with one can do.

A password never stands in a scenario: the drivers find it where their own tools do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from lab.base import NotReadable
from lab.domain.trace.databases import Catalogue, Relation

KINDS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
PAGE = 50_000  # Rows that are converted together.


@dataclass(frozen=True)
class ServerAddress:
    """Where a database is, and which of its tables is meant (None: all)."""

    kind: str
    host: str
    port: int | None
    user: str | None
    database: str
    table: str | None


def is_address(file: str) -> bool:
    """Return whether this is the address of a server rather than a path."""
    return file.partition("://")[0].lower() in KINDS and "://" in file


def parse(file: str) -> ServerAddress:
    """Take an address apart. Raises NotReadable for one without a database, and for one with a password."""
    whole, _, _ = file.partition("?")
    found = urlsplit(whole)
    kind = KINDS[found.scheme.lower()]
    if found.password is not None:
        where = "PGPASSWORD or ~/.pgpass" if kind == "postgresql" else "MYSQL_PWD or ~/.my.cnf"
        what = "a password would stand in the scenario and in each of its runs"
        raise NotReadable(f"{found.scheme}://{found.hostname}", what, f"leave it to {where}")
    database, _, table = unquote(found.path.lstrip("/")).partition(":")
    try:
        port = found.port
    except ValueError:
        raise NotReadable(file, "the port is not a number", "") from None
    if not database:
        raise NotReadable(file, "no database is named", f"for example {found.scheme}://localhost/shop:orders")
    user = unquote(found.username) if found.username else None
    return ServerAddress(kind, found.hostname or "localhost", port, user, database, table or None)


@dataclass(frozen=True)
class ServerColumn:
    """A column as it is asked for: its expression in SQL, what arrives, and what the server calls its type.

    `arrives` is `int`, `float`, `bool`, `decimal`, `hex` or `text`.
    """

    name: str
    sql: str
    arrives: str
    type: str


class ServerSession(Protocol):
    """An open connection in a transaction that only reads."""

    def catalogue(self, count: bool = True) -> Catalogue:
        """List the tables that this user may read; without `count` no rows are counted."""

    def columns(self, relation: Relation) -> list[ServerColumn]:
        """Return the columns of a table."""

    def rows(self, relation: Relation, columns: Sequence[ServerColumn]) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield all rows in pages, in the order of the key if there is one."""


def identifier(name: str, mark: str = '"') -> str:
    """Return a name in SQL, between these marks; what stands before a point is its schema."""
    return ".".join(mark + part.replace(mark, mark * 2) + mark for part in re.split(r"\.", name, maxsplit=1))
