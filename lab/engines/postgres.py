"""Open PostgreSQL in one way everywhere: with time limits, without showing a password, its settings read back.

Statements have `?` for their parameters, as those of the embedded engines have. Rows travel in binary form, whole
frames by COPY. What the driver raises is translated by its SQLSTATE: see `translated`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import polars as pl
import psycopg
from psycopg import conninfo, pq, sql
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, NumericBinaryLoader

from lab.base import CannotTake, Damaged, LabError, ReadOnly, Unavailable
from lab.engines import tabbed
from lab.engines.dsn import Dsn
from lab.engines.mapping import mapping
from lab.formatting import first_line

Connection = psycopg.Connection[tuple[Any, ...]]

# Text in the order of code points, and equal where all bytes are, whatever the database's locale.
TYPES = {
    pl.Int64(): "bigint",
    pl.Float64(): "double precision",
    pl.String(): 'text COLLATE "C"',
    pl.Boolean(): "boolean",
    pl.Binary(): "bytea",
}
# The same as elements of a list that is bound as one parameter.
ARRAYS = {dtype: f"{name.partition(' COLLATE')[0]}[]" for dtype, name in TYPES.items()}
# A longer name is cut off by the server.
NAME_BYTES = 63
# A text's hash as a number, `{}` for the column: see `lab.ports.group`.
HASHED = "('x' || substr(md5({}), 1, 8))::bit(32)::bigint"

# Seconds until a connection is given up that isn't answered; and until one is that has fallen silent.
CONNECT_SECONDS, SILENT_SECONDS = 5, 15
# How long a statement waits for a lock that another session holds.
LOCK_SECONDS = 10
# Statements that a connection keeps prepared.
STATEMENTS = 1_024
_LIMITS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": SILENT_SECONDS // 3,
    "keepalives_interval": SILENT_SECONDS // 3,
    "keepalives_count": 2,
    "tcp_user_timeout": SILENT_SECONDS * 1_000,
}
# By `Layout.durability`: without the wait for the disk, a crash of the server can take the last commits.
SYNCHRONOUS = {"full": "on", "normal": "off"}

_PARTS = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'|/\*.*?\*/|--[^\n]*|\?""", re.DOTALL)
NUL = "PostgreSQL holds no text with a NUL character"

# SQLSTATE by its first characters: https://www.postgresql.org/docs/current/errcodes-appendix.html
_FOR_NOW = ("08", "28", "40", "53", "55", "57", "58", "25P03", "3D", "42501")
_NEVER = ("21", "22", "23", "54")
_DAMAGED = ("3F", "42P01", "XX001", "XX002")
_READ_ONLY = "25006"


class _Numeric(NumericBinaryLoader):
    """A sum of whole numbers is a whole number, however large."""

    def load(self, data: Any) -> Any:
        value: Decimal = super().load(data)
        return int(value) if value.as_tuple().exponent == 0 else value


def connect(
    dsn: Dsn,
    schema: str = "",
    *,
    read_only: bool = False,
    durability: str = "full",
    statement_seconds: float = 0.0,
    **more: Any,
) -> Connection:
    """Connect, with autocommit; the caller begins and ends transactions. Raises Unavailable.

    Tables are looked for in `schema`, and before them the session's temporary ones. A `read_only` connection can't
    write. `statement_seconds` limits each statement; 0 doesn't. `more` are further words of a connection string, such
    as `replication="database"`.
    """
    settings = {
        "default_transaction_isolation": "read\\ committed",
        "default_transaction_read_only": "on" if read_only else "off",
        "synchronous_commit": SYNCHRONOUS[durability],
        "statement_timeout": str(int(statement_seconds * 1_000)),
        "lock_timeout": str(LOCK_SECONDS * 1_000),
        # Below 1, which a database or a role may have set, a float loses its last digits in COPY and in the log.
        "extra_float_digits": "1",
        # To compile a statement takes longer than most of the lab's statements do.
        "jit": "off",
    }
    if schema:
        settings["search_path"] = f"{schema},pg_catalog"
    with mapped(str(dsn), dsn):
        given = conninfo.conninfo_to_dict(dsn.secret)
        options = " ".join([str(given.get("options") or ""), *(f"-c {name}={one}" for name, one in settings.items())])
        words = {"application_name": "lab", **_LIMITS, **given, **more, "options": options.strip()}
        words["client_encoding"] = "UTF8"
        made: Connection = psycopg.connect(**words, autocommit=True, cursor_factory=psycopg.RawCursor)
        made.prepared_max = STATEMENTS
        for dumper in (Int8Dumper, Int8BinaryDumper):
            made.adapters.register_dumper(int, dumper)
        made.adapters.register_loader("numeric", _Numeric)
        return made


