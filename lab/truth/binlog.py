"""The binary log of a source of truth in MariaDB: whether it can be read as changes, places in it, and who needs it.

The server keeps its log by rules of its own, whoever reads (`expire_logs_days`, `max_binlog_total_size`, PURGE), and
knows nothing of a reader that is away. So a reader keeps its place itself, in a file, together with the checkpoint for
which it holds. A reader whose place has been purged meanwhile is built anew from the tables.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pymysql

from lab.base import LabError, Unavailable
from lab.engines.binlog import BinlogStream, LogPlace, by_domain
from lab.engines.mariadb import Connection, MariadbSession
from lab.engines.mariadb_errors import mapped, number
from lab.place import read_file
from lab.servers.mariadb import LEDGER, SERVER
from lab.truth.timeline import Diverged

# What the server must write into its log; and why it can't be read where it says something else.
_ROW = "what it writes there are statements, and not rows"
_NEEDED = {
    "binlog_format": ("ROW", _ROW),
    "binlog_row_image": ("FULL", "a row lacks the columns there that didn't change"),
    "log_bin_compress": ("OFF", "rows are compressed there, which the driver can't read"),
}
# The server's numbers for a privilege that is missing.
_DENIED = (1045, 1227)
# As many places are kept as a store may have lost checkpoints.
PLACES = 100


class BinlogGone(Diverged):
    """A place in the log that the server doesn't have any more, or has something else at."""


class BinlogState(NamedTuple):
    """What a reader has before it: whether it reads, bytes of the log, whether the server has them, what is left."""

    active: bool
    retained_bytes: int
    status: str
    safe_bytes: int | None


def refusal() -> tuple[str, str] | None:
    """Why the server's log can't be read as changes, and the way out; None if it can. Raises Unavailable."""
    with LEDGER.session() as session:
        names = ", ".join(f"'{name}'" for name in ("log_bin", *_NEEDED))
        found = dict(session.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})").fetchall())
        if found.get("log_bin") != "ON":
            way_out = (
                "write log_bin and binlog_format = ROW into its file and restart it, start one with "
                '`lab servers start mariadb`, or feed = "poll"'
            )
            return "log_bin is OFF: the server writes no log that could be read as changes", way_out
        for name, (wanted, why) in _NEEDED.items():
            if found.get(name, wanted) != wanted:
                return f"{name} is {found[name]}: {why}", f'SET GLOBAL {name} = {wanted}, or feed = "poll"'
        return _unread(session)


def _unread(session: MariadbSession) -> tuple[str, str] | None:
    """Why this user gets no changes, or not all, from a log that has them: tried, since rights can come by roles."""
    try:
        _, _, only, but = _status(session)
        _tried(here(session))
    except pymysql.Error as error:
        if number(error) not in _DENIED:
            raise
        (user,) = session.execute("SELECT CURRENT_USER()").fetchone()
        name = "@".join(f"'{part}'" for part in str(user).rsplit("@", 1))
        way_out = f'GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {name}, or feed = "poll"'
        return "the user may not read the server's log", way_out
    if only or but:
        what = f"the server leaves databases out of its log ({'binlog_do_db' if only else 'binlog_ignore_db'})"
        return what, 'take that setting out and restart it, or feed = "poll"'
    return None


def _tried(place: LogPlace) -> None:
    """Ask for the log from a place on, without waiting for more than there is. Raises what the driver raises."""
    from pymysqlreplication import BinLogStreamReader

    made: list[Connection] = []

    def connected(**words: Any) -> Connection:
        made.append(SERVER.connect().connection)
        made[-1].cursorclass = words.get("cursorclass", made[-1].cursorclass)
        return made[-1]

    reader = BinLogStreamReader(
        connection_settings={}, server_id=2**31 + os.getpid(), resume_stream=True, blocking=False, only_events=[],
        log_file=place.file, log_pos=place.offset, pymysql_wrapper=connected, enable_logging=False,
    )  # fmt: skip
    try:
        reader.fetchone()
    finally:
        for one in made:
            one._force_close()


def here(session: MariadbSession) -> LogPlace:
    """The place up to which the tables show everything that is in the log. Raises what the driver raises."""
    # Beside the end of the log stands what is written there and can't be seen yet.
    session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    found = dict(session.execute("SHOW STATUS LIKE 'binlog_snapshot_%'").fetchall())
    session.execute("COMMIT")
    file, offset = found["Binlog_snapshot_file"], int(found["Binlog_snapshot_position"])
    return LogPlace(file, offset, _gtids(session, file, offset) or "")


def end(session: MariadbSession) -> LogPlace:
    """The end of the log: what is committed lies before it."""
    file, offset, _, _ = _status(session)
    return LogPlace(file, offset)


def _status(session: MariadbSession) -> tuple[str, int, str, str]:
    file, offset, only, but = session.execute("SHOW MASTER STATUS").fetchone()[:4]
    return str(file), int(offset), str(only), str(but)


def _gtids(session: MariadbSession, file: str, offset: int) -> str | None:
    """The last GTID of each domain at a place; None where there is no such place."""
    (found,) = session.execute("SELECT BINLOG_GTID_POS(?, ?)", (file, offset)).fetchone()
    return None if found is None else str(found)


def confirm(session: MariadbSession, place: LogPlace) -> None:
    """Raise BinlogGone unless the log has at this place what it had when the place was noted."""
    found = _gtids(session, place.file, place.offset)
    if found is None:
        what = "is gone: it was purged, or the server was set up anew"
    elif by_domain(found) != by_domain(place.gtids):
        what = f"is another one: {found or 'nothing'} came before it, and not {place.gtids or 'nothing'}"
    else:
        return
    raise BinlogGone(f"its place in the server's log, {place.file} at {place.offset}, {what}")


