"""Open MariaDB, or MySQL, in one way everywhere: with time limits, without showing a password, its settings read back.

Statements have `?` for their parameters and `"` around names, as those of the embedded engines have. Texts are equal
where all their bytes are, and ordered by code points. What the driver raises is translated by its number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import decoders, escape_string

from lab.base import CannotTake
from lab.engines.mariadb_errors import mapped
from lab.engines.mariadb_socket import reached
from lab.engines.mariadb_text import NOT_FINITE, literal, written
from lab.engines.mariadb_url import MariadbUrl
from lab.engines.tabbed import as_text

Connection = Any  # pymysql.connections.Connection, which has no types.

TYPES = {
    pl.Int64(): "bigint",
    pl.Float64(): "double",
    pl.String(): "longtext",
    pl.Boolean(): "boolean",
    pl.Binary(): "longblob",
}
# Of a text in an index: with a number beside it, this fits the 3,072 bytes of a key.
KEY_CHARACTERS, KEY_BYTES = 700, 3_072
KEY_TEXT = f"varchar({KEY_CHARACTERS})"
# A name has 64 characters at the most.
NAME_BYTES = 64
# A text's hash as a number, `{}` for the column: see `lab.ports.group`.
HASHED = "CAST(CONV(SUBSTR(MD5({}), 1, 8), 16, 10) AS UNSIGNED)"

# Seconds until a connection is given up that isn't answered; and until one is that has fallen silent.
CONNECT_SECONDS, SILENT_SECONDS = 5, 15
# How long a statement waits for a lock that another session holds; and until a statement that has no limit of its own
# is given up: a table of many millions of rows is filled or sorted in less.
LOCK_SECONDS, STATEMENT_SECONDS = 10, 600
# Statements that are sent as one text, and the rows of one statement, are cut where they are longer. Both servers take
# 16 MiB as they are installed.
TEXT_CHARACTERS = 2**20

_MODES = "ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


def _whole(text: str) -> Any:
    """A sum of whole numbers is a whole number, however large."""
    value = Decimal(text)
    return int(value) if value.as_tuple().exponent == 0 else value


_DECODERS = decoders | {FIELD_TYPE.NEWDECIMAL: _whole, FIELD_TYPE.DECIMAL: _whole}


class Rows(NamedTuple):
    """What a statement gave: its rows, how many it changed, and the number that a counter gave to its row."""

    rows: list[tuple[Any, ...]]
    rowcount: int = 0
    lastrowid: int = 0

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self.rows

    def fetchone(self) -> Any:
        """The first row; None if there is none."""
        return self.rows[0] if self.rows else None


def connect(
    dsn: MariadbUrl,
    database: str = "",
    *,
    read_only: bool = False,
    statement_seconds: float = 0.0,
    bulk: bool = False,
) -> Connection:
    """Connect, with autocommit; the caller begins and ends transactions. Raises Unavailable.

    Tables are looked for in `database`. A `read_only` connection can't write. `statement_seconds` limits each
    statement; 0 is `STATEMENT_SECONDS`, on this side alone. A server that accepts and says nothing is given up.
    With `bulk` the server may ask for the file of a LOAD DATA LOCAL.
    """
    words, context = dsn.words, dsn.tls()
    with mapped(str(dsn), dsn):
        made = pymysql.connect(
            **words,
            ssl=context,
            database=database or None,
            charset="utf8mb4",
            autocommit=True,
            conv=_DECODERS,
            client_flag=CLIENT.MULTI_STATEMENTS | CLIENT.FOUND_ROWS,
            connect_timeout=CONNECT_SECONDS,
            # These hold for the handshake as well, which `connect_timeout` leaves out.
            read_timeout=CONNECT_SECONDS,
            write_timeout=CONNECT_SECONDS,
            local_infile=bulk,
            program_name="lab",
            defer_connect=True,
        )
        try:
            made.connect(reached(words, CONNECT_SECONDS, SILENT_SECONDS))
            made.query(_settings(made.server_version, read_only, statement_seconds))
            while made.next_result():
                pass
            # The server ends what takes too long; where it is silent about that too, this side does.
            limit = statement_seconds + SILENT_SECONDS if statement_seconds else STATEMENT_SECONDS
            made._read_timeout = made._write_timeout = limit
        except BaseException:
            with suppress(pymysql.Error):
                made.close()
            raise
        return made


def is_mysql(version: str) -> bool:
    """Whether a version is one of MySQL: MariaDB says its own name in it."""
    return "mariadb" not in version.lower()


def collation(version: str) -> str:
    """The collation in which texts are equal only if all their bytes are, blanks at the end included."""
    return "utf8mb4_0900_bin" if is_mysql(version) else "utf8mb4_nopad_bin"


def _settings(version: str, read_only: bool, seconds: float) -> str:
    mysql, binary = is_mysql(version), collation(version)
    set_variables = {
        "sql_mode": f"'{_MODES}'",
        "time_zone": "'+00:00'",
        "innodb_lock_wait_timeout": str(LOCK_SECONDS),
        "lock_wait_timeout": str(LOCK_SECONDS),
        "max_sort_length": "65536",
        "group_concat_max_len": "1048576",
        ("max_execution_time" if mysql else "max_statement_time"): str(int(seconds * 1_000)) if mysql else str(seconds),
    }
    listed = ", ".join(f"SESSION {name} = {value}" for name, value in set_variables.items())
    mode = "READ ONLY" if read_only else "READ WRITE"
    return (
        f"SET NAMES utf8mb4 COLLATE {binary}; SET {listed}; "
        f"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, {mode}"
    )


def alive(connection: Connection | None) -> bool:
    """Return whether a connection is open, as far as this side knows."""
    return connection is not None and bool(connection.open)


class MariadbSession:
    """A connection that takes statements with `?`, as the embedded engines' connections do."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Temporary tables that were made: they stay, whatever becomes of a transaction.
        self.temporary: set[str] = set()
        self._loads: bool | None = None

    @property
    def loads(self) -> bool:
        """Whether the server takes a file from this side, as it is set; asked once."""
        if self._loads is None:
            self._loads = bool(self.execute("SELECT @@local_infile").fetchone()[0])
        return self._loads

    def execute(self, statement: str, arguments: Sequence[Any] = (), /) -> Rows:
        """Execute one statement."""
        return self.together([(statement, arguments)])[-1]

    def together(self, steps: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
        """Send statements as one text, with their values in it, and return what each gave, in order.

        The server executes each after the one before it, and none after one that fails. Many come as several texts.
        """
        texts = [written(*step) for step in steps]
        return [one for some in _cut(texts) for one in self._sent(";".join(some))]

    def insert(self, start: str, end: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute `start` VALUES (...), (...) `end` with all rows, as several statements where they are many."""
        for some in _cut(f"({', '.join(map(literal, row))})" for row in rows):
            self._sent(f"{start}VALUES {', '.join(some)}{end}")

    def _sent(self, text: str) -> list[Rows]:
        cursor = self.connection.cursor()
        try:
            cursor.execute(text)
            found = [_rows(cursor)]
            while cursor.nextset():
                found.append(_rows(cursor))
            return found
        finally:
            with suppress(pymysql.Error):
                cursor.close()

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return alive(self.connection)

    def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        if alive(self.connection):
            with suppress(pymysql.Error):
                self.connection.close()

    def load(self, table: str, names: Sequence[str], rows: pl.DataFrame) -> None:
        """Fill a table's columns from a frame, by LOAD DATA. `table` is written as in SQL; no column may be binary.

        Raises CannotTake for what the server would alter: it does so with a warning, since it can't stop a client.
        """
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        with tempfile.NamedTemporaryFile(prefix="lab-", suffix=".tsv", delete=False) as file:
            try:
                for part in rows.select(names).iter_slices(50_000):
                    file.write(as_text(_plain(part), nul="\\0"))
                file.close()
                cursor = self.connection.cursor()
                # Asked anew if this one fails, since the server may have been set in another way meanwhile.
                loads, self._loads = self._loads, None
                cursor.execute(
                    f"LOAD DATA LOCAL INFILE '{escape_string(file.name)}' INTO TABLE {table} CHARACTER SET utf8mb4 "
                    f"FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({listed})"
                )
                self._loads = loads
            except AttributeError:
                # What the driver raises where the connection is lost in the midst of the file.
                if self.alive:
                    raise
                raise pymysql.OperationalError(2013, "the connection was lost during LOAD DATA") from None
            finally:
                Path(file.name).unlink()
        if cursor.rowcount != rows.height or cursor.warning_count:
            (_, _, said) = self.execute("SHOW WARNINGS LIMIT 1").fetchone() or ("", 0, "not all rows were taken")
            raise CannotTake(f"{table}: {said}")


def _cut(texts: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as are short enough together; one at least."""
    some, size = list[str](), 0
    for text in texts:
        if some and size + len(text) > TEXT_CHARACTERS:
            yield some
            some, size = [], 0
        some.append(text)
        size += len(text)
    if some:
        yield some


def _rows(cursor: Any) -> Rows:
    return Rows(list(cursor.fetchall()), cursor.rowcount, cursor.lastrowid or 0)


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with truth values as numbers. Raises CannotTake for a number that isn't finite."""
    schema = rows.schema
    for name, dtype in schema.items():
        if dtype == pl.Float64() and not rows[name].is_finite().fill_null(True).all():
            raise CannotTake(f"`{name}`: {NOT_FINITE}")
    truths = [name for name, dtype in schema.items() if dtype == pl.Boolean()]
    return rows.with_columns(pl.col(truths).cast(pl.Int8)) if truths else rows


SETTINGS = (
    "version", "innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_autoinc_lock_mode", "log_bin", "binlog_format",
    "binlog_row_image", "log_bin_compress", "binlog_expire_logs_seconds", "max_binlog_total_size",
    "innodb_doublewrite", "innodb_buffer_pool_size", "max_allowed_packet", "local_infile", "lower_case_table_names",
)  # fmt: skip


def settings(session: MariadbSession) -> dict[str, Any]:
    """Return the settings that affect durability and speed, as the server reports them."""
    wanted = ", ".join(f"'{name}'" for name in SETTINGS)
    rows = dict(session.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({wanted})").fetchall())
    found = {name: rows[name] for name in SETTINGS if name in rows}
    # The binary log, where there is one, decides together with the engine's own what a crash leaves.
    full = found.get("innodb_flush_log_at_trx_commit") == "1" and (
        found.get("log_bin") != "ON" or found.get("sync_binlog") == "1"
    )
    return {
        "library": f"PyMySQL {pymysql.__version__}",
        "product": "MySQL" if is_mysql(str(found.get("version", ""))) else "MariaDB",
        **found,
        "durability": "full" if full else "normal",
    }
