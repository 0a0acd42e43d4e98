"""A scenario's [[query]] becomes a Query; every mistake in it is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.base import Entity, Problem, nearest
from lab.queries.model import DRAWN, KINDS, OPERATORS, VALUES, WALKS, Condition, Query
from lab.queries.user_sql import NotUsable, marks, parsed, tables
from lab.scenario import QueryTable


def resolve(table: QueryTable, entities: Mapping[str, Entity], file: str) -> tuple[Query | None, list[Problem]]:
    """The query, or every problem of it; `file` is what the problems name as their place."""
    found = _Resolving(table, entities, f"{file}: query.{table.name}")
    query = found.query()
    return (None, found.problems) if found.problems else (query, [])


class _Resolving:
    def __init__(self, table: QueryTable, entities: Mapping[str, Entity], where: str) -> None:
        self.table, self.entities, self.where = table, entities, where
        self.problems: list[Problem] = []

    def wrong(self, key: str, what: str, way_out: str = "") -> None:
        self.problems.append(Problem(f"{self.where}.{key}", what, way_out))

    def known(self, key: str, word: str | None, valid: Sequence[str], what: str) -> bool:
        if word is None:
            self.wrong(key, f"`{self.table.kind}` needs it, and it is missing", "add it")
        elif word not in valid:
            self.wrong(key, f"no {what} `{word}`", nearest(word, valid))
        return word in valid

    def query(self) -> Query | None:
        table = self.table
        self.known("kind", table.kind, KINDS, "class of query")
        if not self.known("entity", table.entity, list(self.entities), "entity"):
            return None
        entity = self.entities[table.entity]
        self.columns(entity)
        self.kinds(entity)
        return Query(
            name=table.name,
            kind=table.kind,
            entity=entity,
            where=self.conditions(entity),
            order_by=table.order_by,
            descending=table.descending,
            limit=table.limit,
            count=table.count,
            group_by=table.group_by,
            sum=table.sum,
            on=table.on,
            other=self.other(entity),
            take=table.take,
            weight=table.weight,
            walk=table.walk,
            depth=table.depth,
            words=table.words,
            statement=table.sql or "",
            parameters=self.parameters(entity),
            uses=self.uses(entity),
        )

    def columns(self, entity: Entity) -> None:
        table, columns = self.table, list(entity.columns)
        if table.order_by is not None:
            self.known("order_by", table.order_by, [*columns, "key"], "column")
        for column in table.group_by:
            self.known("group_by", column, columns, "column")
        numeric = [name for name, kind in entity.columns.items() if kind in ("int", "float")]
        for column in table.sum:
            self.known("sum", column, numeric, "column of numbers")

    def kinds(self, entity: Entity) -> None:
        table = self.table
        if table.kind == "aggregate" and not table.group_by:
            self.wrong("group_by", "`aggregate` needs it, and it is missing", "add it")
        if table.kind == "traverse" and entity.parent is None:
            self.wrong("kind", f"`{entity.name}` has no parent column to traverse")
        if table.walk not in WALKS:
            self.wrong("walk", f"no walk `{table.walk}`", nearest(table.walk, WALKS))
        if table.kind == "search" and not entity.texts:
            able = [other.name for other in self.entities.values() if other.texts]
            self.wrong("kind", f"`{entity.name}` has no texts to search", f"texts are in: {', '.join(able) or 'none'}")
        if table.kind != "sql" and (table.sql is not None or table.parameters):
            self.wrong("sql", f"a statement of your own in a query of kind `{table.kind}`", 'kind = "sql"')

    def conditions(self, entity: Entity) -> tuple[Condition, ...]:
        conditions = []
        for column, value in self.table.where.items():
            if not self.known("where", column, [*entity.columns, "key"], "column"):
                continue
            operators = value if isinstance(value, dict) else {"equals": value}
            for operator, operand in operators.items():
                if not self.known(f"where.{column}", operator, list(OPERATORS), "operator"):
                    continue
                if operand != DRAWN and not isinstance(operand, VALUES[entity.kind(column)]):
                    what = f"{operand!r} is no value of `{column}`, which is {entity.kind(column)}"
                    self.wrong(f"where.{column}", what, 'or "?", to draw it from the data')
                else:
                    conditions.append(Condition(column, OPERATORS[operator], operand))
        return tuple(conditions)

    def other(self, entity: Entity) -> Entity | None:
        table, columns = self.table, list(entity.columns)
        if table.kind != "join":
            return None
        self.known("on", table.on, columns, "column")
        if not self.known("to", table.to, list(self.entities), "entity"):
            return None
        other = self.entities[str(table.to)]
        if table.on in columns and entity.kind(str(table.on)) != other.key:
            what = f"`{table.on}` is {entity.kind(str(table.on))}, and the key of `{other.name}` is {other.key}"
            self.wrong("on", what, "join on a column that holds the other's key")
        for column in table.take:
            self.known("take", column, list(other.columns), "column")
        return other

    def uses(self, entity: Entity) -> tuple[Entity, ...]:
        """The entities that a statement names."""
        if self.table.kind != "sql":
            return ()
        if not self.table.sql:
            self.known("sql", None, (), "")
            return ()
        try:
            tree = parsed(self.table.sql)
        except NotUsable as error:
            self.wrong("sql", str(error), error.way_out)
            return ()
        fit = [name for name in tables(tree) if self.known("sql", name, list(self.entities), "entity")]
        if marks(tree) != len(self.table.parameters):
            what = f"{marks(tree)} parameters `?`, and {len(self.table.parameters)} columns to draw them from"
            self.wrong("parameters", what, 'name a column for each, as in parameters = ["department"]')
        return tuple(self.entities[name] for name in fit if name != entity.name)

    def parameters(self, entity: Entity) -> tuple[tuple[str, str], ...]:
        """Of each parameter, the entity and the column that it is drawn from."""
        found = []
        for word in self.table.parameters:
            name, _, column = word.rpartition(".")
            name = name or entity.name
            if self.known("parameters", name, list(self.entities), "entity"):
                columns = [*self.entities[name].columns, "key"]
                if self.known("parameters", column, columns, "column"):
                    found.append((name, column))
        return tuple(found)
