"""A user's own SELECT, translated for each SQL engine. Only this class needs sqlglot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from lab.base import Entity, NotAnswered
from lab.decimals import stored
from lab.queries import user_sql
from lab.queries.answers import ReferenceTable, Row, same
from lab.queries.kinds.base import Pool, QueryClass, Statement, apart
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.reader import QueryReader
from lab.queries.sql import columns, source

# A value of each kind, for a statement that is only tried.
SAMPLES: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", "bool": False}


class UserStatement(QueryClass):
    """`sql`: whatever a statement of the user's own asks for, over live records."""

    name = "sql"
    asks = "whatever a statement of your own asks for"
    gives = "whatever the statement gives, in any order"
    uses = ("sql", "parameters")
    own = True

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Parse the statement; find the entities that it names and the columns that its parameters are drawn from."""
        uses, parameters = self._named(reader), self._sources(reader)
        if not reader.problems:
            named = {one.name: one for one in (reader.entity, *uses)}
            values = [SAMPLES[stored(kind)] for _, _, kind in parameters]
            try:
                user_sql.check_names(str(reader.table.sql), values, named, reader.engines)
            except user_sql.NotUsable as error:
                reader.wrong("sql", str(error), error.way_out)
        return {"statement": reader.table.sql or "", "uses": uses, "parameters": parameters}

    def _named(self, reader: QueryReader) -> tuple[Entity, ...]:
        """The entities that the statement names, beside the query's own."""
        table = reader.table
        if not table.sql:
            reader.missing("sql")
            return ()
        try:
            tree = user_sql.parsed(table.sql)
        except user_sql.NotUsable as error:
            reader.wrong("sql", str(error), error.way_out)
            return ()
        names = [name for name in user_sql.tables(tree) if reader.known("sql", name, list(reader.entities), "entity")]
        if user_sql.marks(tree) != len(table.parameters):
            what = f"{user_sql.marks(tree)} parameters `?`, and {len(table.parameters)} columns to draw them from"
            reader.wrong("parameters", what, 'name a column for each, as in parameters = ["department"]')
        return tuple(reader.entities[name] for name in names if name != reader.entity.name)

    def _sources(self, reader: QueryReader) -> tuple[tuple[str, str, str], ...]:
        """Of each parameter, the entity, the column and the kind of what it is drawn from."""
        found = []
        for word in reader.table.parameters:
            name, _, column = word.rpartition(".")
            name = name or reader.entity.name
            if reader.known("parameters", name, list(reader.entities), "entity"):
                names = [*reader.entities[name].columns, "key"]
                if reader.known("parameters", column, names, "column"):
                    found.append((name, column, reader.entities[name].told(column)))
        return tuple(found)

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw values of live records; the list is empty if a column has no value."""
        drawn = []
        for entity, column, _ in query.parameters:
            values = pool.tables[entity].live[column].drop_nulls()
            if not values.len():
                return []
            drawn.append(values.gather(rng.integers(values.len(), size=count)).to_list())
        return list(zip(*drawn, strict=True)) if drawn else [()] * count

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """One for each `?`, named by the column that it is drawn from."""
        return apart([(column, kind) for _, column, kind in query.parameters])

    def columns(self, query: Query) -> tuple[AnswerColumn, ...] | None:
        """The names that the statement gives them, of unknown kinds; None if one is missing or occurs twice."""
        names = list(user_sql.parsed(query.statement).named_selects)
        if "*" in names or len(set(names)) < len(names) or not all(names):
            return None
        return tuple(AnswerColumn(name, None) for name in names)

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Run the statement in an engine of its own over the live records.

        Raises NotAnswered where it can't be worked out over these: a number may be too large for its type.
        """
        used = [tables[entity.name] for entity in (query.entity, *query.uses)]
        frames = {one.entity.name: one.live.select(one.entity.row) for one in used}
        try:
            return user_sql.reference(query.statement, parameters, frames)
        except user_sql.NotUsable as error:
            raise NotAnswered(f"{query.name}: {error}") from None

    def agrees(self, query: Query, expected: Sequence[Row], found: Sequence[Row]) -> bool:
        """True if the rows are the same in any order."""
        return same(sorted(expected, key=_order), sorted(found, key=_order))

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """The statement in the engine's dialect, after definitions of the live records."""
        sources = {
            entity.name: f"SELECT {columns(entity.row)} FROM {source(entity.name, keeps)} AS t WHERE NOT deleted"
            for entity in (query.entity, *query.uses)
        }
        return user_sql.with_live(query.statement, dialect, sources), ("?",) * len(query.parameters)


def _order(row: Row) -> tuple[tuple[int, Any], ...]:
    """A sort key for rows of any values; floats that differ by rounding only are sorted together."""
    return tuple(
        (0, 0)
        if value is None
        else (1, float(f"{float(value):.6g}"))
        if isinstance(value, int | float | Decimal)
        else (2, str(value))
        for value in row
    )
