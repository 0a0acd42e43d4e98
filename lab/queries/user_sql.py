"""A user's own statement: written once, and translated for each SQL engine by sqlglot.

It is written as for DuckDB, names entities as tables, and sees live records with the columns that a reader sees. Its
rows are compared without regard to their order; with a LIMIT, an order that isn't total lets engines differ rightly.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Any

from lab.base import Entity, NoAnswer
from lab.engines import budget, duckdb
from lab.formatting import first_line
from lab.queries.sql import columns, quoted

DIALECT = "duckdb"
# Binding takes milliseconds; what takes longer computes something.
BIND_SECONDS = 2.0
# What another moment, another machine or another engine answers differently. In the words of sqlglot, which has one for
# several of an engine's, and of DuckDB.
_VOLATILE = """
    clock_timestamp current_catalog current_connection_id current_database current_date current_datetime
    current_localtime current_localtimestamp current_query current_query_id current_role current_schema current_schemas
    current_setting current_time current_timestamp current_transaction_id current_user current_version currval
    gen_random_uuid get_current_time get_current_timestamp getdate getenv getvariable in_search_path localtime
    localtimestamp nextval now pg_backend_pid rand randn random session_user setseed sleep_ms today
    transaction_timestamp txid_current user utc_date utc_time utc_timestamp uuid uuidv4 uuidv7 version write_log
"""
VOLATILE = frozenset(_VOLATILE.split())
# Functions that make a large value out of a number, at once and without looking at any clock.
BUILDERS, BUILT_MAX = frozenset(("repeat", "lpad", "rpad", "pad", "range", "generate_series", "space")), 100_000
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
        raise NotUsable(f"not a statement: {first_line(error)[:200]}", "write it as for DuckDB") from None
    except RecursionError:
        raise NotUsable("not a statement: nested too deeply", "write it as for DuckDB") from None
    if len(found) != 1 or not isinstance(found[0], exp.Query) or found[0].find(exp.DML, exp.DDL, exp.Command):
        raise NotUsable("only one SELECT can be asked: a query never changes a projection", "write a single SELECT")
    _check(found[0])
    return found[0]


def _check(tree: Any) -> None:
    """Refuse what isn't answered by the data alone: each engine, or each moment, would answer otherwise."""
    from sqlglot import exp

    for function in tree.find_all(exp.Func):
        name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()
        if name in VOLATILE:
            what = f"`{name}` has another value each time, or elsewhere: no answer is the right one"
            raise NotUsable(what, "take it from a column, or from a parameter `?`")
        if name in BUILDERS and any(_number(part) > BUILT_MAX for part in function.iter_expressions()):
            raise NotUsable(f"`{name}` would make a value of more than {BUILT_MAX:,}", "a smaller number")
    for distinct in tree.find_all(exp.Distinct):
        if (
            distinct.args.get("on") is not None
            and distinct.parent is not None
            and not distinct.parent.args.get("order")
        ):
            raise NotUsable("a DISTINCT ON without an ORDER BY: which rows it leaves is not said", "add ORDER BY")
    if tree.find(exp.TableSample):
        raise NotUsable("a sample is another one each time", "leave it out")
    for part in tree.find_all(exp.Limit, exp.Offset, exp.Fetch):
        if part.parent is not None and part.parent.args.get("order") is None:
            raise NotUsable("a LIMIT without an ORDER BY: which rows it leaves is not said", "add ORDER BY ..., key")
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            what = "a table is made by a function, which has nothing to do with the entities"
            raise NotUsable(what, "name an entity, or a WITH of your own")
    for mark in tree.find_all(exp.Placeholder, exp.Parameter):
        if mark.this is not None:
            raise NotUsable("a parameter with a name or a number", "write `?`, and name its column in `parameters`")


def _number(part: Any) -> float:
    """The value of a literal number; 0 for anything else."""
    if not getattr(part, "is_number", False):
        return 0.0
    try:
        return abs(float(part.name))
    except ValueError:
        return 0.0


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
    # Some dialects would write another mark.
    for mark in list(tree.find_all(exp.Placeholder)):
        mark.replace(exp.Var(this="?"))
    try:
        found: str = tree.sql(dialect=dialect)
    except RecursionError:
        raise NotUsable("nested too deeply", "write it as for DuckDB") from None
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

    Raises NoAnswer if it comes to none.
    """
    with _engine(frames) as connection:
        return budget.answer(connection, translated(statement, DIALECT), list(parameters))


def _engine(frames: Mapping[str, Any]) -> Any:
    connection = duckdb.connect_memory(None)
    for name, frame in frames.items():
        connection.register(LIVE + name, frame.to_arrow())
    return connection


def check_names(
    statement: str, parameters: Iterable[Any], entities: Mapping[str, Entity], others: Iterable[str]
) -> None:
    """Bind the statement without running it, in DuckDB and in the dialects of other engines that will be asked.

    Raises NotUsable if it names a column or a function that is not there.
    """
    way_out = "a table has the columns `key`, `revision` and its entity's own"
    values = list(parameters)
    with _engine({name: one.empty().select(one.row) for name, one in entities.items()}) as connection:
        # Nothing is to be computed while a plan is made.
        connection.execute("SET disabled_optimizers = 'expression_rewriter,statistics_propagation'")
        try:
            budget.answer(connection, f"EXPLAIN {translated(statement, DIALECT)}", values, BIND_SECONDS)
        except NoAnswer as error:
            what = str(error).partition("Error: ")[2] or str(error)
            raise NotUsable(what[:300], way_out) from None
    if "sqlite" in others:
        _check_in_sqlite(statement, values, entities)


def _check_in_sqlite(statement: str, values: list[Any], entities: Mapping[str, Entity]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name, entity in entities.items():
            connection.execute(f"CREATE TABLE {quoted(LIVE + name)} ({columns(entity.row)})")
        try:
            budget.answer(connection, f"EXPLAIN {translated(statement, 'sqlite')}", values, BIND_SECONDS)
        except NoAnswer as error:
            what = f"SQLite can't run it: {str(error).removeprefix('the engine refuses it: ')}"
            way_out = "leave it to other projections by their `queries`, or write it otherwise"
            raise NotUsable(what[:300], way_out) from None
