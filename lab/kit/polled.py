"""What a poller is handed: a function of changes since a position, and an SQLite table of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from lab.kit.driver import Died
from lab.kit.feed import TrialFeed
from lab.kit.history import META, Change

TABLE = "changes"


class PolledSource:
    """What a poller is handed. Between two questions more may be committed."""

    def __init__(self, feed: TrialFeed, say: Callable[[str], None]) -> None:
        self._feed, self._say = feed, say
        self._connection: sqlite3.Connection | None = None
        self._stored = 0
        self.armed: str | None = None

    def goes_on(self, feed: TrialFeed) -> bool:
        """Read this feed from now on, if it has at least what the table has: the same source at a later time."""
        if len(feed.committed) < self._stored:
            return False
        self._feed = feed
        return True

    def changes_since(self, position: int, limit: int = 1_000) -> list[Change]:
        """Return committed changes after this position, by position."""
        self._asked()
        page = self._feed.changes_since(position, limit)
        places = ", ".join(str(change["position"]) for change in page) or "none"
        self._say(f"asks for changes after position {position}: {places}")
        return page

    def horizon(self) -> int:
        """Return the position up to which everything is committed: below the oldest open transaction."""
        self._asked()
        return self._feed.horizon()

    def execute(self, statement: str, parameters: Any = ()) -> list[Any]:
        """Return the rows of a SELECT on the table `changes`, which has what is committed."""
        self._asked()
        rows = self._selected(statement, parameters)
        given = parameters.values() if isinstance(parameters, dict) else parameters
        words = " ".join(statement.split()) + "".join(f", {value!r}" for value in given)
        self._say(f"asks {words}: {len(rows)} row{'' if len(rows) == 1 else 's'}")
        # Rows without a position may be of any change.
        known = all("position" in row.keys() for row in rows)  # noqa: SIM118 (a row of sqlite3 is no dict)
        self._feed.handed += [row["position"] for row in rows] if known else self._feed.committed
        self._feed.asked()
        return rows

    def _selected(self, statement: str, parameters: Any) -> list[Any]:
        return self._table().execute(statement, parameters).fetchall()

    def _asked(self) -> None:
        if self.armed in ("before-apply", "between"):
            raise Died

    def _table(self) -> sqlite3.Connection:
        """The table, with everything that is committed by now. Its rows can be asked by name and by place."""
        if self._connection is None:
            self._connection = sqlite3.connect(":memory:")
            self._connection.row_factory = sqlite3.Row
            names = self._names()
            self._connection.execute(f"CREATE TABLE {TABLE} ({', '.join(names)}, PRIMARY KEY ({names[0]}))")
        for values in self._more():
            self._connection.execute(f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(values))})", values)
        return self._connection

    def _more(self) -> Iterator[list[Any]]:
        """Yield the values of the changes that are committed and not in the table."""
        for position in self._feed.committed[self._stored :]:
            change = self._feed.history.at(position)
            yield [change.get(name) for name in self._names(quoted=False)]
        self._stored = len(self._feed.committed)

    def _names(self, quoted: bool = True) -> list[str]:
        names = [*META, *(name for name, _ in self._feed.history.shape.columns)]
        return [f'"{name}"' if quoted else name for name in names]

    def close(self) -> None:
        """Close the table."""
        if self._connection is not None:
            self._connection.close()