def alive(connection: Connection | None) -> bool:
    """Return whether a connection is open, as far as this side knows."""
    return connection is not None and not connection.closed


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None for a mistake in a statement.

    Unavailable: away, busy, full, stopped, a lock or a time limit. CannotTake: a value that the engine can't hold.
    Damaged: damaged pages, or tables that are gone. ReadOnly: a write on a connection that only reads.
    """
    code = getattr(error, "sqlstate", None) or ""
    said = f"{what}: {first_line(error)}"
    if code.startswith(_DAMAGED):
        return Damaged(said)
    if code == _READ_ONLY:
        return ReadOnly(said)
    if code.startswith(_NEVER) or isinstance(error, psycopg.DataError | OverflowError):
        return CannotTake(said)
    if code.startswith(_FOR_NOW) or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable(said)
    return None


mapped = mapping((psycopg.Error, OverflowError), translated)


@lru_cache(maxsize=4_096)
def numbered(statement: str) -> bytes:
    """A statement with `$1`, `$2`, ... in the place of each `?` that stands outside of quotes and comments."""
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _PARTS.sub(mark, statement).encode()


class Session:
    """A connection that takes statements with `?`, as the embedded engines' connections do."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Temporary tables that were made, as far as their transaction was not undone.
        self.temporary: set[str] = set()

    def execute(self, statement: str, arguments: Sequence[Any] = (), /, prepare: bool | None = None) -> Any:
        """Execute one statement; the result has `fetchall()` and `rowcount`. Prepared at its sixth execution."""
        cursor = self.connection.cursor(binary=True)
        return cursor.execute(numbered(statement), tuple(arguments), prepare=prepare)

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return alive(self.connection)

    def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        self.connection.close()

    def copy_in(self, table: str, names: Sequence[str], rows: pl.DataFrame, frozen: bool = False) -> None:
        """Fill a table's columns from a frame. `frozen`: the table was made or emptied in this transaction.

        `table` is written as in SQL. No column may be binary.
        """
        listed = ", ".join(_quoted(name) for name in names)
        freeze = " (FREEZE)" if frozen else ""
        statement = f"COPY {table} ({listed}) FROM STDIN{freeze}"
        with psycopg.Cursor(self.connection).copy(statement.encode()) as copy:
            for part in rows.select(names).iter_slices(50_000):
                copy.write(as_text(part))

    def frame(self, statement: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """Return what a SELECT without parameters gives, by COPY, as a frame of these columns. None may be binary."""
        # Truth values are read as numbers: Polars knows them by other words.
        raw = {name: pl.Int64() if dtype == pl.Boolean() else dtype for name, dtype in schema.items()}
        chosen = ", ".join(
            f"{_quoted(name)}::integer" if dtype == pl.Boolean() else _quoted(name) for name, dtype in schema.items()
        )
        copied = f"COPY (SELECT {chosen} FROM ({statement}) AS lab_rows) TO STDOUT (FORMAT csv)"
        with psycopg.Cursor(self.connection).copy(copied.encode()) as copy:
            data = b"".join(copy)
        if not data:
            return pl.DataFrame(schema=schema)
        places = {f"column_{number}": dtype for number, dtype in enumerate(raw.values(), 1)}
        found = pl.read_csv(data, has_header=False, schema=places)
        found.columns = list(schema)
        return found.cast(schema)  # type: ignore[arg-type]

    def literal(self, value: Any) -> str:
        """A value as it is written in SQL, for statements that take no parameters."""
        return sql.Literal(value).as_string(self.connection)


def settings(session: Session) -> dict[str, Any]:
    """Return the settings that affect durability and speed, as the server reports them."""
    names = (
        "server_version", "synchronous_commit", "fsync", "full_page_writes", "wal_level", "shared_buffers",
        "max_wal_size", "checkpoint_timeout", "work_mem", "jit", "server_encoding", "autovacuum",
    )  # fmt: skip
    row = session.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names)).fetchone()
    found = dict(zip(names, row, strict=True))
    full = found["synchronous_commit"] not in ("off", "local") and found["fsync"] == "on"
    return {
        "library": f"psycopg {psycopg.__version__}, libpq {pq.version()}",
        **found,
        "durability": "full" if full else "normal",
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def as_text(rows: pl.DataFrame) -> bytes:
    """Return rows in COPY's text format. Raises CannotTake for a text with a NUL, which the server can't hold."""
    try:
        return tabbed.as_text(rows, nul="")
    except ValueError:
        raise CannotTake(NUL) from None
