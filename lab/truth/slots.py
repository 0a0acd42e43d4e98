"""Replication slots of a source of truth in PostgreSQL: one for each projection that is fed by the log.

A slot keeps the server's log from the place on that its reader has acknowledged. If the reader stalls, the log grows;
`max_slot_wal_keep_size` bounds it, at the price of the slot: then it is lost, and the projection is built anew. Slot
and publication are written into the ledger before they are made, and go with the run.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from lab.base import Entity, Unavailable
from lab.engines.postgres import Connection, Session
from lab.engines.replication import LogDecoder, ReplicationStream
from lab.engines.wal2json_decoder import EXACT
from lab.queries.sql import quoted
from lab.servers.postgres import LEDGER, SERVER
from lab.truth.outlets import WAL2JSON
from lab.truth.timeline import Diverged

# Seconds in which a slot must be made: the server waits for the end of every transaction that is writing.
MAKES_SECONDS = 10.0
LOG_LEVEL = "logical"
# The setting that names the plugins which the server trusts, in versions since the middle of 2026.
PLUGINS = "output_plugin_libraries"


class SlotLost(Diverged):
    """A slot of which the server has removed the log that its reader had not acknowledged."""


class SlotState(NamedTuple):
    """What a slot holds back: bytes of the log, its state in the server's words, and what is left until it is lost.

    `safe_bytes` is None where nothing bounds it.
    """

    name: str
    active: bool
    retained_bytes: int
    status: str
    safe_bytes: int | None


def slot_name(schema: str, reader: str) -> str:
    """The name of a reader's slot, and of its publication: the same from start to start."""
    digest = hashlib.blake2b(f"{schema}/{reader}".encode(), digest_size=6).hexdigest()
    plain = re.sub("[^a-z0-9]+", "_", reader.lower()).strip("_")[:40]
    return f"lab_{plain}_{digest}"


def refusal() -> tuple[str, str] | None:
    """Why the server's log can't be read as changes, and the way out; None if it can. Raises Unavailable."""
    with LEDGER.session() as session:
        level, role = session.execute(
            "SELECT current_setting('wal_level'), (SELECT rolreplication OR rolsuper FROM pg_roles "
            "WHERE rolname = current_user)"
        ).fetchone()
    if level != LOG_LEVEL:
        way_out = "set it to logical and restart the server, start one with `lab servers start postgres`, or"
        return f"wal_level is {level}: the server's log can't be read as changes", f'{way_out} feed = "poll"'
    if not role:
        return "the role may not replicate", 'ALTER ROLE ... REPLICATION, or feed = "poll"'
    return None


def needs_exact(entities: Iterable[Entity]) -> bool:
    """Whether entities have floats of their own, which may not be finite."""
    return any(kind == "float" for entity in entities for kind in entity.columns.values())


def no_plugin(exact: bool) -> tuple[str, str] | None:
    """Why the server's log can't be decoded by wal2json, and the way out; None if it can. Raises Unavailable.

    `exact`: numbers that aren't finite must be told from null.
    """
    with LEDGER.session() as session:
        (version,) = session.execute("SELECT current_setting('server_version_num')::integer / 10000").fetchone()
        session.execute("SET statement_timeout = 2000")
        try:
            # Made for this session alone. The plugin is looked for before transactions that write are waited for.
            name = f"lab_tries_{secrets.token_hex(6)}"
            session.execute("SELECT pg_create_logical_replication_slot(?, ?, true)", (name, WAL2JSON))
            if exact:
                ((option, value),) = EXACT.items()
                session.execute("SELECT pg_logical_slot_peek_changes(?, NULL, 1, ?, ?)", (name, option, value))
        except psycopg.errors.UndefinedFile:
            way_out = f'apt-get install postgresql-{version}-wal2json there, or decoder = "pgoutput"'
            return "the server doesn't have the plugin wal2json", way_out
        except psycopg.errors.InsufficientPrivilege as error:
            if PLUGINS not in (error.diag.message_hint or ""):
                raise
            (trusted,) = session.execute(f"SELECT current_setting('{PLUGINS}')").fetchone()
            way_out = (
                f"ALTER SYSTEM SET {PLUGINS} = {trusted}, wal2json; SELECT pg_reload_conf() "
                f'(and apt-get install postgresql-{version}-wal2json there, if need be), or decoder = "pgoutput"'
            )
            return "the server doesn't trust the plugin wal2json", way_out
        except psycopg.errors.InvalidParameterValue:
            what = "wal2json before 2.6 writes floats that aren't finite as null, and this source of truth has floats"
            return what, f'a newer postgresql-{version}-wal2json, or decoder = "pgoutput"'
        except psycopg.errors.QueryCanceled:
            return None
    return None


