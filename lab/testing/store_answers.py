"""What a store promises of answers: those of plain frames, and none that it can't give natively."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import Batch, NotAnswered, ReadOnly
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable, same
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores import Layout, Store, dump
from lab.testing.promises import Trial, promise
from lab.testing.sample import ITEM, SHELF, ask, content, item, items, sums

KEYS = range(1, 13)
TEXTS = st.sampled_from([None, "", "a", "b", "B", "é", "nul\x00"])
VALUES = st.fixed_dictionaries(
    {
        "label": TEXTS,
        "shelf": TEXTS,
        "amount": st.one_of(st.none(), st.integers(-3, 3)),
        "weight": st.one_of(st.none(), st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1e6])),
        "fragile": st.one_of(st.none(), st.booleans()),
    }
)


@st.composite
def revisions(draw: st.DrawFn) -> pl.DataFrame:
    """Revisions of a few records, many of them alike; a parent always has the lower number. Some end as tombstones."""
    rows = []
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, unique=True)):
        last = draw(st.integers(1, 3))
        for revision in range(1, last + 1):
            parent = draw(st.one_of(st.none(), st.integers(0, key - 1)))
            deleted = revision == last and draw(st.integers(0, 3)) == 0
            rows.append(item(key, revision, deleted, parent=parent, **draw(VALUES)))
    return items(*draw(st.permutations(rows)))


SHELVES = pl.DataFrame(
    [(1, "a", 1, False, 0.0, "first", 1.0), (2, "b", 2, True, 0.0, "gone", None), (3, "é", 1, False, 0.0, None, 0.5)],
    schema=SHELF.schema,
    orient="row",
)

COUNTED = "SELECT shelf, COUNT(*) AS n, SUM(amount) AS total FROM item WHERE fragile GROUP BY shelf ORDER BY shelf"
JOINED = "SELECT i.key, s.title FROM item AS i LEFT JOIN shelf AS s ON s.key = i.shelf WHERE i.amount >= ?"
STEPPED = (
    "WITH light AS (SELECT * FROM item WHERE weight < 1) SELECT key, label FROM light WHERE shelf = ? AND revision > 1"
)
COLUMNS = [*ITEM.columns, "key"]
NOW: list[tuple[Query, tuple[Any, ...]]] = [
    *((ask(kind="get"), (key,)) for key in (1, 5, 99)),
    (ask(kind="get_many", count=4), (3, 1, 99, 3)),
    *((ask(kind="traverse"), (key,)) for key in (0, 1, 2)),
    *((ask(name="near", kind="traverse", walk="near", depth=steps), (5,)) for steps in (1, 2, 5)),
    *((ask(name="path", kind="traverse", walk="path"), keys) for keys in ((2, 9), (9, 2), (1, 12), (7, 7), (1, 99))),
    *((ask(name="words", kind="search"), (words,)) for words in ("a", "b a", "é", "nul", "a zebra", "")),
    (ask(name="best", kind="search", limit=2), ("a",)),
    (ask(name="mine", kind="sql", sql=COUNTED), ()),
    (ask(name="theirs", kind="sql", sql=JOINED, parameters=["amount"]), (0,)),
    (ask(name="with", kind="sql", sql=STEPPED, parameters=["shelf.key"]), ("a",)),
    *((ask(name=f"by_{by}", kind="filter", order_by=by, limit=5), ()) for by in COLUMNS),
    *((ask(name=f"down_{by}", kind="filter", order_by=by, descending=True, limit=5), ()) for by in COLUMNS),
    *((ask(name="of", kind="filter", where={"shelf": "?", "fragile": True}), (text,)) for text in ("a", "")),
    *(
        (ask(name=f"{name}_{some}", kind="filter", where={"shelf": "?"} | more, order_by="amount", **cut), (text,))
        for name, cut in (("up", {}), ("first", {"limit": 2}), ("down", {"descending": True}))
        for some, more in (
            ("all", {}),
            ("from", {"amount": {"at_least": -1}}),
            ("below", {"amount": {"less_than": 1}}),
        )
        for text in ("a", "", "nul\x00")
    ),
    (ask(name="range", kind="filter", where={"amount": {"at_least": "?", "less_than": "?"}}), (-1, 2)),
    (ask(name="text", kind="filter", where={"label": {"at_least": "B"}}, order_by="label"), ()),
    (ask(name="real", kind="filter", where={"weight": {"less_than": 0.25}}), ()),
    (ask(name="sums", kind="aggregate", group_by=["shelf"], sum=["amount", "weight"]), ()),
    *(
        (ask(name="_".join(by), kind="aggregate", group_by=by, where={"shelf": "?"}, sum=["amount", "weight"]), ("a",))
        for by in (["shelf"], ["amount", "shelf"])
    ),
    (ask(name="groups", kind="aggregate", group_by=["fragile", "amount"], where={"label": "?"}), ("a",)),
    (ask(name="shelved", kind="join", on="shelf", to="shelf", take=["title", "metres"], order_by="amount"), ()),
    (ask(name="titled", kind="join", on="shelf", to="shelf", take=["title"], order_by="label", descending=True), ()),
    (ask(name="above", kind="join", on="parent", to="item", take=["label"], where={"shelf": "?"}, limit=3), ("a",)),
]
PAST: list[tuple[Query, tuple[Any, ...]]] = [
    *((ask(kind="history"), (key,)) for key in (1, 2, 99)),
    *((ask(kind="as_of"), (key, at)) for key in (1, 2, 99) for at in (0.5, 3.0, 7.5, 1e9)),
]
WRITES = (
    "DELETE FROM item",
    "UPDATE item SET revision = 9",
    "INSERT INTO lab_checkpoint VALUES ('item', 99)",
    "DROP TABLE item",
    "CREATE TABLE mine (x INTEGER)",
)


def refused(keeps: str) -> list[Query]:
    """Queries that no projection that keeps this can answer."""
    other = ask(name="other", kind="aggregate", group_by=["shelf"])
    filtered = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"], where={"label": "a"})
    past = [ask(kind="as_of"), ask(kind="history")]
    return past if keeps == "records" else [*past, ask(kind="get"), ask(kind="filter"), other, filtered]


@promise()
def what_a_store_does_not_answer_it_declares_with_a_reason(trial: Trial) -> None:
    store = trial.store
    assert store.answers | store.gaps.keys() >= set(KINDS)
    assert store.answers.isdisjoint(store.gaps)
    assert all(reason.startswith(("never: ", "not yet: ")) for reason in store.gaps.values())


@promise("records", "revisions")
def every_answer_is_the_one_that_plain_frames_give(trial: Trial) -> None:
    @settings(max_examples=trial.examples, deadline=None)
    @given(history=revisions())
    def answered(history: pl.DataFrame) -> None:
        frame = history.sort("revision").unique("key", keep="last") if trial.keeps == "records" else history
        if not trial.store.capabilities.nul:
            frame = frame.with_columns(pl.col(pl.String).str.replace_all("\x00", "", literal=True))
        store = trial.fresh()
        store.apply(Batch("item", frame))
        store.apply(Batch("shelf", SHELVES))
        assert dump(store, "item").equals(frame.sort("key", "revision"))
        _asked(store, {"item": ReferenceTable(ITEM, frame), "shelf": ReferenceTable(SHELF, SHELVES)})
        store.close()

    answered()


def _asked(store: Store, tables: dict[str, ReferenceTable]) -> None:
    asked = set()
    records = store.layout.keeps == "records"
    for query, parameters in NOW if records else NOW + PAST:
        if store.answers_query(query):
            expected, found = KINDS[query.kind].answer(query, parameters, tables), store.query(query, parameters)
            assert KINDS[query.kind].agrees(query, expected, found), (query, parameters, expected, found)
            asked.add(query.kind)
        else:
            with pytest.raises(NotAnswered):
                store.query(query, parameters)
    past = {"as_of", "history"} if records else set()
    # Some stores look an aggregate up, and don't work it out.
    assert store.answers - past - asked <= {"aggregate"}


@promise("totals")
def totals_answer_what_their_increments_amount_to(trial: Trial) -> None:
    groups = st.tuples(TEXTS, st.one_of(st.none(), st.booleans()), st.integers(-2, 2))

    @settings(max_examples=trial.examples, deadline=None)
    @given(increments=st.lists(groups, max_size=30))
    def added(increments: list[tuple[Any, Any, int]]) -> None:
        store = trial.fresh()
        expected: dict[tuple[Any, Any], int] = {}
        if not trial.store.capabilities.nul:
            increments = [one for one in increments if one[0] != "nul\x00"]
        for shelf, fragile, records in increments:
            store.apply(Batch("item", sums((shelf, fragile, records, 10 * records))))
            expected[shelf, fragile] = expected.get((shelf, fragile), 0) + records
        rows = [(*group, records, 10 * records) for group, records in expected.items()]
        must = sums(*rows).sort("shelf", "fragile", nulls_last=True)
        assert dump(store, "item").equals(must)
        query = ask(kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"])
        if store.answers_query(query):
            assert same(must.filter(pl.col("records") != 0).rows(), store.query(query, ()))
        store.close()

    added()


@promise("records")
def a_cycle_of_parents_ends_and_is_answered_alike(trial: Trial) -> None:
    # No source of truth holds one, and a projection that has diverged may.
    store = trial.open()
    store.apply(Batch("item", items(item(1, parent=3), item(2, parent=1), item(3, parent=2), item(4, parent=4))))
    tables = {"item": ReferenceTable(ITEM, dump(store, "item"))}
    for start in (1, 4):
        for query in (ask(kind="traverse"), ask(kind="traverse", walk="near"), ask(kind="traverse", walk="path")):
            parameters = (start, 2) if query.walk == "path" else (start,)
            if store.answers_query(query):
                assert same(KINDS[query.kind].answer(query, parameters, tables), store.query(query, parameters)), query


@promise()
def a_parameter_without_a_value_equals_nothing(trial: Trial) -> None:
    # `draw` gives one for a column in which no live record has a value.
    store = trial.open()
    store.apply(Batch("item", items(item(1), item(2, shelf="a"))))
    query = ask(kind="filter", where={"shelf": "?"})
    if store.answers_query(query):
        assert store.query(query, (None,)) == []
    assert KINDS[query.kind].answer(query, (None,), {"item": ReferenceTable(ITEM, dump(store, "item"))}) == []


@promise("records", "revisions")
def a_key_without_a_value_is_no_records(trial: Trial) -> None:
    # Not that of a record whose key is the word for it either.
    store = trial.open()
    shelf = pl.DataFrame([(1, "None", 1, False, 0.5, "first", 1.0)], schema=SHELF.schema, orient="row")
    store.bulk("shelf", [Batch("shelf", shelf, 1)])
    store.apply(Batch("item", items(item(1)), 1))
    for entity, key in (("item", 1), ("shelf", "None")):
        for query, rest in ((ask(kind="get", entity=entity), ()), (ask(kind="as_of", entity=entity), (9.0,))):
            if store.answers_query(query):
                assert store.query(query, (None, *rest)) == []
        many = ask(kind="get_many", entity=entity, count=2)
        if store.answers_query(many):
            assert [row[0] for row in store.query(many, (None, key))] == [key]


@promise("records")
def a_query_sees_what_was_written_after_the_query_before(trial: Trial) -> None:
    store = trial.open()
    query = ask(kind="get")
    for revision in (1, 2, 3):
        store.apply(Batch("item", items(item(1, revision)), revision))
        assert store.query(query, (1,))[0][1] == revision
        assert store.checkpoint("item") == revision


@promise("records", "totals")
def what_it_can_not_answer_is_refused_by_name(trial: Trial) -> None:
    store = trial.open()
    for query in refused(trial.keeps):
        assert not store.answers_query(query)
        with pytest.raises(NotAnswered, match=f"{query.name}.*{trial.store.name}.*{query.kind}"):
            store.query(query, (1,))


@promise()
def an_entity_that_it_does_not_hold_is_refused(trial: Trial) -> None:
    store = trial.store(FolderPlace(trial.folder / "half"), Layout(trial.keeps, {"item": ITEM}))
    store.open()
    with pytest.raises(NotAnswered):
        store.query(ask(kind="join", on="shelf", to="shelf", take=["title"]), ())
    store.close()


@promise(durable=True)
def no_parameter_is_ever_read_as_sql(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, shelf="a"))))
    for query in (ask(kind="filter", where={"shelf": "?"}), ask(kind="search")):
        if store.answers_query(query):
            assert store.query(query, ("a' OR 1=1; DELETE FROM item --",)) == []
    assert dump(store, "item").height == 1


@promise(durable=True)
def a_statement_that_writes_is_refused_and_changes_nothing(trial: Trial) -> None:
    # Of stores that can be told a statement in SQL.
    if not hasattr(trial.store, "read"):
        return
    store: Any = trial.open()
    store.apply(Batch("item", items(item(1, label="a")), 4))
    before = content(store)
    for statement in WRITES:
        with pytest.raises(ReadOnly, match="may not change a projection"):
            store.read(statement)
        assert content(store) == before
        assert store.read("SELECT key FROM item") == [(1,)]
