"""DuckDB by hand: one connection, one thread while the data has one group of rows, statements parsed once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmarks.bench.by_hand import Ask, way
from benchmarks.bench.by_hand.statements import statements

GROUP = 122_880
NAMED = (
    "SELECT key FROM employee WHERE NOT deleted AND list_has_all(string_split(lower(name || ' ' || department), ' '), "
    "string_split(?, ' ')) ORDER BY key LIMIT 10"
)


class Table:
    """A table in the order of its keys, without any index: it would not make a look-up quicker."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.connection = self._connected(folder, {"threads": 1} if rows.height <= GROUP else {})
        self._fill(folder, rows.sort("key", "revision"))
        self.asks: dict[str, Ask] = {name: self._asking(name, text) for name, text in self.statements().items()}

    def _connected(self, folder: Path, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(folder / "by_hand.duckdb"), config=config)

    def _fill(self, folder: Path, rows: pl.DataFrame) -> None:
        self.connection.register("incoming", self._made(rows).to_arrow())
        self.connection.execute("CREATE TABLE employee AS FROM incoming")
        self.connection.execute("CREATE TABLE checkpoint AS SELECT 0::BIGINT AS position")
        self.connection.unregister("incoming")

    def _made(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def statements(self) -> dict[str, str]:
        """Each query's statement; words are looked for in each text, as there is no index of them."""
        return statements() | {"named": NAMED}

    def _asking(self, name: str, text: str) -> Ask:
        execute, (parsed,) = self.connection.execute, self.connection.extract_statements(text)
        if name == "line_between":
            return lambda keys: way(*([one for (one,) in execute(parsed, (key,)).fetchall()] for key in keys))
        return lambda values: execute(parsed, values).fetchall()

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """Delete and insert in one transaction: an upsert would need an index."""
        execute = self.connection.execute
        execute("BEGIN")
        self._replace(rows)
        execute("UPDATE checkpoint SET position = ?", [position])
        execute("COMMIT")

    def _replace(self, rows: Sequence[tuple[Any, ...]]) -> None:
        execute = self.connection.execute
        execute("DELETE FROM employee WHERE key IN (SELECT unnest(?))", [[row[1] for row in rows]])
        marks = ", ".join(f"({', '.join('?' * len(rows[0]))})" for _ in rows)
        execute(f"INSERT INTO employee VALUES {marks}", [value for row in rows for value in row])

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Documents(Table):
    """A body in JSON, which is looked into as it is scanned, with the manager's name within."""

    def _made(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = _names(rows.rows())
        bodies = [_body(row, names) for row in rows.rows()]
        return rows.select("position", "key", "revision", "deleted", "committed_at").with_columns(
            pl.Series("body", bodies, pl.String)
        )

    def statements(self) -> dict[str, str]:
        """The columns taken out of the body by the engine."""
        kinds = {"name": "VARCHAR", "manager": "BIGINT", "department": "VARCHAR", "salary": "BIGINT"}
        body = ", ".join(f"CAST(t.body ->> '$.{name}' AS {kind}) AS {name}" for name, kind in kinds.items())
        table = f"(SELECT t.key, t.revision, t.deleted, {body} FROM employee AS t)"
        return statements(table, table) | {
            "with_manager": f"SELECT t.key, t.revision, {body}, t.body ->> '$.above' FROM employee AS t "
            "WHERE (t.body ->> '$.department') = ? AND NOT t.deleted ORDER BY t.key LIMIT 50"
        }

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """As a table's; documents that have a manager's name within them are written again where it is another.

        Names of other records are read from the database, within the transaction.
        """
        execute, now = self.connection.execute, _names(rows)
        execute("BEGIN")
        named = "SELECT key, body ->> '$.name' FROM employee WHERE key IN (SELECT unnest(?)) AND NOT deleted"
        there = dict(execute(named, [[*now, *(row[6] for row in rows)]]).fetchall())
        self._replace([(*row[:5], _body(row, there | now)) for row in rows])
        for key, name in now.items():
            if name != there.get(key):
                where = "CAST(body ->> '$.manager' AS BIGINT) = ?"
                patch = json.dumps({"above": name})
                execute(f"UPDATE employee SET body = json_merge_patch(body, ?) WHERE {where}", [patch, key])
        execute("UPDATE checkpoint SET position = ?", [position])
        execute("COMMIT")


def _names(rows: Sequence[tuple[Any, ...]]) -> dict[int, str | None]:
    """The name of each record; none of one that is deleted."""
    return {row[1]: None if row[3] else row[5] for row in rows}


def _body(row: tuple[Any, ...], names: Mapping[int, str | None]) -> str:
    fields = dict(zip(("name", "manager", "department", "salary"), row[5:], strict=True))
    return json.dumps(fields | {"above": names.get(row[6])})


class Files(Table):
    """A view over one sorted Parquet file."""

    def _connected(self, folder: Path, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(":memory:", config=config)

    def _fill(self, folder: Path, rows: pl.DataFrame) -> None:
        self.file, self.number, self.rows = folder, 0, rows
        self._view()

    def _view(self) -> None:
        self.number += 1
        file = self.file / f"{self.number}.parquet"
        self.rows.write_parquet(file, compression="zstd", compression_level=1, row_group_size=16_384)
        self.connection.execute(f"CREATE OR REPLACE VIEW employee AS FROM read_parquet('{file}')")
        (self.file / f"{self.number - 1}.parquet").unlink(missing_ok=True)

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """The file is written anew; the position is its name."""
        self.rows = merged(self.rows, rows)
        self._view()


def merged(there: pl.DataFrame, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """The rows with these in the places of those with their keys."""
    new = pl.DataFrame(rows, schema=there.schema, orient="row")
    return pl.concat([there, new]).unique("key", keep="last").sort("key")
