"""A user's own statement: written once, and translated for each SQL engine by sqlglot.

It is written as for DuckDB, names entities as tables, and sees live records with the columns that a reader sees. Its
rows are compared without regard to their order; with a LIMIT, an order that isn't total lets engines differ rightly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

DIALECT = "duckdb"
# What a statement's entity is called within it: the table of that name may hold deleted records, too.
LIVE = "lab_live_"


class NotUsable(Exception):
    """A statement that can't be run, with the way out."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(what)
        self.way_out = way_out


@lru_cache(maxsize=256)
def parsed(statement: str) -> Any:
    """The statement as sqlglot sees it. Raises NotUsable for one that isn't a single query."""
    try:
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError
    except ModuleNotFoundError:
        way_out = "get it with: pip install 'polyglot-lab[sql]'"
        raise NotUsable("a statement of your own needs sqlglot, which is not installed", way_out) from None
    try:
        found = sqlglot.parse(statement, read=DIALECT)
    except SqlglotError as error:
        first = str(error).splitlines()[0]
        raise NotUsable(f"not a statement: {first}", "write it as for DuckDB") from None
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise NotUsable("only one SELECT can be asked: a query never changes a projection", "write a single SELECT")
    return found[0]


def tables(tree: Any) -> list[str]:
    """The tables that the statement names, each once, but for those that it makes itself."""
    from sqlglot import exp

    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    named = [f"{table.db}.{table.name}" if table.db else table.name for table in tree.find_all(exp.Table)]
    return list(dict.fromkeys(name for name in named if name not in own))


def marks(tree: Any) -> int:
    """How many parameters the statement has."""
    from sqlglot import exp

    return len(list(tree.find_all(exp.Placeholder)))


@lru_cache(maxsize=1024)
def translated(statement: str, dialect: str) -> str:
    """The statement in the engine's dialect, its tables renamed to what `with_live` calls the live records."""
    from sqlglot import exp

    tree = parsed(statement).copy()
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if table.name not in own:
            alias = table.alias or table.name
            table.set("this", exp.to_identifier(LIVE + table.name, quoted=True))
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    found: str = tree.sql(dialect=dialect)
    return found


def with_live(statement: str, dialect: str, sources: Mapping[str, str]) -> str:
    """The translated statement after definitions of the live records: entity to the SELECT that gives them."""
    tree = parsed(statement)
    text = translated(statement, dialect)
    mine = ", ".join(f'"{LIVE}{name}" AS ({source})' for name, source in sources.items())
    if tree.args.get("with_") is None and tree.args.get("with") is None:
        return f"WITH {mine} {text}"
    rest = text.removeprefix("WITH ")
    recursive = rest.startswith("RECURSIVE ")
    return f"WITH {'RECURSIVE ' if recursive else ''}{mine}, {rest.removeprefix('RECURSIVE ')}"


def reference(statement: str, parameters: Iterable[Any], frames: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The right rows, from frames of live records in an engine of its own that holds nothing else.

    Raises NotUsable where a value is out of the range of its type.
    """
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
    with duckdb.connect(":memory:", config=config) as connection:
        for name, frame in frames.items():
            connection.register(LIVE + name, frame.to_arrow())
        try:
            return connection.execute(translated(statement, DIALECT), list(parameters)).fetchall()
        except (duckdb.OutOfRangeException, duckdb.ConversionException) as error:
            raise NotUsable(str(error).splitlines()[0], "cast to a wider type, as in `CAST(x AS DOUBLE)`") from None


def check_names(statement: str, parameters: Iterable[Any], frames: Mapping[str, Any]) -> None:
    """Run the statement over empty frames. Raises NotUsable if it names a column or a function that is not there."""
    import duckdb

    try:
        reference(statement, parameters, frames)
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        what = str(error).splitlines()[0].partition(": ")[2]
        raise NotUsable(what, "a table has the columns `key`, `revision` and its entity's own") from None
