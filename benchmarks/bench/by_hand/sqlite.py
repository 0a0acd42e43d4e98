"""SQLite by hand: one connection in WAL mode, statements that it keeps compiled, the index that each query needs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from benchmarks.bench.by_hand import Answer, Ask, way
from benchmarks.bench.by_hand.statements import PAST, columns, statements

DECLARED = (
    "position INTEGER, key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, committed_at REAL, "
    "name TEXT, manager INTEGER, department TEXT, salary INTEGER"
)
LIVE = "WHERE NOT deleted"
# The log is as long as the lab's: a shorter one is copied into the file more often.
SETTINGS = (
    "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY",
    "wal_autocheckpoint = 16000",
)  # fmt: skip
FIELDS = {"name": "TEXT", "manager": "INTEGER", "department": "TEXT", "salary": "INTEGER", "above": "TEXT"}


class Table:
    """A table by key, with covering indexes of live records."""

    declared: ClassVar[str] = DECLARED
    tables: ClassVar[tuple[str, ...]] = ()
    indexes: ClassVar[tuple[str, ...]] = (
        f"CREATE INDEX by_department ON employee (department, salary, deleted) {LIVE}",
        f"CREATE INDEX by_manager ON employee (manager, deleted) {LIVE}",
    )

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.connection = sqlite3.connect(folder / "by_hand.sqlite", isolation_level=None, cached_statements=512)
        for setting in SETTINGS:
            self.connection.execute(f"PRAGMA {setting}")
        for made in (f"CREATE TABLE employee ({self.declared})", "CREATE TABLE checkpoint (at INTEGER)", *self.tables):
            self.connection.execute(made)
        self.connection.execute("INSERT INTO checkpoint VALUES (0)")
        self.connection.execute("BEGIN")
        self._insert(rows.rows())
        self.connection.execute("COMMIT")
        for made in self.indexes:
            self.connection.execute(made)
        self.asks: dict[str, Ask] = {name: self._asking(name, text) for name, text in self.statements().items()}

    def statements(self) -> dict[str, str]:
        """Each query's statement."""
        return statements() | {
            "with_manager": f"SELECT {columns('t')}, m.name FROM (SELECT key FROM employee WHERE department = ? "
            "AND NOT deleted ORDER BY key LIMIT 50) AS f JOIN employee AS t ON t.key = f.key "
            "LEFT JOIN employee AS m ON m.key = t.manager AND NOT m.deleted ORDER BY t.key"
        }

    def _asking(self, name: str, text: str) -> Ask:
        execute = self.connection.execute
        if name == "line_between":
            return lambda keys: way(*([one for (one,) in execute(text, (key,))] for key in keys))
        return lambda values: execute(text, values).fetchall()

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * 9)
        self.connection.executemany(f"INSERT OR REPLACE INTO employee VALUES ({marks})", rows)

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """One transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        self._insert(rows)
        self.connection.execute("UPDATE checkpoint SET at = ?", (position,))
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Log(Table):
    """Every revision in the order of its arrival, found by key and revision."""

    declared = DECLARED.replace(" PRIMARY KEY", "") + ", UNIQUE (key, revision)"
    indexes = ()

    def statements(self) -> dict[str, str]:
        """A last revision is one without a later one."""
        later = "SELECT 1 FROM employee AS n WHERE n.key = e.key AND n.revision > e.revision"
        last = f"(SELECT * FROM employee AS e WHERE NOT EXISTS ({later}))"
        found = statements(last, last) | PAST
        found["employee"] = (
            f"SELECT {columns('t')} FROM (SELECT * FROM employee WHERE key = ? ORDER BY revision DESC LIMIT 1) AS t "
            "WHERE NOT deleted"
        )
        return found


class Documents(Table):
    """A body in JSON, indexes over expressions of it, and the manager's name within.

    What must be known of other records is read from the database, within the transaction.
    """

    declared = (
        "position INTEGER, key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, committed_at REAL, body TEXT, "
        + ", ".join(f"{name} {kind} GENERATED ALWAYS AS (body ->> '$.{name}') VIRTUAL" for name, kind in FIELDS.items())
    )
    indexes = (
        f"CREATE INDEX by_department ON employee (department, salary) {LIVE}",
        "CREATE INDEX by_manager ON employee (manager)",
    )

    def statements(self) -> dict[str, str]:
        """The columns taken out of the body by the engine."""
        return statements() | {
            "with_manager": f"SELECT {columns('t')}, t.above FROM employee AS t "
            "WHERE t.department = ? AND NOT t.deleted ORDER BY t.key LIMIT 50"
        }

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._put(rows, _names(rows))

    def _put(self, rows: Sequence[tuple[Any, ...]], names: Mapping[int, str | None]) -> None:
        made = []
        for *meta, name, manager, department, salary in rows:
            body = {"name": name, "manager": manager, "department": department, "salary": salary}
            made.append((*meta, json.dumps(body | {"above": names.get(manager)})))
        insert = "INSERT OR REPLACE INTO employee (position, key, revision, deleted, committed_at, body)"
        self.connection.executemany(f"{insert} VALUES (?, ?, ?, ?, ?, ?)", made)

    def _named(self, keys: Sequence[int]) -> dict[int, str]:
        found = f"SELECT key, name FROM employee WHERE key IN ({', '.join('?' * len(keys))}) AND NOT deleted"
        return dict(self.connection.execute(found, keys).fetchall())

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """One transaction; documents that have a manager's name within them are written again where it is another."""
        self.connection.execute("BEGIN IMMEDIATE")
        now = _names(rows)
        there = self._named([*now, *(row[6] for row in rows)])
        self._put(rows, there | now)
        renamed = [(name, key) for key, name in now.items() if name != there.get(key)]
        anew = "UPDATE employee SET body = json_set(body, '$.above', ?) WHERE manager = ?"
        self.connection.executemany(anew, renamed)
        self.connection.execute("UPDATE checkpoint SET at = ?", (position,))
        self.connection.execute("COMMIT")


