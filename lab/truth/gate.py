"""The gate of a source of truth in PostgreSQL: a lock that writers share, by which a reader sees who still writes.

A writer takes the shared lock before it takes a position, and keeps it until its transaction has ended. A reader reads
the sequence first, and then who holds the lock: a writer that wasn't among the holders when the sequence stood at n
takes positions above n. So everything up to n is settled once the holders of that moment have gone.

The lock is an advisory one, whose number is made from the name of the schema; the locks of records are of the same
kind. Transactions of other databases and of other programs hold none of them, and hold no reader back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lab.base import Key
from lab.engines import postgres as driver
from lab.ports import Blocker
from lab.queries.sql import quoted
from lab.truth.postgres_attached import AttachedSchema

# A lock's 64 bits are shown as two numbers of 32.
_HELD = (
    "FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.classid::bigint = ? AND l.objid::bigint = ? "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_OPENED = "COALESCE(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8"
_NAMES = "COALESCE(a.application_name, ''), a.pid, COALESCE(a.datname, '')"


class GateLocks:
    """The numbers of the locks of one schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.number, self.opening = _number(schema, "gate"), _number(schema, "opening")
        high, low = divmod(self.number % 2**64, 2**32)
        self.halves = (high, low)

    def record(self, entity: str, key: Key) -> int:
        """The number of a record's lock. Two records may have the same, and wait for each other in vain."""
        return _number(self.schema, "record", entity, repr(key))

    def lock(self, gaps: str) -> str:
        """The call that takes the gate lock until the transaction ends; under `serialise` for one writer alone."""
        return f"pg_advisory_xact_lock{'' if gaps == 'serialise' else '_shared'}({self.number})"


def _number(*names: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest(), signed=True)


class DrainEvidence:
    """What a reader knows through the gate. One reader has one, and asks it in the thread of its connection."""

    def __init__(self, on: AttachedSchema, gate: GateLocks, entities: Sequence[str], sequence: str) -> None:
        self._on, self._gate = on, gate
        self._value = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
        self._newest = f"SELECT GREATEST(0, {', '.join(self._top(name) for name in entities)})"
        positions = " UNION ALL ".join(
            f"SELECT position FROM {quoted(name)} WHERE position > ?{self._seen()}" for name in entities
        )
        self._shown, self._marks = f"{positions} ORDER BY 1", len(entities)
        # The value of the sequence at the last look; and for each holder the value at the last look without it.
        self._last = self._settled = 0
        self._floors: dict[str, int] = {}

    def newest(self) -> int:
        """Return the newest position that is committed."""
        return int(self._on.execute(self._newest).fetchone()[0])

    def settled(self) -> int:
        """Look at the sequence and then at the holders of the gate; return what none of them can write below."""
        with driver.mapped(self._on.name):
            session = self._on.session
            with session.connection.pipeline():
                value = session.execute(self._value, prepare=True)
                held = session.execute(f"SELECT l.virtualtransaction {_HELD}", self._gate.halves, prepare=True)
            (now,) = value.fetchone()
            # A virtual transaction id is given once: the next transaction of the same connection has another one.
            self._floors = {name: self._floors.get(name, self._last) for (name,) in held.fetchall()}
        self._last = int(now)
        self._settled = max(self._settled, min(self._floors.values(), default=self._last))
        return self._settled

    def shown(self, after: int) -> np.ndarray:
        """Return the committed positions above `after`."""
        rows = self._on.execute(self._shown, (after,) * self._marks).fetchall()
        return np.array([position for (position,) in rows], np.int64)

    def blockers(self, at: float) -> list[Blocker]:
        """Return the holders of the gate: application, process and database, since when their transaction is open."""
        rows = self._on.execute(
            f"SELECT {_NAMES}, {_OPENED}, h.name FROM (SELECT l.pid, l.virtualtransaction AS name {_HELD}) AS h "
            "JOIN pg_stat_activity AS a ON a.pid = h.pid ORDER BY 4 DESC",
            self._gate.halves,
        ).fetchall()
        return [_blocker(row[:4], at, self._floors.get(row[4], self._last)) for row in rows]

    @classmethod
    def _seen(cls) -> str:
        return ""

    def _top(self, entity: str) -> str:
        return f"(SELECT MAX(position) FROM {quoted(entity)})"


class XminEvidence(DrainEvidence):
    """What the popular cursor goes by: rows whose transaction is older than every open one that has written.

    It is no evidence: transactions get their ids in another order than their positions. A transaction that has written
    in any database of the server holds it back.
    """

    # Of a row: it was written by a transaction below the oldest one that is open now.
    BELOW: ClassVar[str] = "age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)"

    def settled(self) -> int:
        """Return what the cursor takes for settled."""
        return self.newest()

    def blockers(self, at: float) -> list[Blocker]:
        """Return the open transactions that have written, in every database of the server, the oldest first."""
        newest = self.newest()
        rows = self._on.execute(
            f"SELECT {_NAMES}, {_OPENED} FROM pg_stat_activity AS a "
            "WHERE a.backend_xid IS NOT NULL ORDER BY age(a.backend_xid) DESC"
        ).fetchall()
        return [_blocker(row, at, newest) for row in rows]

    @classmethod
    def _seen(cls) -> str:
        return f" AND {cls.BELOW}"

    def _top(self, entity: str) -> str:
        return f"(SELECT position FROM {quoted(entity)} WHERE {self.BELOW} ORDER BY position DESC LIMIT 1)"


def _blocker(row: Sequence[Any], at: float, above: int) -> Blocker:
    name, process, database, seconds = row
    return Blocker(f"{name or 'unnamed'} (pid {process}, database {database})", at - seconds, above)
