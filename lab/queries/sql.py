"""Pieces of SQL that several classes of query and stores share. Parameters are `?`.

Order is always made total (nulls last, then the key), so that a limit cuts all engines at the same row.
"""

from __future__ import annotations

from lab.queries.model import Query

# A projection that has diverged can hold a cycle of parents; a traversal ends at this depth all the same.
DEPTH_MAX = 64

# The end of a path's statement: of two lines upwards, `lab_one` and `lab_other`, what lies below where they meet.
# What a statement defines is called `lab_...`, so that entities and columns can have any other name.
MEETING = (
    "lab_top(up, down) AS (SELECT one.depth, other.depth FROM lab_one AS one JOIN lab_other AS other "
    "ON other.key = one.key ORDER BY one.depth + other.depth, one.depth LIMIT 1) "
    "SELECT one.depth AS step, one.key FROM lab_one AS one, lab_top WHERE one.depth <= up "
    "UNION ALL SELECT up + down - other.depth, other.key FROM lab_other AS other, lab_top WHERE other.depth < down "
    "ORDER BY 1"
)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def columns(names: tuple[str, ...] | list[str], table: str = "") -> str:
    """A list of columns, each with its table's alias if one is given."""
    return ", ".join(f"{table}.{quoted(name)}" if table else quoted(name) for name in names)


def remainder(number: str, partitions: int) -> str:
    """An expression for a number's partition: of a negative one, the remainder is negative in SQL."""
    return f"(({number} % {partitions}) + {partitions}) % {partitions}"


def bind(arguments: tuple[object, ...], parameters: tuple[object, ...]) -> tuple[object, ...]:
    """The statement's arguments with the parameters filled in."""
    if len(arguments) == len(parameters):
        return parameters
    rest = iter(parameters)
    return tuple(next(rest) if value == "?" else value for value in arguments)


def source(name: str, keeps: str) -> str:
    """The last revision of each record: the table itself, or what is to be looked for among all revisions."""
    if keeps == "records":
        return quoted(name)
    if keeps == "history":
        # Where no revision is missing, the last one has no next one: an index of keys and revisions finds that out.
        follows = f"SELECT 1 FROM {quoted(name)} AS n WHERE n.key = every.key AND n.revision = every.revision + 1"
        return f"(SELECT * FROM {quoted(name)} AS every WHERE NOT EXISTS ({follows}))"
    if keeps == "log":
        # Revisions may be missing, and an index of keys and revisions finds whether there is any later one.
        later = f"SELECT 1 FROM {quoted(name)} AS n WHERE n.key = every.key AND n.revision > every.revision"
        return f"(SELECT * FROM {quoted(name)} AS every WHERE NOT EXISTS ({later}))"
    newest = f"SELECT *, MAX(revision) OVER (PARTITION BY key) AS lab_newest FROM {quoted(name)}"
    return f"(SELECT * FROM ({newest}) AS every WHERE revision = lab_newest)"


def live(query: Query, keeps: str) -> str:
    """Select the live records, joined with the other entity's if the query has one; conditions can be appended."""
    return f"SELECT {_chosen(query)} FROM {source(query.entity.name, keeps)} AS t{_other(query, keeps)}{LIVE}"


LIVE = " WHERE NOT t.deleted"


def cut(query: Query, keeps: str, by_key: bool) -> str:
    """Select as `live` does, of a query with a limit: the records are cut before others are looked up for them.

    `by_key`: only their keys are sorted, and their rows fetched afterwards: for an engine that stores rows, where an
    index can have all that the conditions and the order need.
    """
    table = source(query.entity.name, keeps)
    inner = f"SELECT {'t.key' if by_key else 't.*'} FROM {table} AS t{LIVE}{where(query)}{order(query)}"
    first = f"({inner}) AS lab_first JOIN {table} AS t ON t.key = lab_first.key" if by_key else f"({inner}) AS t"
    return f"SELECT {_chosen(query)} FROM {first}{_other(query, keeps)}{order(query)}"


def _chosen(query: Query) -> str:
    """The columns of an answer."""
    return columns(query.entity.row, "t") + "".join(f", o.{quoted(name)}" for name in query.take)


def _other(query: Query, keeps: str) -> str:
    """The join with the other entity's live records, if the query has one."""
    if query.other is None:
        return ""
    other = f"{source(query.other.name, keeps)} AS o ON o.key = t.{quoted(str(query.on))} AND NOT o.deleted"
    return f" LEFT JOIN {other}"


def where(query: Query) -> str:
    """The query's conditions, each after an AND."""
    return "".join(f" AND t.{quoted(item.column)} {item.operator} ?" for item in query.where)


def order(query: Query) -> str:
    """The query's order, made total by the key, and its limit."""
    direction = " DESC" if query.descending else ""
    by = f"t.{quoted(query.order_by)}{direction} NULLS LAST, " if query.order_by else ""
    limit = f" LIMIT {query.limit}" if query.limit else ""
    return f" ORDER BY {by}t.key{limit}"