def _names(rows: Sequence[tuple[Any, ...]]) -> dict[int, str | None]:
    """The name of each record; none of one that is deleted."""
    return {row[1]: None if row[3] else row[5] for row in rows}


class Graph(Table):
    """Nodes, and a list of neighbours in both directions."""

    tables = ("CREATE TABLE link (child INTEGER PRIMARY KEY, above INTEGER NOT NULL)",)
    indexes = ("CREATE INDEX below ON link (above, child)",)

    def statements(self) -> dict[str, str]:
        """Walks over the links of live records: they say where a record stands, and that it is there."""
        start = "SELECT key, 0 FROM employee WHERE key = ? AND NOT deleted"
        found = {name: text for name, text in statements().items() if name in ("employee", "team_sheet")}
        found["everyone_below"] = (
            f"WITH RECURSIVE below(key, depth) AS ({start} UNION ALL SELECT l.child, depth + 1 FROM below "
            "JOIN link AS l ON l.above = below.key) SELECT key, depth FROM below WHERE depth > 0 ORDER BY depth, key"
        )
        live = "EXISTS (SELECT 1 FROM employee WHERE key = l.above AND NOT deleted)"
        found["close_colleagues"] = (
            f"WITH RECURSIVE near(key, depth) AS ({start} UNION SELECT l.child, depth + 1 FROM near JOIN link AS l "
            "ON l.above = near.key WHERE depth < 2 UNION SELECT l.above, depth + 1 FROM near JOIN link AS l "
            f"ON l.child = near.key WHERE depth < 2 AND {live}) "
            "SELECT key, MIN(depth) FROM near GROUP BY key HAVING MIN(depth) > 0 ORDER BY 2, 1"
        )
        found["line_between"] = (
            f"WITH RECURSIVE line(key, depth) AS ({start} UNION ALL SELECT l.above, depth + 1 FROM line "
            f"JOIN link AS l ON l.child = line.key WHERE {live}) SELECT key FROM line"
        )
        return found

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        super()._insert(rows)
        self.connection.executemany("DELETE FROM link WHERE child = ?", [(row[1],) for row in rows])
        links = [(row[1], row[6]) for row in rows if not row[3] and row[6] is not None]
        self.connection.executemany("INSERT INTO link VALUES (?, ?)", links)


class Words(Table):
    """An index of words beside the table, which holds none of the texts again."""

    tables = ("CREATE VIRTUAL TABLE words USING fts5(text, content = '')",)
    indexes = ()

    def statements(self) -> dict[str, str]:
        """A search is ranked; equals by key."""
        found = {name: text for name, text in statements().items() if name in ("employee", "team_sheet")}
        return found | {"named": "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT 10"}

    def _asking(self, name: str, text: str) -> Ask:
        ask = super()._asking(name, text)
        if name != "named":
            return ask

        def search(values: tuple[Any, ...]) -> Answer:
            return ask((" ".join(f'"{word}"' for word in values[0].split()),))

        return search

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        super()._insert(rows)
        self.connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", _texts(rows))

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """One transaction. To take a record out of an index without content, one must say what was in it."""
        self.connection.execute("BEGIN IMMEDIATE")
        found = f"SELECT * FROM employee WHERE key IN ({', '.join('?' * len(rows))})"
        former = _texts(self.connection.execute(found, [row[1] for row in rows]).fetchall())
        self.connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", former)
        self._insert(rows)
        self.connection.execute("UPDATE checkpoint SET at = ?", (position,))
        self.connection.execute("COMMIT")


def _texts(rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, str]]:
    """Key and words of each live record."""
    return [(row[1], f"{row[5]} {row[7]}".lower()) for row in rows if not row[3]]