def ensure(schema: str, reader: str, tables: Iterable[str], folder: Path, decoder: str) -> str:
    """Return the name of the reader's slot for this plugin, which is made if there is none.

    Raises SlotLost for one that is lost, which is dropped, and Unavailable with the transactions that are waited for.
    """
    name = slot_name(schema, reader)
    with LEDGER.session() as session:
        asked = "SELECT wal_status, plugin FROM pg_replication_slots WHERE slot_name = ?"
        found = session.execute(asked, (name,)).fetchone()
        if found is not None and found[0] != "lost" and found[1] == decoder:
            return name
        if found is not None and found[1] != decoder:
            # What it has not sent yet is in the tables, which are read first.
            LEDGER.drop(session, "slot", name)
        elif found is not None:
            (limit,) = session.execute("SELECT current_setting('max_slot_wal_keep_size')").fetchone()
            LEDGER.drop(session, "slot", name)
            raise SlotLost(f"its slot {name} is lost: more of the log was waiting than max_slot_wal_keep_size, {limit}")
        owner = LEDGER.owner()
        for kind in ("publication", "slot"):
            LEDGER.note(session, kind, name, owner, folder)
        listed = ", ".join(f"{schema}.{quoted(table)}" for table in tables)
        session.execute(f"DROP PUBLICATION IF EXISTS {name}")
        session.execute(f"CREATE PUBLICATION {name} FOR TABLE {listed}")
        session.execute(f"SET statement_timeout = {int(MAKES_SECONDS * 1_000)}")
        try:
            session.execute("SELECT pg_create_logical_replication_slot(?, ?)", (name, decoder))
        except psycopg.errors.QueryCanceled:
            waits = "; ".join(_writing(session)) or "a transaction that has ended since"
            raise Unavailable(f"slot {name} can't be made while a transaction writes: {waits}") from None
    return name


def _writing(session: Session) -> list[str]:
    rows = session.execute(
        "SELECT COALESCE(application_name, ''), pid, COALESCE(datname, ''), "
        "extract(epoch FROM clock_timestamp() - xact_start)::float8 FROM pg_stat_activity "
        "WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start"
    ).fetchall()
    return [f"{name or 'unnamed'} (pid {pid}, database {base}) for {age:,.0f} s" for name, pid, base, age in rows]


def streamed(name: str, decoder: LogDecoder) -> ReplicationStream:
    """Open a slot's stream. Raises Unavailable, also while another process reads it."""
    connection: Connection = SERVER.connect(replication="database", application_name=f"lab streams {name}")
    return ReplicationStream(connection, name, decoder)


def states(names: Sequence[str]) -> list[SlotState]:
    """What these slots hold back now. Raises Unavailable."""
    with LEDGER.session() as session:
        rows = session.execute(
            "SELECT slot_name, active, COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, "
            "COALESCE(wal_status, ''), safe_wal_size FROM pg_replication_slots WHERE slot_name = ANY(?)",
            (list(names),),
        ).fetchall()
    return [SlotState(*row) for row in rows]