def streamed(database: str, reader: str, place: LogPlace, tables: Sequence[str]) -> BinlogStream:
    """Read the log from a place on, as a replica whose number is the reader's from start to start."""
    digest = hashlib.blake2b(f"{database}/{reader}".encode(), digest_size=4).digest()
    number_ = int.from_bytes(digest) | 2**31
    return BinlogStream(lambda: SERVER.connect().connection, place, number_, database, tables)


class KeptPlace(NamedTuple):
    """A place, and the checkpoints by entity for which it holds: all that such a store lacks comes after it.

    Without checkpoints it holds for every store that read the tables since, whose rest must be read first.
    """

    checkpoints: Mapping[str, int]
    place: LogPlace

    def holds(self, checkpoints: Mapping[str, int]) -> bool:
        """Whether it holds for a store at these checkpoints."""
        return all(checkpoints.get(name, 0) >= position for name, position in self.checkpoints.items())


class KeptPlaces:
    """The file in which a reader keeps its place, beside the checkpoints for which it holds.

    A store that has lost its last commits goes on from an earlier pair.
    """

    def __init__(self, file: Path) -> None:
        """`thread` is the number of the reader's connection on the server."""
        self.file = file
        self.thread = 0
        self.pairs: list[KeptPlace] = []

    def read(self) -> bool:
        """Read the file; false if there is none, or none that can be understood."""
        self.pairs = []
        try:
            told = json.loads(read_file(self.file) or "null")
            self.thread = int(told[0])
            for held, file, offset, gtids in told[1]:
                checkpoints = {str(name): int(position) for name, position in held.items()}
                self.pairs.append(KeptPlace(checkpoints, LogPlace(str(file), int(offset), str(gtids))))
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            self.pairs = []
        return bool(self.pairs)

    def go_on(self, checkpoints: Mapping[str, int]) -> KeptPlace | None:
        """The last pair that holds for a store at these checkpoints; None if that is older than all.

        Later ones are forgotten: what they tell of was lost, and the store may reach their checkpoints without it.
        """
        last = max((number for number, pair in enumerate(self.pairs) if pair.holds(checkpoints)), default=None)
        if last is None:
            return None
        if last + 1 < len(self.pairs):
            self.pairs = self.pairs[: last + 1]
            self._write()
        return self.pairs[last]

    def begin(self, place: LogPlace) -> None:
        """Keep this place alone, for a store that reads the tables first."""
        self.pairs = [KeptPlace({}, place)]
        self._write()

    def connected(self, thread: int) -> None:
        """Note the number of the reader's connection, if it is another one than before."""
        if thread not in (0, self.thread):
            self.thread = thread
            self._write()

    def forget(self) -> None:
        """Forget all places, and remove the file."""
        self.pairs = []
        self.file.unlink(missing_ok=True)

    def add(self, checkpoints: Mapping[str, int], place: LogPlace) -> None:
        """Keep a place for checkpoints that were reached."""
        self.pairs = [*self.pairs, KeptPlace(checkpoints, place)][-PLACES:]
        self._write()

    def move(self, place: LogPlace) -> None:
        """Keep a later place for the last checkpoints: between the two there is nothing for the reader."""
        if place.order > self.pairs[-1].place.order:
            self.pairs[-1] = self.pairs[-1]._replace(place=place)
            self._write()

    def _write(self) -> None:
        """Replace the file. What a power cut takes of it is an older place, or a rebuild: it needs no sync."""
        partial = self.file.with_name(f"{self.file.name}.partial")
        told = [self.thread, [(at, place.file, place.offset, place.gtids) for at, place in self.pairs]]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(told), encoding="utf-8")
            partial.replace(self.file)
        except OSError as error:
            raise Unavailable(f"{self.file}: the place in the log can't be kept: {error.strerror}") from None


def size() -> int | None:
    """How many bytes there are in the server's log; None where it writes none, or this user may not know."""
    try:
        with LEDGER.session() as session:
            return sum(int(row[1]) for row in session.execute("SHOW BINARY LOGS").fetchall())
    except (LabError, pymysql.Error):
        return None


def state(file: Path) -> BinlogState | None:
    """What the reader that keeps its places in this file has before it now; None if it has none. Raises Unavailable."""
    kept = KeptPlaces(file)
    if not kept.read():
        return None
    place = kept.pairs[-1].place
    with LEDGER.session() as session:
        sizes = [(str(row[0]), int(row[1])) for row in session.execute("SHOW BINARY LOGS").fetchall()]
        threads = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ? AND command LIKE 'Binlog Dump%'"
        (active,) = session.execute(threads, (kept.thread,)).fetchone()
        limit = session.execute("SHOW GLOBAL VARIABLES LIKE 'max_binlog_total_size'").fetchone()
    there = [size for name, size in sizes if LogPlace(name, 0).order >= (place.order[0], 0)]
    has = any(name == place.file for name, _ in sizes)
    room = None if limit is None or not int(limit[1]) else int(limit[1]) - sum(size for _, size in sizes)
    behind = max(0, sum(there) - place.offset) if has else sum(there)
    return BinlogState(bool(active), behind, "kept" if has else "purged", room)


def reading() -> Any:
    """Translate what the driver raises while the log is asked about."""
    return mapped("the server's log")
