"""What the lab made on a PostgreSQL server, written down there before it is made; and what of it is nobody's any more.

Each process of the lab, with those that it starts, is one owner: a number, and a session that holds an advisory lock on
it for as long as the process lives. A lock that is free is that of a dead owner, however it died. What only its run
needed is dropped by the next run, or by `lab servers --clean`. What belongs to a folder that is kept, as a service's
are, is dropped once the folder is gone or names something else. Nothing is dropped that is not written down here.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from lab.base import LabError
from lab.engines import postgres as engine
from lab.engines.postgres import Connection, Session
from lab.place import read_file

SCHEMA = "lab_ledger"
# The first of the two numbers of the advisory locks: of owners, and of the ledger while it is made.
OWNERS, MAKING = 0x6C61_6201, 0x6C61_6202
# Tells the processes that this one starts whose work they do.
VARIABLE = "LAB_POSTGRES_OWNER"
# Beside the data of a place: the name of what holds them on the server.
NAMED = ".lab-on-server"
# How each kind of thing is dropped. A slot holds back the server's log, so it goes first.
_DROPS = {
    "slot": "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ? AND NOT active",
    "publication": "DROP PUBLICATION IF EXISTS {}",
    "schema": "DROP SCHEMA IF EXISTS {} CASCADE",
    "database": "DROP DATABASE IF EXISTS {}",
}
KINDS = tuple(_DROPS)


@dataclass
class _Owner:
    """This process: its number, and the session that holds the lock on it; none where another process holds it."""

    number: int
    process: int
    session: Connection | None = None


_owner: _Owner | None = None


def owner(connect: Callable[[], Connection]) -> int:
    """Return the number of the owner that this process works for; its first call takes the lock. Raises Unavailable."""
    global _owner
    if _owner is not None and _owner.process == os.getpid():
        if _owner.session is None or _still(_owner.session):
            return _owner.number
    elif inherited := os.environ.get(VARIABLE, ""):
        _owner = _Owner(int(inherited), os.getpid())
        return _owner.number
    number = _owner.number if _owner is not None and _owner.process == os.getpid() else secrets.randbelow(2**31)
    session = connect()
    with engine.mapped("the lab's lock on the server"):
        Session(session).execute("SELECT pg_advisory_lock(?::integer, ?::integer)", (_signed(OWNERS), number))
    if _owner is None:
        atexit.register(leave, connect)
    _owner = _Owner(number, os.getpid(), session)
    os.environ[VARIABLE] = str(number)
    return number


def leave(connect: Callable[[], Connection]) -> None:
    """Drop what this process made and what isn't kept, then give the lock up. Of a server that is away, nothing."""
    global _owner
    if _owner is not None and _owner.process == os.getpid() and _owner.session is not None:
        with suppress(LabError, psycopg.Error):
            connection = connect()
            try:
                forget(connection)
            finally:
                connection.close()
        _owner.session.close()
        os.environ.pop(VARIABLE, None)
        _owner = None


def _still(session: Connection) -> bool:
    """Return whether the session with the lock is there: after a restart of the server it isn't."""
    if session.closed:
        return False
    try:
        session.execute("SELECT 1")
    except Exception:
        session.close()
        return False
    return True


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def prepare(session: Session) -> None:
    """Make the ledger where there is none."""
    if session.execute("SELECT to_regclass(?)", (f"{SCHEMA}.things",)).fetchone()[0] is not None:
        return
    session.execute("BEGIN")
    try:
        session.execute("SELECT pg_advisory_xact_lock(?::integer, 0)", (_signed(MAKING),))
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.things (kind text NOT NULL, name text NOT NULL, "
            "owner bigint NOT NULL, host text NOT NULL, folder text NOT NULL, kept boolean NOT NULL, "
            "made_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (kind, name))"
        )
    except BaseException:
        session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")


