"""A query in SQL, for every engine that speaks it. Parameters are `?`, in the order of `lab.queries.model`.

Order is always made total (nulls last, then the key), so that a limit cuts all engines at the same row.
"""

from __future__ import annotations

from functools import lru_cache

from lab.queries import user_sql
from lab.queries.model import Query
from lab.queries.text import sql_plain

# A projection that has diverged can hold a cycle of parents; a traversal ends at this depth all the same.
DEPTH_MAX = 64

# The end of a path's statement: of two lines upwards, `one` and `other`, what lies below the place where they meet.
MEETING = (
    "top(up, down) AS (SELECT one.depth, other.depth FROM one JOIN other ON other.key = one.key "
    "ORDER BY one.depth + other.depth, one.depth LIMIT 1) "
    "SELECT one.depth AS step, one.key FROM one, top WHERE one.depth <= up "
    "UNION ALL SELECT up + down - other.depth, other.key FROM other, top WHERE other.depth < down ORDER BY 1"
)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def columns(names: tuple[str, ...] | list[str], table: str = "") -> str:
    """A list of columns, each with its table's alias if one is given."""
    return ", ".join(f"{table}.{quoted(name)}" if table else quoted(name) for name in names)


@lru_cache(maxsize=4096)
def translate(query: Query, keeps: str, dialect: str = "sqlite") -> tuple[str, tuple[object, ...]]:
    """The statement in the dialect of `sqlite` or `duckdb`, and its arguments with `?` where a parameter goes.

    `keeps` is what a projection keeps; or `history`: all revisions without a gap, as only the source of truth has them.
    """
    arguments = tuple(condition.value for condition in query.where)
    match query.kind:
        case "get":
            return f"{_live(query, keeps)} AND t.key = ?", ("?",)
        case "get_many":
            marks = ", ".join("?" * query.count)
            return f"{_live(query, keeps)} AND t.key IN ({marks}) ORDER BY t.key", ("?",) * query.count
        case "filter" | "join":
            return f"{_live(query, keeps)}{_where(query)}{_order(query)}", arguments
        case "aggregate" if keeps == "totals":
            chosen = columns([*query.group_by, *query.totals.measures])
            return f"SELECT {chosen} FROM totals WHERE records <> 0 ORDER BY {_grouped(query)}", ()
        case "aggregate":
            return _aggregate(query, keeps), arguments
        case "traverse":
            return _WALKS[query.walk](query, keeps)
        case "search":
            return _search(query, keeps), ("?",)
        case "sql":
            return _user(query, keeps, dialect), ("?",) * len(query.parameters)
        case "as_of":
            chosen = columns(query.entity.row)
            newest = (
                f"SELECT * FROM {quoted(query.entity.name)} WHERE key = ? AND committed_at <= ? "
                "ORDER BY revision DESC LIMIT 1"
            )
            return f"SELECT {chosen} FROM ({newest}) AS newest WHERE NOT deleted", ("?", "?")
        case "history":
            chosen = columns(["key", "revision", "deleted", "committed_at", *query.entity.columns])
            return f"SELECT {chosen} FROM {quoted(query.entity.name)} WHERE key = ? ORDER BY revision", ("?",)
    raise AssertionError(query.kind)


def bind(arguments: tuple[object, ...], parameters: tuple[object, ...]) -> tuple[object, ...]:
    """The statement's arguments with the parameters filled in."""
    if len(arguments) == len(parameters):
        return parameters
    rest = iter(parameters)
    return tuple(next(rest) if value == "?" else value for value in arguments)


def _source(name: str, keeps: str) -> str:
    """The last revision of each record: the table itself, or what is to be looked for among all revisions."""
    if keeps == "records":
        return quoted(name)
    if keeps == "history":
        # Where no revision is missing, the last one has no next one: an index of keys and revisions finds that out.
        follows = f"SELECT 1 FROM {quoted(name)} AS n WHERE n.key = every.key AND n.revision = every.revision + 1"
        return f"(SELECT * FROM {quoted(name)} AS every WHERE NOT EXISTS ({follows}))"
    newest = f"SELECT *, MAX(revision) OVER (PARTITION BY key) AS newest FROM {quoted(name)}"
    return f"(SELECT * FROM ({newest}) AS every WHERE revision = newest)"


def _live(query: Query, keeps: str) -> str:
    chosen = columns(query.entity.row, "t")
    source = f"{_source(query.entity.name, keeps)} AS t"
    if query.other is not None:
        chosen += ", " + columns(query.take, "o")
        source += (
            f" LEFT JOIN {_source(query.other.name, keeps)} AS o ON o.key = t.{quoted(str(query.on))} AND NOT o.deleted"
        )
    return f"SELECT {chosen} FROM {source} WHERE NOT t.deleted"


