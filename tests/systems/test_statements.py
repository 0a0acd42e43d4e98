"""The SQL for systems that the lab doesn't run: parsed in each dialect, and run on PostgreSQL where it is like it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
import sqlglot
from click.testing import CliRunner
from documents import ROOT
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import BadInput
from lab.cli import lab
from lab.queries.answers import ReferenceTable
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.sql import bind
from lab.systems import SYSTEMS
from lab.systems.statements import SQL_SYSTEMS, STAGED, SqlStatement, SqlSystem, sql_system, statements
from lab.testing.sample import ITEM, SHELF, item, items
from lab.testing.store_answers import NOW, PAST, SHELVES

QUERIES = list({(query.kind, query.name): query for query, _ in NOW + PAST}.values())
EMPLOYEES = str(ROOT / "scenarios" / "employees.toml")
ENTITIES = {"item": ITEM, "shelf": SHELF}
each_system = pytest.mark.parametrize("system", SQL_SYSTEMS.values(), ids=SQL_SYSTEMS)
# Texts that every collation sorts alike, and that any of the servers can hold.
TEXTS = st.sampled_from([None, "a", "b", "c"])
VALUES = st.fixed_dictionaries(
    {
        "label": TEXTS,
        "parent": st.one_of(st.none(), st.integers(0, 0)),
        "shelf": TEXTS,
        "amount": st.one_of(st.none(), st.integers(-3, 3)),
        "weight": st.sampled_from([None, -1.5, 0.25]),
        "fragile": st.sampled_from([None, True, False]),
    }
)


@each_system
def test_every_statement_is_one_of_its_dialect(system: SqlSystem) -> None:
    for one in statements(ENTITIES.values(), QUERIES, system):
        assert bool(one.text) or one.why.startswith(("never: ", "not yet: "))
        if one.text:
            assert len(sqlglot.parse(one.text, read=system.dialect)) == 1
            assert "MERGE" not in one.text
            assert "CONFLICT" not in one.text
            assert "TRUNCATE" not in one.text


@each_system
def test_a_system_that_is_only_written_says_so(system: SqlSystem) -> None:
    assert SYSTEMS[system.system].level == ("dialect" if system.dialect == "redshift" else "written")


def test_names_that_are_words_elsewhere_are_quoted() -> None:
    for name, mark in (("sqlserver", "[key]"), ("oracle", '"key"')):
        for one in statements([ITEM], QUERIES, sql_system(name)):
            if one.use == "load" and "revision" in one.text:
                assert mark in one.text
                assert ".key" not in one.text


@st.composite
def batches(draw: st.DrawFn) -> list[pl.DataFrame]:
    """Revisions of a few records in any order, some of them twice, in batches of each key once."""
    rows = [
        item(key, revision, draw(st.integers(0, 4)) == 0, **draw(VALUES))
        for key in draw(st.lists(st.integers(1, 6), min_size=1, unique=True))
        for revision in range(1, draw(st.integers(1, 3)) + 1)
    ]
    made = items(*draw(st.permutations(rows)))
    again = made.sample(fraction=0.5, seed=draw(st.integers(0, 99)))
    every = pl.concat([made, again]) if draw(st.booleans()) else made
    return [part.unique("key", keep="last", maintain_order=True) for part in every.iter_slices(3)]


class OnPostgres:
    """Runs a system's statements on PostgreSQL, in a schema that is dropped."""

    def __init__(self, session: Any, system: SqlSystem) -> None:
        self.session, self.found = session, statements(ENTITIES.values(), QUERIES, system)

    def of(self, use: str, name: str) -> list[SqlStatement]:
        """The statements of one use."""
        return [one for one in self.found if one.use == use and one.name == name]

    def make(self) -> None:
        """Make the tables."""
        for one in self.found:
            if one.use == "table":
                self.session.execute(one.text)

    def load(self, entity: str, rows: pl.DataFrame, checkpoint: int, left_out: str = "nothing") -> None:
        """Fill the staging table, then run the statements that take it over, but for one."""
        names = ", ".join(f'"{name}"' for name in rows.columns)
        marks = ", ".join("?" * rows.width)
        for row in rows.rows():
            self.session.execute(f'INSERT INTO "{STAGED}{entity}" ({names}) VALUES ({marks})', row)
        for one in self.of("load", entity):
            if not one.text.startswith(left_out):
                self.session.execute(one.text, (checkpoint,) if "?" in one.text else ())

    def rows(self, entity: str) -> list[tuple[Any, ...]]:
        """What is there, by key."""
        names = ", ".join(f'"{name}"' for name in ENTITIES[entity].schema)
        return list(self.session.execute(f'SELECT {names} FROM "{entity}" ORDER BY "key"').fetchall())

    def ask(self, query: Query, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]] | None:
        """The rows of a query; None where there is no statement for it."""
        from lab.queries.kinds import translate

        place = QUERIES.index(next(one for one in QUERIES if (one.kind, one.name) == (query.kind, query.name)))
        one = [each for each in self.found if each.use == "query"][place]
        if not one.text:
            return None
        arguments = translate(query, "records", "postgres")[1]
        return list(self.session.execute(one.text, bind(arguments, parameters)).fetchall())


