"""The questions in SQL, as one would write them by hand; managers form a tree, so a walk needs no memory."""

from __future__ import annotations

from benchmarks.bench.by_hand import CHOSEN


def columns(table: str) -> str:
    """The columns of an answer."""
    return ", ".join(f"{table}.{name}" for name in CHOSEN)


def statements(last: str = "employee", one: str = "employee") -> dict[str, str]:
    """Each query's statement, by name. `last` are the last revisions of all records, `one` where one is looked up."""
    return {
        "employee": f"SELECT {columns('t')} FROM {one} AS t WHERE t.key = ? AND NOT t.deleted",
        "team_sheet": f"SELECT {columns('t')} FROM {one} AS t "
        f"WHERE t.key IN ({', '.join('?' * 20)}) AND NOT t.deleted ORDER BY t.key",
        "best_paid_of_department": f"SELECT {columns('t')} FROM {last} AS t WHERE t.department = ? AND NOT t.deleted "
        "ORDER BY t.salary DESC NULLS LAST, t.key LIMIT 50",
        "payroll": f"SELECT department, COUNT(*), SUM(salary) FROM {last} AS t WHERE NOT deleted "
        "GROUP BY department ORDER BY department",
        "with_manager": f"SELECT {columns('t')}, m.name FROM (SELECT t.* FROM {last} AS t WHERE t.department = ? "
        f"AND NOT t.deleted ORDER BY t.key LIMIT 50) AS t LEFT JOIN {one} AS m ON m.key = t.manager "
        "AND NOT m.deleted ORDER BY t.key",
        "everyone_below": f"WITH RECURSIVE below(key, depth) AS (SELECT key, 0 FROM {one} AS t WHERE key = ? "
        f"AND NOT deleted UNION ALL SELECT c.key, depth + 1 FROM below JOIN {last} AS c ON c.manager = below.key "
        "WHERE NOT c.deleted) SELECT key, depth FROM below WHERE depth > 0 ORDER BY depth, key",
        "close_colleagues": f"WITH RECURSIVE near(key, above, depth) AS (SELECT key, manager, 0 FROM {one} AS t "
        f"WHERE key = ? AND NOT deleted UNION SELECT o.key, o.manager, depth + 1 FROM near JOIN {last} AS o "
        "ON o.manager = near.key OR o.key = near.above WHERE NOT o.deleted AND depth < 2) "
        "SELECT key, MIN(depth) FROM near GROUP BY key HAVING MIN(depth) > 0 ORDER BY 2, 1",
        # The line from a record to the top: of two of them comes the way between two records.
        "line_between": f"WITH RECURSIVE line(key, above) AS (SELECT key, manager FROM {one} AS t WHERE key = ? "
        f"AND NOT deleted UNION ALL SELECT o.key, o.manager FROM line JOIN {one} AS o ON o.key = line.above "
        "WHERE NOT o.deleted) SELECT key FROM line",
        "heads": f"SELECT department, COUNT(*) FROM {last} AS t WHERE NOT deleted GROUP BY department",
    }


# Of a table of all revisions.
PAST = {
    "employee_as_of": f"SELECT {columns('t')} FROM (SELECT * FROM employee WHERE key = ? AND committed_at <= ? "
    "ORDER BY revision DESC LIMIT 1) AS t WHERE NOT deleted",
    "career": "SELECT key, revision, deleted, committed_at, name, manager, department, salary FROM employee "
    "WHERE key = ? ORDER BY revision",
}
