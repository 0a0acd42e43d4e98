"""A query in Cypher. Parameters are bound, `$p0`, `$p1` and so on, in the order of `lab.queries.model`.

A record that stands above none has at most one record above it: downwards there is one way to each record, so that a
walk needs no memory of where it has been. Order is always made total (nulls last, then the key).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.queries.answers import Row, sought
from lab.queries.model import Query
from lab.queries.sql import DEPTH_MAX, bind

# What the engine calls properties of its own.
RESERVED = frozenset(
    ("rowid", "_id", "_label", "_src", "_dst", "_direction", "_length", "_nodes", "_rels", "_place_holder")
) | {"_row_offset", "_src_offset", "_dst_offset"}

__all__ = ["DEPTH_MAX", "bound", "column", "links", "path", "quoted", "translate"]


def quoted(name: str) -> str:
    """Quote a name as a Cypher identifier."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> str:
    """Quote the name of an entity's column; one that the engine has for itself gets another name."""
    return quoted(f"lab:{name}" if name.lower() in RESERVED else name)


def links(entity: str) -> str:
    """Return the name of the table of links between an entity's records."""
    return quoted(f"lab_links_{entity}")


def translate(query: Query) -> str:
    """Return the statement. Of a path it gives the two ways up to where they meet: see `path`."""
    match query.kind:
        case "get":
            return f"{_live(query)} AND n.key = $p0 RETURN {_columns(query)}"
        case "get_many":
            one = f"UNWIND $p0 AS wanted MATCH (n:{quoted(query.entity.name)} {{key: wanted}}) WHERE NOT n.deleted"
            return f"{one} RETURN {_columns(query)} ORDER BY n.key"
        case "filter":
            limit = f" LIMIT {query.limit}" if query.limit else ""
            return f"{_matching(query)} RETURN {_columns(query)} ORDER BY {_order(query)}{limit}"
        case "aggregate":
            return _aggregate(query)
        case "traverse":
            return _WALKS[query.walk](query)
    raise AssertionError(query.kind)


def bound(query: Query, parameters: Row) -> dict[str, Any]:
    """Return the parameters by the names that the statement has for them: the keys of a list are one of them."""
    if query.kind == "get_many":
        return {"p0": sought(parameters)}
    values = parameters
    if query.where:
        values = bind(tuple(condition.value for condition in query.where), parameters)
    return {f"p{place}": value for place, value in enumerate(values)}


def path(found: Sequence[Row], one: Any, other: Any) -> list[Row]:
    """Step and key along the way from one record to another, by the two ways up of `translate`."""
    if not found:
        return []
    top, up, between, down, below = found[0]
    way = [one, *between, top] if up else [one]
    back = [other, *below] if down else []
    return list(enumerate([*way, *reversed(back)]))


def _live(query: Query) -> str:
    return f"MATCH (n:{quoted(query.entity.name)}) WHERE NOT n.deleted"


def _columns(query: Query) -> str:
    return ", ".join(f"n.{column(name)}" for name in query.entity.row)


def _matching(query: Query) -> str:
    tests = (f" AND n.{column(item.column)} {item.operator} $p{place}" for place, item in enumerate(query.where))
    return _live(query) + "".join(tests)


def _order(query: Query) -> str:
    key = _by(query, "key", "n.key")
    if not query.order_by:
        return key
    by = _sorted(query, query.order_by)
    return f"{by} IS NULL, {_by(query, query.order_by, by, ' DESC' if query.descending else '')}, {key}"


def _by(query: Query, name: str, sorted_by: str, direction: str = "") -> str:
    """What to sort by. The engine takes a text with NULs at its end for equal to the same text without them."""
    length = f", size({sorted_by}){direction}" if query.entity.kind(name) == "str" else ""
    return f"{sorted_by}{direction}{length}"


def _sorted(query: Query, name: str) -> str:
    """A column as it can be sorted by: the engine puts a negative zero below all other numbers."""
    plain = f"n.{column(name)}"
    return f"({plain} + 0.0)" if query.entity.kind(name) == "float" else plain


def _aggregate(query: Query) -> str:
    groups = [f"{_sorted(query, name)} AS g{place}" for place, name in enumerate(query.group_by)]
    sums = [f"coalesce(sum(n.{column(name)}), 0) AS s{place}" for place, name in enumerate(query.sum)]
    order = ", ".join(f"g{place} IS NULL, {_by(query, name, f'g{place}')}" for place, name in enumerate(query.group_by))
    return f"{_matching(query)} RETURN {', '.join([*groups, 'count(*) AS records', *sums])} ORDER BY {order}"


def _reached(query: Query, step: str) -> str:
    node = quoted(query.entity.name)
    ends = f"MATCH (a:{node} {{key: $p0}}){step}(b:{node}) WHERE NOT a.deleted AND NOT b.deleted AND b.key <> a.key"
    return f"{ends} RETURN b.key AS key, min(length(way)) AS depth ORDER BY depth, key"


def _below(query: Query) -> str:
    return _reached(query, f"<-[way:{links(query.entity.name)}*1..{DEPTH_MAX}]-")


def _near(query: Query) -> str:
    live = "(link, passed | WHERE NOT passed.deleted)"
    return _reached(query, f"-[way:{links(query.entity.name)}*1..{query.depth} {live}]-")


def _path(query: Query) -> str:
    """Both ways upwards, each along links of live records; where they meet first is the top of the path."""
    node, up = quoted(query.entity.name), f"{links(query.entity.name)}*0..{DEPTH_MAX}"
    one = f"MATCH (a:{node} {{key: $p0}})-[way:{up}]->(top:{node})"
    other = f"MATCH (b:{node} {{key: $p1}})-[back:{up}]->(top)"
    found = "top.key, length(way) AS up, properties(nodes(way), 'key'), length(back) AS down"
    return (
        f"{one} {other} WHERE NOT a.deleted AND NOT b.deleted AND NOT top.deleted "
        f"RETURN {found}, properties(nodes(back), 'key') ORDER BY up + down, up LIMIT 1"
    )


_WALKS = {"below": _below, "near": _near, "path": _path}