@pytest.fixture
def schema() -> Iterator[Any]:
    """A session whose schema is dropped at the end."""
    from lab.engines.postgres import Session
    from lab.servers.postgres import SERVER

    name = f"lab_statements_{secrets.token_hex(4)}"
    with SERVER.connect() as connection:
        session = Session(connection)
        session.execute(f"CREATE SCHEMA {name}")
        session.execute(f"SET search_path TO {name}")
        yield session
        session.execute(f"DROP SCHEMA {name} CASCADE")


def emptied(session: Any, system: SqlSystem) -> OnPostgres:
    """The tables, made anew."""
    for table in ("item", "shelf", f"{STAGED}item", f"{STAGED}shelf", "lab_checkpoint"):
        session.execute(f'DROP TABLE IF EXISTS "{table}"')
    made = OnPostgres(session, system)
    made.make()
    return made


def last(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).sort("revision").unique("key", keep="last").sort("key")


def tried(session: Any, system: SqlSystem) -> None:
    @settings(max_examples=examples(6), deadline=None)
    @given(history=batches())
    def landed(history: list[pl.DataFrame]) -> None:
        made, asked = emptied(session, system), set()
        for at, rows in enumerate(history, 1):
            made.load("item", rows, at)
        made.load("shelf", SHELVES, 9)
        must = last(history)
        assert made.rows("item") == must.rows()
        assert session.execute('SELECT * FROM "lab_checkpoint" ORDER BY 1').fetchall() == [
            ("item", len(history)),
            ("shelf", 9),
        ]
        tables = {"item": ReferenceTable(ITEM, must), "shelf": ReferenceTable(SHELF, SHELVES)}
        for query, parameters in NOW:
            if any(isinstance(value, str) and "\0" in value for value in parameters):
                # A text that PostgreSQL can't be asked for: a store of it answers without asking.
                continue
            if (found := made.ask(query, parameters)) is not None:
                expected = KINDS[query.kind].answer(query, parameters, tables)
                assert KINDS[query.kind].agrees(query, expected, found), (query, parameters, expected, found)
                asked.add(query.kind)
        assert asked >= {"get", "get_many", "filter", "aggregate", "join", "sql"}

    landed()


@pytest.mark.server("postgres")
def test_what_redshift_is_sent_lands_and_answers_right_on_postgresql(schema: Any) -> None:
    tried(schema, SQL_SYSTEMS["redshift"])


@pytest.mark.server("postgres")
def test_what_vertica_would_be_sent_does_so_too(schema: Any) -> None:
    tried(schema, SQL_SYSTEMS["vertica"])


@pytest.mark.server("postgres")
def test_without_the_delete_a_newer_row_would_not_land(schema: Any) -> None:
    made = emptied(schema, SQL_SYSTEMS["redshift"])
    made.load("item", items(item(1, 1, label="old")), 1)
    made.load("item", items(item(1, 2, label="new")), 2, left_out='DELETE FROM "item"')
    assert [row[2] for row in made.rows("item")] == [1]


def test_the_command_prints_what_there_is_and_why_there_is_no_more() -> None:
    found = CliRunner().invoke(lab, ["statements", EMPLOYEES, "--system", "sqlserver"])
    assert found.exit_code == 0, found.output
    assert "CREATE TABLE [employee]" in found.output
    assert "not yet: recursion" in found.output
    rows = json.loads(CliRunner().invoke(lab, ["statements", EMPLOYEES, "--system", "oracle", "--json"]).output)
    assert {row["use"] for row in rows} == {"table", "load", "query"}


def test_a_system_that_is_not_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean `redshift`"):
        sql_system("redshit")
