"""Queries as aggregation pipelines of MongoDB, which the server computes; and how columns are called there.

A column's name may have characters with a meaning in paths: they are written as in URLs. What a pipeline makes beside
the columns has names that no column gets so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bson.decimal128 import Decimal128

from lab.base import Entity
from lab.engines.mongodb import plain
from lab.queries.answers import Row
from lab.queries.kinds.traversal import meeting
from lab.queries.model import Query
from lab.queries.sql import DEPTH_MAX, bind

Document = Mapping[str, Any]
Pipeline = list[dict[str, Any]]
# The name of the collection of an entity's documents.
Named = Callable[[str], str]

_OPERATORS = {"=": "$eq", ">=": "$gte", "<": "$lt"}
_LIVE = {"deleted": False}
# What pipelines make: whether a column is null, the other record, records above and below, what was reached, depths.
# Below it are the columns of a deleted record, so that no link and no index leads to them.
TOMBSTONE = "%tombstone"
_NULL, _OTHER, _ABOVE, _BELOW, _FOUND, _DEPTH = "%n", "%o", "%a", "%b", "%f", "%d"
_WRITTEN = {ord(one): f"%{ord(one):02X}" for one in "%.$\0"}


def field(name: str) -> str:
    """The name of a column within a document."""
    if name == "key":
        return "_id"
    if name in ("", "_id"):
        return f"%{name}"
    return name.translate(_WRITTEN)


def pipeline(query: Query, parameters: Row, named: Named) -> Pipeline | None:
    """Return what the collection of the query's entity is asked; None where nothing can match.

    As in SQL, nothing equals null, or is more or less than it.
    """
    match query.kind:
        case "filter":
            found = _filtered(query, parameters)
            return found and [*found, _projected(query.entity)]
        case "join":
            found = _filtered(query, parameters)
            return found and [*found, _looked_up(query, named), _projected(query.entity, _OTHER)]
        case "aggregate":
            return _grouped(query, parameters)
        case "traverse":
            walk = {"below": _below, "near": _near, "path": _path}[query.walk]
            return walk(query, parameters, named(query.entity.name))
    raise AssertionError(query.kind)


def rows(query: Query, parameters: Row, found: Sequence[Document]) -> list[Row]:
    """The rows of an answer, from the documents that its pipeline gave."""
    match query.kind:
        case "aggregate":
            sums = range(len(query.sum))
            groups = range(len(query.group_by))
            return [
                (*(plain(one["_id"][f"g{at}"]) for at in groups), plain(one["records"]),
                 *(_exact(one[f"s{at}"]) for at in sums))
                for one in found
            ]  # fmt: skip
        case "traverse" if query.walk == "path":
            return _way(parameters, found)
        case "traverse":
            return [(plain(one["_id"]), int(one["depth"])) for one in found]
        case "join":
            names = [field(name) for name in query.take]
            return [
                (*row, *_taken(one[_OTHER], names))
                for row, one in zip(records(query.entity, found), found, strict=True)
            ]
    return records(query.entity, found)


def records(entity: Entity, found: Sequence[Document]) -> list[Row]:
    """Records as readers see them."""
    names = [field(name) for name in entity.row]
    return [tuple([plain(one[name]) for name in names]) for one in found]


def _taken(others: Sequence[Document], names: Sequence[str]) -> Row:
    return tuple(plain(others[0][name]) if others else None for name in names)


def _exact(value: Any) -> Any:
    # A sum of 64-bit integers as the server adds them ends as a float where it is too large for one.
    return int(value.to_decimal()) if isinstance(value, Decimal128) else plain(value)


def _matching(query: Query, parameters: Row) -> Pipeline | None:
    values = bind(tuple(condition.value for condition in query.where), parameters)
    if None in values:
        return None
    tests = [
        {field(one.column): {_OPERATORS[one.operator]: value}} for one, value in zip(query.where, values, strict=True)
    ]
    return [{"$match": {"$and": [_LIVE, *tests]}}]


def _filtered(query: Query, parameters: Row) -> Pipeline | None:
    """The live records that satisfy the conditions, in order: the server sorts nulls first, so they are told apart."""
    found = _matching(query, parameters)
    if found is None:
        return None
    direction, order = -1 if query.descending else 1, {"_id": 1}
    if query.order_by == "key":
        order = {"_id": direction}
    elif query.order_by:
        by = field(query.order_by)
        found.append({"$addFields": {_NULL: {"$eq": [f"${by}", None]}}})
        order = {_NULL: 1, by: direction, "_id": 1}
    return [*found, {"$sort": order}, *([{"$limit": query.limit}] if query.limit else [])]


def _projected(entity: Entity, *more: str) -> dict[str, Any]:
    return {"$project": dict.fromkeys([*(field(name) for name in entity.row), *more], 1)}


def _looked_up(query: Query, named: Named) -> dict[str, Any]:
    """The stage that finds the other record of each."""
    assert query.other is not None
    taken = {"$project": dict.fromkeys(["_id", *(field(name) for name in query.take)], 1)}
    return {
        "$lookup": {
            "from": named(query.other.name), "localField": field(str(query.on)), "foreignField": "_id", "as": _OTHER,
            "pipeline": [{"$match": _LIVE}, taken],
        }
    }  # fmt: skip


def _grouped(query: Query, parameters: Row) -> Pipeline | None:
    found = _matching(query, parameters)
    if found is None:
        return None
    groups = {f"g{at}": f"${field(name)}" for at, name in enumerate(query.group_by)}
    made: dict[str, Any] = {"_id": groups, "records": {"$sum": 1}}
    for at, name in enumerate(query.sum):
        value: Any = f"${field(name)}"
        made[f"s{at}"] = {"$sum": {"$toDecimal": value} if query.entity.kind(name) == "int" else value}
    nulls = {f"n{at}": {"$eq": [f"$_id.g{at}", None]} for at, _ in enumerate(query.group_by)}
    order = {name: 1 for at, _ in enumerate(query.group_by) for name in (f"n{at}", f"_id.g{at}")}
    return [*found, {"$group": made}, {"$addFields": nulls}, {"$sort": order}]


# -- along links -------------------------------------------------------------------------------------------------------


def _walk(query: Query, table: str, start: str, made: str, most: int, up: bool) -> dict[str, Any]:
    """The stage that follows links, up or down; of each record also after how many further steps.

    A deleted record has no links: none leads down to it, and the way up ends with it.
    """
    parent = field(str(query.entity.parent))
    along = {"connectFromField": parent, "connectToField": "_id"}
    if not up:
        along = {"connectFromField": "_id", "connectToField": parent}
    limits = {"depthField": _DEPTH, "maxDepth": most - 1}
    return {"$graphLookup": {"from": table, "startWith": start, **along, "as": made, **limits}}


def _below(query: Query, parameters: Row, table: str) -> Pipeline:
    return [
        {"$match": {"_id": parameters[0], **_LIVE}},
        _walk(query, table, "$_id", _BELOW, DEPTH_MAX, up=False),
        {"$unwind": f"${_BELOW}"},
        {"$project": {"_id": f"${_BELOW}._id", "depth": {"$add": [f"${_BELOW}.{_DEPTH}", 1]}}},
        *_ended(parameters[0]),
    ]


def _near(query: Query, parameters: Row, table: str) -> Pipeline:
    """Up first, and down from there: each record has one parent, so a step up after one down leads back."""
    above = {"key": "$$one._id", "steps": {"$add": [f"$$one.{_DEPTH}", 1]}}
    below = {"key": "$$one._id", "depth": {"$add": [f"$$one.{_DEPTH}", 1, f"${_ABOVE}.steps"]}}
    itself = [{"key": "$_id", "steps": {"$literal": 0}}]
    turned = [{"key": f"${_ABOVE}.key", "depth": f"${_ABOVE}.steps"}]
    return [
        {"$match": {"_id": parameters[0], **_LIVE}},
        _walk(query, table, f"${field(str(query.entity.parent))}", _FOUND, query.depth, up=True),
        {"$project": {_ABOVE: {"$concatArrays": [itself, _mapped(_FOUND, above, only_live=True)]}}},
        {"$unwind": f"${_ABOVE}"},
        _walk(query, table, f"${_ABOVE}.key", _FOUND, query.depth, up=False),
        {"$project": {_BELOW: {"$concatArrays": [turned, _mapped(_FOUND, below)]}}},
        {"$unwind": f"${_BELOW}"},
        {"$match": {f"{_BELOW}.depth": {"$lte": query.depth}}},
        {"$group": {"_id": f"${_BELOW}.key", "depth": {"$min": f"${_BELOW}.depth"}}},
        *_ended(parameters[0]),
    ]


def _path(query: Query, parameters: Row, table: str) -> Pipeline:
    """Both lines upwards."""
    return [
        {"$match": {"_id": {"$in": list(parameters)}, **_LIVE}},
        _walk(query, table, f"${field(str(query.entity.parent))}", _ABOVE, DEPTH_MAX, up=True),
        {"$project": dict.fromkeys([f"{_ABOVE}.{name}" for name in ("_id", "deleted", _DEPTH)], 1)},
    ]


def _way(ends: Row, found: Sequence[Document]) -> list[Row]:
    """The path, by way of where both lines meet; in a cycle a line ends before it comes to where it began."""
    lines = {one["_id"]: [each for each in one[_ABOVE] if not each["deleted"]] for one in found}
    sides = [(side, key) for side, key in enumerate(ends) if key in lines]
    begun: list[Row] = [(side, 0, key) for side, key in sides]
    above = [
        (side, int(one[_DEPTH]) + 1, plain(one["_id"]))
        for side, key in sides
        for one in lines[key]
        if one["_id"] != key
    ]
    return meeting([*begun, *above])


def _mapped(array: str, made: dict[str, Any], only_live: bool = False) -> dict[str, Any]:
    some: Any = f"${array}"
    if only_live:
        some = {"$filter": {"input": some, "as": "one", "cond": {"$not": ["$$one.deleted"]}}}
    return {"$map": {"input": some, "as": "one", "in": made}}


def _ended(start: Any) -> Pipeline:
    """Leave out the first record, which a cycle leads to again, and sort."""
    return [{"$match": {"_id": {"$ne": start}}}, {"$sort": {"depth": 1, "_id": 1}}]
