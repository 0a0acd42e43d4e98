"""Each class of query: its right answer is what engines give, over any records, by any names, for any valid table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from querying import SHELVES, histories, questions

from lab.base import Batch, Entity, stream
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable, Row, same
from lab.queries.kinds import KINDS, PAST
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.stores import Layout, Store, store_class
from lab.testing.sample import ENTITIES, ITEM, SHELF, ask, item, items, layout

STORES = ("memory", "sqlite.table", "duckdb.columnar")
TYPES = {"int": int, "float": float, "str": str, "bool": bool}


def resolved(table: dict[str, Any], entities: dict[str, Entity]) -> Query:
    query, problems = resolve(QueryTable.model_validate({"name": "q"} | table), entities, "test")
    assert query is not None, problems
    return query


def wrong(**table: Any) -> list[str]:
    """What is told about a table of items that is wrong."""
    words = {"name": "q", "entity": "item"} | table
    query, problems = resolve(QueryTable.model_validate(words), ENTITIES, "test")
    assert query is None
    return [str(problem) for problem in problems]


def holding(name: str, folder: Path, made: Layout, frames: dict[str, pl.DataFrame]) -> Store:
    store = store_class(name)(FolderPlace(folder / name), made)
    store.open()
    for entity, frame in frames.items():
        store.apply(Batch(entity, frame))
    return store


def answers_alike(stores: list[Store], query: Query, parameters: Row, tables: dict[str, ReferenceTable]) -> list[Row]:
    """The right answer, after every store that can answer has given it."""
    kind = KINDS[query.kind]
    expected = kind.answer(query, parameters, tables)
    for store in stores:
        if store.answers_query(query):
            found = store.query(query, parameters)
            assert kind.agrees(query, expected, found), (store.name, query, parameters, expected, found)
    return expected


def as_columns_say(query: Query, rows: list[Row]) -> bool:
    """Whether the rows have the columns that the class promises, each of its kind."""
    columns = KINDS[query.kind].columns(query)
    assert columns is not None
    assert len({column.name for column in columns}) == len(columns)
    return all(
        (column.nullable if value is None else type(value) is TYPES[str(column.kind)])
        for row in rows
        for column, value in zip(columns, row, strict=True)
    )


@pytest.mark.parametrize("keeps", ["records", "revisions"])
@settings(max_examples=examples(12), deadline=None)
@given(history=histories(), tables=st.lists(questions(), min_size=6, max_size=12), seed=st.integers(0, 9))
def test_whatever_is_resolved_is_drawn_and_answered_alike(
    keeps: str, history: pl.DataFrame, tables: list[dict[str, Any]], seed: int, new_folder: Callable[[], Path]
) -> None:
    kept = history if keeps == "revisions" else history.sort("revision").unique("key", keep="last", maintain_order=True)
    frames = {"item": kept, "shelf": SHELVES}
    references = {name: ReferenceTable(ENTITIES[name], frame) for name, frame in frames.items()}
    folder = new_folder()
    stores = [holding(name, folder, layout(keeps), frames) for name in STORES]
    for table in tables:
        query, problems = resolve(QueryTable.model_validate(table), ENTITIES, "test")
        assert (query is None) == bool(problems)
        if query is None or (keeps == "records" and query.kind in PAST):
            continue
        kind = KINDS[query.kind]
        for parameters in kind.draw(query, references, 2, stream(seed, "draw")):
            assert len(parameters) == sum(one.most for one in kind.parameters(query))
            assert as_columns_say(query, answers_alike(stores, query, parameters, references))
    for store in stores:
        store.close()


NAMES = ("one", "other", "tree", "near", "top", "newest", "t", "every", "w", "walk", "live_e", "q")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keeps", ["records", "revisions"])
def test_an_entity_and_its_columns_may_be_called_as_a_statement_calls_its_own(
    name: str, keeps: str, tmp_path: Path
) -> None:
    own = ("depth", "above", "found", "taken_0", "other", "own_0", "group_0", "newest", "wanted", "records", "sum_up")
    entity = Entity(name, "int", {"up": "int", **dict.fromkeys(own, "str")}, parent="up", texts=("found",))
    rows = [(at, at, 1, False, 0.0, at - 1 or None, *(f"{one} b" for one in own)) for at in (1, 2, 3)]
    frame = pl.DataFrame(rows, schema=entity.schema, orient="row")
    references = {name: ReferenceTable(entity, frame)}
    names = (*STORES, "sqlite.graph", "parquet.files", "sqlite.log")
    fit = [one for one in names if keeps in store_class(one).holds]
    stores = [holding(one, tmp_path, Layout(keeps, {name: entity}), {name: frame}) for one in fit]
    asked: list[tuple[dict[str, Any], Row, int]] = [
        ({"kind": "get"}, (2,), 1),
        ({"kind": "traverse"}, (1,), 2),
        ({"kind": "traverse", "walk": "near"}, (2,), 2),
        ({"kind": "traverse", "walk": "path"}, (1, 3), 3),
        ({"kind": "search"}, ("b",), 3),
        ({"kind": "join", "on": "up", "to": name, "take": ["found", "other", "depth"]}, (), 3),
        ({"kind": "aggregate", "group_by": ["records", "group_0", "sum_up"], "sum": ["up"]}, (), 1),
        ({"kind": "sql", "sql": f'SELECT up, COUNT(*) AS n FROM "{name}" GROUP BY up'}, (), 3),
    ]
    for table, parameters, count in asked:
        query = resolved(table | {"entity": name}, {name: entity})
        found = answers_alike(stores, query, parameters, references)
        assert len(found) == count
        assert query.kind == "sql" or as_columns_say(query, found)
    for store in stores:
        store.close()


def test_a_join_that_takes_nothing_is_answered_as_a_filter(tmp_path: Path) -> None:
    frames = {"item": items(item(1, shelf="a"), item(2)), "shelf": SHELVES}
    references = {name: ReferenceTable(ENTITIES[name], frame) for name, frame in frames.items()}
    stores = [holding(name, tmp_path, layout(), frames) for name in (*STORES, "parquet.files", "duckdb.files")]
    bare = ask(kind="join", on="shelf", to="shelf")
    assert answers_alike(stores, bare, (), references) == KINDS["filter"].answer(ask(kind="filter"), (), references)
    for store in stores:
        store.close()


def test_a_sum_beyond_64_bits_is_exact(tmp_path: Path) -> None:
    frame = items(item(1, shelf="a", amount=2**63 - 1), item(2, shelf="a", amount=2**63 - 1))
    stores = [holding(name, tmp_path, layout(), {"item": frame}) for name in ("duckdb.columnar", "parquet.files")]
    query = ask(kind="aggregate", group_by=["shelf"], sum=["amount"])
    assert answers_alike(stores, query, (), {"item": ReferenceTable(ITEM, frame)}) == [("a", 2, 2**64 - 2)]
    for store in stores:
        store.close()


def test_a_float_column_is_compared_with_a_whole_number_as_a_float(tmp_path: Path) -> None:
    frame = items(item(1, weight=2.0**60), item(2, weight=5.0))
    stores = [holding(name, tmp_path, layout(), {"item": frame}) for name in STORES]
    # No float is this number: it stands for the nearest one.
    query = ask(kind="filter", where={"weight": 2**60 + 1})
    assert [row[0] for row in answers_alike(stores, query, (), {"item": ReferenceTable(ITEM, frame)})] == [1]
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("column", "operand"),
    [
        ("amount", True), ("amount", 2**63), ("amount", -(2**63) - 1), ("amount", 1.0), ("amount", "1"),
        ("weight", float("nan")), ("weight", float("inf")), ("weight", 2**63), ("weight", False), ("weight", "1"),
        ("fragile", 1), ("fragile", "true"), ("label", 5), ("label", True), ("key", "a"), ("label", ["a"]),
    ],
)  # fmt: skip
def test_a_value_that_no_engine_could_compare_is_refused(column: str, operand: Any) -> None:
    (problem,) = wrong(kind="filter", where={column: operand})
    assert problem.startswith(f"test: query.q.where.{column}: {operand!r} is no value of `{column}`, which is ")


@pytest.mark.parametrize(("column", "operand"), [("amount", -(2**63)), ("weight", -(2**63)), ("fragile", False)])
def test_a_value_at_the_bounds_is_taken(column: str, operand: Any) -> None:
    assert ask(kind="filter", where={column: operand}).where[0].value == operand


def test_a_condition_without_an_operator_is_refused() -> None:
    assert wrong(kind="filter", where={"amount": {}}) == [
        "test: query.q.where.amount: a condition without an operator (valid: equals, at_least, less_than)"
    ]


@pytest.mark.parametrize("key", ["group_by", "sum", "take"])
def test_a_column_that_is_named_twice_is_refused(key: str) -> None:
    table: dict[str, Any] = {"kind": "aggregate", "group_by": ["shelf"], "sum": ["amount"]}
    if key == "take":
        table = {"kind": "join", "on": "shelf", "to": "shelf", "take": ["title"]}
    (problem,) = wrong(**table | {key: table[key] * 2})
    assert problem == f"test: query.q.{key}: `{table[key][0]}` is in it 2 times (name it once)"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT nope FROM item", 'Referenced column "nope" not found in FROM clause!'),
        ("SELECT nofunc(key) FROM item", "Scalar Function with name nofunc does not exist!"),
        ("SELECT title FROM item", 'Referenced column "title" not found in FROM clause!'),
        ("SELECT key FROM main.item", "no entity `main.item`"),
        ("SELECT * FROM read_csv('/etc/hosts')", "a table is made by a function"),
        (
            "WITH item AS (SELECT key FROM item) SELECT key FROM item",
            'Circular reference to CTE "item"',
        ),
        ("DELETE FROM item", "only one SELECT can be asked"),
        ("SELECT key FROM item; SELECT 1", "only one SELECT can be asked"),
    ],
)
def test_a_statement_that_can_not_be_run_is_refused_before_anything_runs(statement: str, told: str) -> None:
    (problem,) = wrong(kind="sql", sql=statement)
    assert problem.startswith(f"test: query.q.sql: {told}")


def test_a_statement_is_tried_with_parameters_of_their_columns_kinds() -> None:
    words = ["label", "amount", "weight", "fragile", "shelf.metres"]
    where = "label LIKE ? AND amount + 1 > ? AND round(weight) = ? AND fragile = ? AND weight < ?"
    assert len(ask(kind="sql", sql=f"SELECT key FROM item WHERE {where}", parameters=words).parameters) == 5


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        ask(kind="filter", limit=0)


def test_a_key_that_a_class_does_not_use_changes_nothing() -> None:
    plain = ask(kind="get")
    assert ask(kind="get", where={"shelf": "?", "amount": "?"}, limit=3, order_by="amount", walk="path") == plain


def test_parameters_have_names_of_their_own() -> None:
    where = {"amount": {"at_least": "?", "less_than": "?"}, "shelf": "?", "fragile": True, "key": "?"}
    found = KINDS["filter"].parameters(ask(kind="filter", where=where))
    assert [(one.name, one.kind, one.key) for one in found] == [
        ("amount_at_least", "int", False), ("amount_less_than", "int", False), ("shelf", "str", False),
        ("key", "int", True),
    ]  # fmt: skip
    named = Entity("e", "int", {"limit": "int", "timeout": "float"})
    query = resolved({"kind": "filter", "entity": "e", "where": {"limit": "?", "timeout": "?"}}, {"e": named})
    assert [one.name for one in KINDS["filter"].parameters(query)] == ["limit_2", "timeout_2"]
    sql = ask(kind="sql", sql="SELECT key FROM item WHERE shelf = ? OR shelf > ?", parameters=["shelf", "shelf.key"])
    assert [(one.name, one.kind) for one in KINDS["sql"].parameters(sql)] == [("shelf", "str"), ("key", "str")]


def test_what_a_caller_gives_becomes_what_a_store_takes() -> None:
    many = ask(kind="get_many", count=4)
    assert KINDS["get_many"].given(many, [7, 9]) == (7, 9, 9, 9)
    assert KINDS["search"].given(ask(kind="search"), ["Don't STOP,  ever"]) == ("don t stop ever",)


def test_a_ranked_answer_is_any_of_the_matches_and_as_many_as_the_limit() -> None:
    kind, query = KINDS["search"], ask(kind="search", limit=2)
    every = [(1,), (2,), (3,)]
    assert kind.agrees(query, every, [(3,), (1,)])
    for found in ([(1,)], [(1,), (1,)], [(1,), (4,)], every):
        assert not kind.agrees(query, every, found)


def test_rows_of_a_statement_may_come_in_any_order_and_no_others_may() -> None:
    rows: list[Row] = [(1, 0.1 + 0.2), (2, None), (None, "a")]
    again: list[Row] = [(None, "a"), (2, None), (1, 0.3)]
    assert KINDS["sql"].agrees(ask(kind="sql", sql="SELECT key FROM item"), rows, again)
    assert not KINDS["filter"].agrees(ask(kind="filter"), rows, again)
    assert not KINDS["sql"].agrees(ask(kind="sql", sql="SELECT key FROM item"), rows, again[1:])


def test_numbers_are_the_same_within_rounding_and_nan_is_itself() -> None:
    assert same([(float("nan"), 1)], [(float("nan"), 1.0)])
    assert not same([(float("nan"),)], [(1.0,)])
    assert not same([(1,)], [("1",)])


def test_only_what_keeps_it_answers_a_question() -> None:
    totals = layout("totals").totals
    aggregate = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"])
    narrowed = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"], where={"shelf": "a"})
    for name, kind in KINDS.items():
        query = Query("q", name, ITEM)
        assert kind.answered_from(query, "revisions", ["item"], None)
        assert kind.answered_from(query, "records", ["item"], None) == (name not in PAST)
        assert not kind.answered_from(query, "totals", ["item"], totals)
        assert not kind.answered_from(query, "revisions", ["shelf"], None)
    assert KINDS["aggregate"].answered_from(aggregate, "totals", ["item"], totals)
    assert not KINDS["aggregate"].answered_from(narrowed, "totals", ["item"], totals)


def test_nothing_is_drawn_where_there_is_nothing() -> None:
    gone = items(item(1, 1, True, label="a"))
    for frame in (ITEM.empty(), gone):
        references = {"item": ReferenceTable(ITEM, frame), "shelf": ReferenceTable(SHELF, SHELF.empty())}
        for name, kind in KINDS.items():
            if name not in PAST or not frame.height:
                assert kind.draw(Query("q", name, ITEM), references, 3, stream(1, "draw")) == []


def test_the_documentation_has_the_classes_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "scenarios" / "README.md").read_text(encoding="utf-8")
    rows = [
        f"| `{kind.name}` | {kind.asks} | {kind.gives} | {', '.join(f'`{key}`' for key in kind.uses)} |"
        for kind in KINDS.values()
    ]
    assert "\n".join(rows) in page
    assert {key for kind in KINDS.values() for key in kind.uses} <= QueryTable.model_fields.keys()
