"""Sums of whole numbers are exact in every store and in the source of truth, however large; or they are refused."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import TRUTHS

from lab.base import Batch, CannotTake, NotAnswered
from lab.domain.employees import EMPLOYEES
from lab.measure import asked, queries
from lab.place import FolderPlace
from lab.projection.guards import guarded_layout
from lab.projection.projector import Projector
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.service.answers import rows_page
from lab.service.problems import encoded
from lab.service.values import named
from lab.stores import dump, embedded, store_class
from lab.testing.sample import BY_SHELF, ITEM, ask, item, items, layout, sums
from lab.truth import open_truth

Rows = list[tuple[str, int | None]]
LEAST, MOST = -(2**63), 2**63 - 1
EXTREMES = st.sampled_from([LEAST, LEAST + 1, -(2**53) - 1, -1, 0, 1, 2**31, 2**32 - 1, 2**53 + 1, MOST - 1, MOST])
AMOUNTS = st.lists(st.tuples(st.sampled_from("ab"), st.none() | EXTREMES), min_size=1, max_size=12)
QUERY = ask(kind="aggregate", group_by=["shelf"], sum=["amount"])
ASKED = [
    name
    for name in embedded()
    if name != "null" and store_class(name).can_answer(QUERY, layout(store_class(name).holds[0]))
]
ADDING = [name for name in embedded() if name != "null" and "totals" in store_class(name).holds]


def test_the_core_stores_are_among_those_that_sum() -> None:
    core = {"memory", "sqlite.table", "duckdb.columnar"}
    assert core <= set(ASKED)
    assert core <= set(ADDING)


def added(rows: Rows) -> list[tuple[str, int, int]]:
    """The groups, how many rows each has, and their sum."""
    groups: dict[str, list[int]] = defaultdict(list)
    for shelf, amount in rows:
        groups[shelf].append(amount or 0)
    return [(shelf, len(amounts), sum(amounts)) for shelf, amounts in sorted(groups.items())]


@settings(max_examples=examples(3))
@given(rows=AMOUNTS)
def test_an_aggregate_is_exact_in_every_store(
    rows: list[tuple[str, int | None]], new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    frame = items(*(item(key, shelf=shelf, amount=amount) for key, (shelf, amount) in enumerate(rows)))
    assert KINDS["aggregate"].answer(QUERY, (), {"item": ReferenceTable(ITEM, frame)}) == added(rows)
    for name in ASKED:
        kind = store_class(name)
        store = kind(FolderPlace(folder / name), layout(kind.holds[0]))
        store.open()
        store.apply(Batch("item", frame))
        assert store.query(QUERY, ()) == added(rows), name
        store.close()


@pytest.mark.parametrize("engine", TRUTHS)
@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_an_aggregate_is_exact_in_the_source_of_truth(engine: str, model: str, tmp_path: Path) -> None:
    entity = EMPLOYEES.entities["employee"]
    table = {"name": "pay", "kind": "aggregate", "entity": "employee", "group_by": ["department"], "sum": ["salary"]}
    query, _ = resolve(QueryTable.model_validate(table), EMPLOYEES.entities, "here")
    assert query is not None
    salaries = [MOST, MOST, -5, None]
    rows = [
        {
            "position": at,
            "key": at,
            "revision": 1,
            "deleted": False,
            "committed_at": 0.0,
            "department": "a",
            "salary": pay,
        }
        for at, pay in enumerate(salaries, 1)
    ]
    frame = pl.DataFrame(rows, schema=entity.schema).with_columns(event=pl.lit("hired"))
    truth = open_truth(engine, model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    truth.load("employee", frame)
    # A stream of events is asked by key alone.
    assert truth.answers(query) == (model != "events")
    if truth.answers(query):
        assert truth.query(query, ()) == [("a", 4, 2 * MOST - 5)]
    truth.close()


def test_a_sum_beyond_64_bits_is_exact_in_an_answer_and_in_what_the_answer_is_said_to_be() -> None:
    rows = named(QUERY, [("a", 2, 2 * MOST), ("b", 1, 2**53 + 1)])
    assert json.loads(encoded(rows)) == [
        {"shelf": "a", "records": 2, "sum_amount": 2 * MOST},
        {"shelf": "b", "records": 1, "sum_amount": 2**53 + 1},
    ]
    said = rows_page(QUERY).model_json_schema()["properties"]["rows"]["items"]["properties"]
    assert said["sum_amount"] == {"type": "integer"}
    assert said["records"]["maximum"] == MOST


@pytest.mark.parametrize("name", ["sqlite.table", "sqlite.log", "duckdb.columnar", "duckdb.files"])
def test_a_statement_of_the_users_own_is_exact_or_refused(name: str, tmp_path: Path) -> None:
    kind = store_class(name)
    store = kind(FolderPlace(tmp_path), layout(kind.holds[0]))
    store.open()
    store.apply(Batch("item", items(item(1, amount=MOST), item(2, amount=MOST))))
    total = ask(kind="sql", sql="SELECT SUM(amount) AS total FROM item")
    if name.startswith("sqlite"):
        with pytest.raises(NotAnswered, match=r"refuses it: .*overflow"):
            store.query(total, ())
    else:
        assert store.query(total, ()) == [(2 * MOST,)]
    assert store.query(ask(kind="sql", sql="SELECT COUNT(*) AS n FROM item"), ()) == [(2,)], "and it goes on"
    store.close()


@pytest.mark.parametrize("name", ["duckdb.columnar", "duckdb.files"])
def test_a_value_out_of_range_is_refused_by_the_reference_and_by_the_store(name: str, tmp_path: Path) -> None:
    query = ask(kind="sql", sql="SELECT amount + 1 AS more FROM item")
    rows = items(item(1, amount=MOST))
    with pytest.raises(NotAnswered, match="refuses it: Out of Range"):
        KINDS["sql"].answer(query, (), {"item": ReferenceTable(ITEM, rows)})
    kind = store_class(name)
    store = kind(FolderPlace(tmp_path), layout(kind.holds[0]))
    store.open()
    store.apply(Batch("item", rows))
    with pytest.raises(NotAnswered, match="refuses it: Out of Range"):
        store.query(query, ())
    assert store.query(ask(kind="get"), (1,))
    store.close()


def answered(rows: list[Row], refused: set[Row] = frozenset()) -> list[queries.Wrong]:
    """What is wrong with a store that gives these rows, where the right answer is `refused` or (1,)."""

    class Given:
        name = "given"

        def query(self, query: Query, parameters: Row) -> list[Row]:
            if not rows:
                raise NotAnswered("too large")
            return rows

    def right(query: Query, parameters: Row) -> list[Row]:
        if parameters in refused:
            raise NotAnswered("too large")
        return [(1,)]

    one = asked.Asked("mine", Given(), QUERY)
    one.ask((), True)
    queries.check([one], right)
    return one.wrong


def test_a_refusal_is_wrong_where_there_is_an_answer_and_an_answer_where_there_is_none() -> None:
    assert answered([(1,)]) == []
    assert answered([], {()}) == []
    assert "too large" in " ".join(answered([])[0].lines())
    assert "no right answer" in " ".join(answered([(1,)], {()})[0].lines())


@pytest.mark.parametrize("name", ADDING)
def test_a_running_sum_is_refused_whole_where_it_would_need_more_than_64_bits(name: str, tmp_path: Path) -> None:
    store = store_class(name)(FolderPlace(tmp_path), layout("totals"))
    store.open()
    store.apply(Batch("item", sums(("a", True, 1, MOST), ("b", True, 1, LEAST), ("c", True, 1, 1))))
    before = dump(store, "item")
    for over in (("a", True, 1, 1), ("a", True, 1, MOST), ("b", True, 1, -1), ("b", True, 1, LEAST)):
        with pytest.raises(CannotTake):
            store.apply(Batch("item", sums(("c", True, 1, 1), over), 9))
        assert dump(store, "item").equals(before)
    store.apply(Batch("item", sums(("a", True, -1, -MOST), ("b", True, 1, MOST)), 10))
    assert dump(store, "item").rows() == [("a", True, 0, 0), ("b", True, 2, -1), ("c", True, 1, 1)]
    store.close()


@settings(max_examples=examples(3))
@given(rows=AMOUNTS, batch=st.integers(1, 5))
def test_running_totals_are_exact_but_for_what_is_parked(
    rows: Rows, batch: int, new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    wide = [item(at % 5, at // 5 + 1, shelf=shelf, amount=amount) for at, (shelf, amount) in enumerate(rows)]
    frame = items(*wide)
    for name in ADDING:
        store = store_class(name)(
            FolderPlace(folder / name), guarded_layout("revision", "totals", {"item": ITEM}, BY_SHELF)
        )
        projector = Projector(store, "revision", 0)
        for part in frame.iter_slices(batch):
            projector.apply("item", part, int(part["position"][-1]))
        parked = projector.parked("item").tolist()
        taken = frame.filter(~pl.col("position").is_in(parked))
        last = taken.filter(pl.col("revision") == pl.col("revision").max().over("key"))
        expected = [(shelf, None, count, total) for shelf, count, total in added(last.select("shelf", "amount").rows())]
        assert projector.layout.shown(dump(store, "item")).rows() == expected, name
        assert all(LEAST <= total <= MOST for *_, total in expected)
        if sum(abs(amount or 0) for _, amount in rows) <= MOST:
            assert not parked
        store.close()
