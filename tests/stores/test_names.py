"""Names that engines have for themselves: each store takes them, or a line says why the scenario is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import TRUTHS

from lab.base import Batch, Entity
from lab.domain.employees import EMPLOYEES
from lab.domain.model import EventType
from lab.place import FolderPlace
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.stores import Layout, dump, embedded, store_class
from lab.truth import open_truth, truth_class
from lab.wiring import reserved

KEPT = [name for name in embedded() if name != "null"]
COLUMNS = (
    "_id", "_label", "_src", "_dst", "_nodes", "_row_offset", "rowid", "oid", "_rowid_", "id", "body", "rank", "bm25",
    "fts", "path", "content", "docid", "hidden", "select", "order", "group", "PRIMARY", "__index_level_0__", "a.b",
    "a b", "🦆", "naïve", "x" * 200, "group_0", "own_0", "c0", "t", "i", "n", "p0", "$p0", "?", "%s", "_embedded",
    "_id_", "before_live", "lab_results", "Total", "sum_amount", "value", "word", "item",
)  # fmt: skip
REFUSED = (
    "", "position", "Key", "revision", "DELETED", "committed_at", "event", "records", "lab_body", "lab_words",
    "lab_newest", "lab_reason", "TRUE", "false",
    'say "no"', "it's", "back`tick", "back\\slash", "new\nline", "nul\0", "x" * 201,
)  # fmt: skip
TABLES = ("order", "main", "temp", "duckdb_tables", "pragma_x", "node", "Item_fts", "item-2", "x" * 60, "_")
TABLES_REFUSED = (
    "",
    "sqlite_x",
    "SQLITE_Y",
    "lab_model",
    "lab_requests",
    "lab_timeline",
    "lab_checkpoint",
    "Totals",
    "a.b",
    "a b",
)


def entity(column: str, name: str = "item") -> Entity:
    kinds = {column: "str", "amount": "int", "above": "int"}
    return Entity(name, "int", kinds, indexes=((column,),), parent="above", texts=(column,))  # type: ignore[arg-type]


def problems(*entities: Entity) -> list[str]:
    business = SimpleNamespace(name="mine", entities={one.name: one for one in entities}, contracts={})
    return [str(problem) for problem in reserved.names(business, "mine.toml")]  # type: ignore[arg-type]


def try_out(store_name: str, one: Entity, folder: Path) -> None:
    """Write, ask, reset and fill a projection of records of this entity."""
    kind = store_class(store_name)
    store = kind(FolderPlace(folder), Layout(kind.holds[0], {one.name: one}, None, {"id": pl.Int64()}))
    column = next(iter(one.columns))
    rows = pl.DataFrame(
        [(1, 7, 1, False, 0.5, "hello", 3, None), (2, 8, 1, False, 0.5, None, 4, 7), (3, 9, 1, True, 0.5, "x", 4, 7)],
        schema=one.schema,
        orient="row",
    )
    store.open()
    store.apply(Batch(one.name, rows, 3, pl.DataFrame({"id": [1, 2, 3]})))
    assert dump(store, one.name).equals(rows)
    for table, parameters, expected in (
        ({"kind": "get"}, (7,), [(7, 1, "hello", 3, None)]),
        ({"kind": "filter", "where": {column: "?"}, "order_by": column}, ("hello",), [(7, 1, "hello", 3, None)]),
        ({"kind": "aggregate", "group_by": [column], "sum": ["amount"]}, (), [("hello", 1, 3), (None, 1, 4)]),
        ({"kind": "search"}, ("hello",), [(7,)]),
        ({"kind": "traverse", "walk": "below"}, (7,), [(8, 1)]),
        ({"kind": "sql", "sql": f'SELECT "{column}" FROM "{one.name}" WHERE amount = 3'}, (), [("hello",)]),
    ):
        words = {"name": "asked", "entity": one.name, **table}
        query, wrong = resolve(QueryTable.model_validate(words), {one.name: one}, "here")
        assert query is not None, wrong
        if store.answers_query(query):
            assert store.query(query, parameters) == expected, (table, store_name)
    store.close()
    store.open()
    assert store.checkpoint(one.name) == 3
    store.reset()
    store.bulk(one.name, [Batch(one.name, rows, 3)])
    assert dump(store, one.name).equals(rows)
    store.close()


def taken(store_name: str, one: Entity) -> bool:
    return not problems(one) and not reserved.in_store(store_class(store_name), [one], "mine.toml: projection.mine")


@pytest.mark.parametrize("store_name", KEPT)
def test_a_store_takes_every_name_that_is_not_refused(store_name: str, tmp_path: Path) -> None:
    for column in COLUMNS:
        assert not problems(entity(column)), column
    # A table of all of them at once, and each as the column that is indexed, searched and asked for.
    wide = entity("_id")
    fitting = [name for name in COLUMNS if taken(store_name, entity(name))]
    # A store refuses no more than a few.
    assert len(fitting) >= len(COLUMNS) - 2
    wide = replace(wide, columns={**wide.columns, **dict.fromkeys(fitting, "str")})
    kind = store_class(store_name)
    store = kind(FolderPlace(tmp_path / "wide"), Layout(kind.holds[0], {"item": wide}))
    store.open()
    values = [(1, 7, 1, False, 0.5, *(3 if name in ("amount", "above") else name for name in wide.columns))]
    rows = pl.DataFrame(values, schema=wide.schema, orient="row")
    store.apply(Batch("item", rows, 1))
    assert dump(store, "item").equals(rows)
    store.close()
    for number, column in enumerate(("_id", "rowid", "rank", "select", "a.b", "🦆")):
        if taken(store_name, entity(column)):
            try_out(store_name, entity(column), tmp_path / str(number))


@settings(max_examples=examples(2))
@given(column=st.sampled_from(COLUMNS) | st.text(min_size=1, max_size=20), name=st.sampled_from(TABLES))
def test_any_name_is_taken_by_every_store_or_refused(column: str, name: str, new_folder: Callable[[], Path]) -> None:
    folder, one = new_folder(), entity(column, name)
    for store_name in KEPT:
        if taken(store_name, one):
            try_out(store_name, one, folder / store_name)


@pytest.mark.parametrize("engine", TRUTHS)
@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_the_source_of_truth_takes_them_too(engine: str, model: str, tmp_path: Path) -> None:
    for number, name in enumerate(("order", "main", "duckdb_tables")):
        whole = Entity(name, "int", {**dict.fromkeys(COLUMNS, "str"), "amount": "int"})
        refused = {found.what for found in reserved.in_truth(truth_class(engine, model), [whole], "here")}
        columns = [column for column in COLUMNS if not any(f"`{column[:30]}" in what for what in refused)]
        # An engine refuses a name that is too long, and one with a character that it has none of in names.
        assert set(COLUMNS) - set(columns) <= {"x" * 200, "xmin", "🦆"}
        kinds = {**dict.fromkeys(columns, "str"), "amount": "int"}
        one = Entity(name, "int", kinds)  # type: ignore[arg-type]
        events = {name: {"made": EventType(tuple(kinds))}}
        business = SimpleNamespace(name="mine", entities={name: one}, contracts={}, events=events)
        rows = pl.DataFrame([(1, 7, 1, False, 0.5, *columns, 3)], schema=one.schema, orient="row")
        place = FolderPlace(tmp_path / str(number))
        truth = open_truth(engine, model, place, business, "normal")  # type: ignore[arg-type]
        truth.load(name, rows.with_columns(event=pl.lit("made")))
        assert truth.changes_since(name, 0, 10).select(rows.columns).equals(rows)
        truth.drop()


@pytest.mark.parametrize("column", REFUSED)
def test_a_column_that_no_store_could_tell_apart_is_refused_by_its_name(column: str) -> None:
    found = problems(entity(column))
    assert len(found) == 1
    assert "`item`: column" in found[0]
    assert "\n" not in found[0]
    assert "call it something else" in found[0]


@pytest.mark.parametrize("name", TABLES_REFUSED)
def test_an_entity_of_an_engines_own_name_is_refused(name: str) -> None:
    assert problems(entity("label", name))
    assert not problems(entity("label", "item"))


def test_names_that_differ_by_capital_letters_alone_are_refused() -> None:
    assert "capital letters" in problems(entity("label"), entity("label", "Item"))[0]
    assert "capital letters" in problems(replace(entity("label"), columns={"Name": "str", "name": "str"}))[0]


def test_a_column_of_the_stores_own_is_refused_with_the_way_out() -> None:
    (problem,) = reserved.in_store(store_class("sqlite.search"), [entity("RowID")], "mine.toml: projection.mine")
    said = str(problem)
    assert said.startswith("mine.toml: projection.mine.store: `sqlite.search` has a column `RowID` of its own")
    assert "take another store" in said


def test_shipped_domains_have_no_such_names() -> None:
    assert reserved.names(EMPLOYEES, "mine.toml") == []


def test_a_name_with_characters_that_an_engine_has_none_of_in_names_is_refused() -> None:
    for one in (entity("🦆"), entity("plain", "item𝒜")):
        said = [
            str(found) for found in reserved.in_store(store_class("mariadb.table"), [one], "mine.toml: projection.a")
        ]
        assert ["U+FFFF" in line for line in said] == [True]
        assert not reserved.in_store(store_class("sqlite.table"), [one], "mine.toml: projection.a")