def note(session: Session, kind: str, name: str, owned_by: int, folder: Path, kept: bool = False) -> None:
    """Write down what is about to be made, in a transaction of its own.

    `kind` is one of `KINDS`, `folder` the one that it belongs to. If `kept`, it outlives this process: it is there as
    long as the file `NAMED` in the folder has its name.
    """
    assert kind in _DROPS
    prepare(session)
    session.execute(
        f"INSERT INTO {SCHEMA}.things (kind, name, owner, host, folder, kept) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (kind, name) DO UPDATE SET owner = excluded.owner, host = excluded.host, "
        "folder = excluded.folder, kept = excluded.kept",
        (kind, name, owned_by, socket.gethostname(), str(folder.absolute()), kept),
    )


def drop(session: Session, kind: str, name: str) -> None:
    """Drop one thing, then strike its line out. Dropping it twice is allowed."""
    statement = _DROPS[kind]
    if "{}" in statement:
        session.execute(statement.format(_quoted(name)))
    else:
        session.execute(statement, (name,))
    if session.execute("SELECT to_regclass(?)", (f"{SCHEMA}.things",)).fetchone()[0] is not None:
        session.execute(f"DELETE FROM {SCHEMA}.things WHERE kind = ? AND name = ?", (kind, name))


def move(session: Session, name: str, folder: Path) -> None:
    """Write down that a schema belongs to another folder now."""
    session.execute(
        f"UPDATE {SCHEMA}.things SET folder = ? WHERE kind = 'schema' AND name = ?",
        (str(folder.absolute()), name),
    )


def lines(session: Session) -> list[dict[str, Any]]:
    """Everything that is written down, the oldest first."""
    if session.execute("SELECT to_regclass(?)", (f"{SCHEMA}.things",)).fetchone()[0] is None:
        return []
    names = ("kind", "name", "owner", "host", "folder", "kept")
    found = session.execute(f"SELECT {', '.join(names)} FROM {SCHEMA}.things ORDER BY made_at, name").fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def sweep(connection: Connection) -> list[str]:
    """Drop what belongs to dead owners; returns the names. What a living owner has, or a kept folder, stays."""
    session, dropped = Session(connection), list[str]()
    written = sorted(lines(session), key=lambda line: KINDS.index(line["kind"]))
    for number in dict.fromkeys(line["owner"] for line in written):
        arguments = (_signed(OWNERS), number)
        (free,) = session.execute("SELECT pg_try_advisory_lock(?::integer, ?::integer)", arguments).fetchone()
        if not free:
            continue
        try:
            for line in written:
                if line["owner"] == number and not (
                    line["kept"] and _named(line["name"], line["folder"], line["host"])
                ):
                    # What is another role's, or locked, keeps nothing else from being dropped.
                    with suppress(LabError, psycopg.Error):
                        drop(session, line["kind"], line["name"])
                        dropped.append(line["name"])
        finally:
            session.execute("SELECT pg_advisory_unlock(?::integer, ?::integer)", arguments)
    return dropped


def _named(name: str, folder: str, host: str) -> bool:
    """Return whether its folder still names it; of one on another machine that can't be told, so it stays."""
    if host != socket.gethostname():
        return True
    try:
        found = read_file(Path(folder) / NAMED)
    except OSError:
        return True
    return found is not None and found.strip() == name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def forget(connection: Connection, folder: Path | None = None) -> list[str]:
    """Drop what this process made and what isn't kept; only what belongs to folders below one, if one is given."""
    if _owner is None:
        return []
    session, dropped = Session(connection), list[str]()
    for line in sorted(lines(session), key=lambda line: KINDS.index(line["kind"])):
        below = folder is None or Path(line["folder"]).is_relative_to(folder.absolute())
        kept = line["kept"] and _named(line["name"], line["folder"], line["host"])
        if line["owner"] == _owner.number and not kept and below:
            drop(session, line["kind"], line["name"])
            dropped.append(line["name"])
    return dropped
