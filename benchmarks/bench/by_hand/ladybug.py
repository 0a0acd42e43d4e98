"""Ladybug by hand: one database, a connection that keeps its statements compiled, nodes and links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ladybug
import polars as pl

from benchmarks.bench.by_hand import CHOSEN, Answer, Ask, way

COLUMNS = ", ".join(f"n.{name}" for name in CHOSEN)
STORED = ("position", "revision", "deleted", "committed_at", "name", "manager", "department", "salary")
SETS = ", ".join(f"n.{name} = ${name}" for name in STORED)


class Graph:
    """Nodes of employees, each with a link to its manager."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.database = ladybug.Database(
            folder / "by_hand.lbug", buffer_pool_size=2**30, max_db_size=2**36, max_num_threads=2
        )
        self.connection = ladybug.Connection(self.database)
        fields = "name STRING, manager INT64, department STRING, salary INT64"
        self._run("CALL var_length_extend_max_depth = 64")
        meta = "key INT64, position INT64, revision INT64, deleted BOOL, committed_at DOUBLE"
        self._run(f"CREATE NODE TABLE employee ({meta}, {fields}, PRIMARY KEY (key))")
        self._run("CREATE REL TABLE above (FROM employee TO employee)")
        self._run("CREATE NODE TABLE checkpoint (id INT64, at INT64, PRIMARY KEY (id))")
        self._run("CREATE (:checkpoint {id: 0, at: 0})")
        self._run(
            "COPY employee FROM $rows",
            rows=rows.select("key", *STORED).to_arrow(),
        )
        links = rows.filter(~pl.col("deleted") & pl.col("manager").is_not_null()).select("key", "manager")
        self._run("COPY above FROM $rows", rows=links.to_arrow())
        self.asks: dict[str, Ask] = {name: self._asking(text) for name, text in STATEMENTS.items()}
        self.asks["team_sheet"] = lambda keys: self._run(MANY, p0=sorted(set(keys)))
        self.asks["line_between"] = self._line_between

    def _run(self, statement: str, **parameters: Any) -> Answer:
        found = self.connection.execute(statement, parameters)
        assert not isinstance(found, list)
        rows = [tuple(row) for row in found.get_all()]
        found.close()
        return rows

    def _asking(self, text: str) -> Ask:
        return lambda values: self._run(text, **{f"p{place}": value for place, value in enumerate(values)})

    def _line_between(self, keys: tuple[Any, ...]) -> Answer:
        return way(*([one for (one, _) in self._run(LINE, p0=key)] for key in keys))

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """Row by row in one transaction, by the primary key; a manager who isn't there yet is a node without fields."""
        self._run("BEGIN TRANSACTION")
        for row in rows:
            values = dict(zip(("position", "key", *STORED[1:]), row, strict=True))
            key, manager = row[1], row[6]
            self._run(f"MERGE (n:employee {{key: $key}}) SET {SETS}", **values)
            self._run("MATCH (n:employee {key: $key})-[l:above]->() DELETE l", key=key)
            if not row[3] and manager is not None:
                ends = "MATCH (n:employee {key: $key}) MERGE (m:employee {key: $manager})"
                self._run(f"{ends} CREATE (n)-[:above]->(m)", key=key, manager=manager)
        self._run("MATCH (c:checkpoint {id: 0}) SET c.at = $at", at=position)
        self._run("COMMIT")

    def close(self) -> None:
        """Close the connection and the database."""
        self.connection.close()
        self.database.close()


LIVE = "WHERE NOT n.deleted"
MANY = f"UNWIND $p0 AS wanted MATCH (n:employee {{key: wanted}}) {LIVE} RETURN {COLUMNS} ORDER BY n.key"
LINE = (
    "MATCH (n:employee {key: $p0})-[w:above*0..64]->(m:employee) WHERE NOT n.deleted AND NOT m.deleted "
    "RETURN m.key, length(w) AS steps ORDER BY steps"
)
STATEMENTS = {
    "employee": f"MATCH (n:employee {{key: $p0}}) {LIVE} RETURN {COLUMNS}",
    "best_paid_of_department": f"MATCH (n:employee) {LIVE} AND n.department = $p0 RETURN {COLUMNS} "
    "ORDER BY n.salary DESC, n.key LIMIT 50",
    "payroll": f"MATCH (n:employee) {LIVE} RETURN n.department AS d, count(*), sum(n.salary) ORDER BY d",
    "everyone_below": "MATCH (n:employee {key: $p0})<-[w:above*1..64]-(m:employee) WHERE NOT n.deleted "
    "AND NOT m.deleted RETURN m.key AS key, length(w) AS depth ORDER BY depth, key",
    "close_colleagues": "MATCH (n:employee {key: $p0})-[w:above*1..2 (l, v | WHERE NOT v.deleted)]-(m:employee) "
    "WHERE NOT n.deleted AND NOT m.deleted AND m.key <> n.key RETURN m.key AS key, min(length(w)) AS depth "
    "ORDER BY depth, key",
}