def _where(query: Query) -> str:
    return "".join(f" AND t.{quoted(item.column)} {item.operator} ?" for item in query.where)


def _order(query: Query) -> str:
    direction = " DESC" if query.descending else ""
    by = f"t.{quoted(query.order_by)}{direction} NULLS LAST, " if query.order_by else ""
    limit = f" LIMIT {query.limit}" if query.limit else ""
    return f" ORDER BY {by}t.key{limit}"


def _grouped(query: Query) -> str:
    return ", ".join(f"{quoted(column)} NULLS LAST" for column in query.group_by)


def _aggregate(query: Query, keeps: str) -> str:
    sums = "".join(f", COALESCE(SUM(t.{quoted(name)}), 0)" for name in query.sum)
    source = f"{_source(query.entity.name, keeps)} AS t WHERE NOT t.deleted{_where(query)}"
    groups = columns(query.group_by)
    return f"SELECT {groups}, COUNT(*){sums} FROM {source} GROUP BY {groups} ORDER BY {_grouped(query)}"


def _search(query: Query, keeps: str) -> str:
    """Without an index of words every record is looked at, and none is better than another. DuckDB's functions."""
    words = sql_plain(columns(query.entity.texts, "t"))
    limit = f" LIMIT {query.limit}" if query.limit else ""
    return (
        f"SELECT t.key FROM {_source(query.entity.name, keeps)} AS t "
        "JOIN (SELECT CAST(? AS VARCHAR) AS wanted) AS w ON w.wanted <> '' WHERE NOT t.deleted "
        f"AND list_has_all(string_split({words}, ' '), string_split(w.wanted, ' ')) ORDER BY t.key{limit}"
    )


def _user(query: Query, keeps: str, dialect: str) -> str:
    entities = [query.entity, *query.uses]
    sources = {
        entity.name: f"SELECT {columns(entity.row)} FROM {_source(entity.name, keeps)} AS t WHERE NOT deleted"
        for entity in entities
    }
    return user_sql.with_live(query.statement, dialect, sources)


def _below(query: Query, keeps: str) -> tuple[str, tuple[object, ...]]:
    table, parent = _source(query.entity.name, keeps), quoted(str(query.entity.parent))
    statement = (
        f"WITH RECURSIVE tree(key, depth) AS (SELECT key, 0 FROM {table} AS t WHERE key = ? AND NOT deleted "
        f"UNION SELECT c.key, depth + 1 FROM tree JOIN {table} AS c ON c.{parent} = tree.key "
        f"WHERE NOT c.deleted AND depth < {DEPTH_MAX}) "
        "SELECT key, MIN(depth) AS depth FROM tree WHERE key NOT IN (SELECT key FROM tree WHERE depth = 0) "
        "GROUP BY key ORDER BY depth, key"
    )
    return statement, ("?",)


def _near(query: Query, keeps: str) -> tuple[str, tuple[object, ...]]:
    """A step up or down at a time."""
    table, parent = _source(query.entity.name, keeps), quoted(str(query.entity.parent))
    statement = (
        f"WITH RECURSIVE near(key, above, depth) AS (SELECT key, {parent}, 0 FROM {table} AS t "
        f"WHERE key = ? AND NOT deleted UNION SELECT o.key, o.{parent}, depth + 1 FROM near "
        f"JOIN {table} AS o ON o.{parent} = near.key OR o.key = near.above "
        f"WHERE NOT o.deleted AND depth < {query.depth}) "
        "SELECT key, MIN(depth) AS depth FROM near WHERE key NOT IN (SELECT key FROM near WHERE depth = 0) "
        "GROUP BY key ORDER BY depth, key"
    )
    return statement, ("?",)


def _path(query: Query, keeps: str) -> tuple[str, tuple[object, ...]]:
    """Both lines upwards; where they meet first is the top of the path."""
    table, parent = _source(query.entity.name, keeps), quoted(str(query.entity.parent))

    def line(name: str) -> str:
        return (
            f"{name}(key, above, depth) AS (SELECT key, {parent}, 0 FROM {table} AS t WHERE key = ? AND NOT deleted "
            f"UNION SELECT o.key, o.{parent}, depth + 1 FROM {name} JOIN {table} AS o ON o.key = {name}.above "
            f"WHERE NOT o.deleted AND depth < {DEPTH_MAX})"
        )

    statement = f"WITH RECURSIVE {line('one')}, {line('other')}, {MEETING}"
    return statement, ("?", "?")


_WALKS = {"below": _below, "near": _near, "path": _path}
