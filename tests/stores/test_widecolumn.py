"""Tables of partitions in clustering order: names sort as values do, and a range of them is an answer."""

from __future__ import annotations

import itertools
import marshal
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import BadInput, Batch, CannotTake, Entity, NotAnswered
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable, Source
from lab.stores import Layout
from lab.stores.clustering import after, value_bytes, value_end, wide_tables
from lab.stores.lmdb_widecolumn import LmdbWidecolumn
from lab.wiring import plan
from lab.wiring.traits import projection_identity

COLUMNS: dict[str, Any] = {"place": "str", "at": "float", "level": "int", "open": "bool"}
PRIMARY_KEYS = (("place",), ("place", "at"), ("level", "open"), ("open", "place", "level"), ("at", "level", "place"))
VALUES = {
    "place": st.sampled_from([None, "", "a", "b", "a\x00", "a\x00b", "é"]),
    "at": st.sampled_from([None, -math.inf, -1.5, -0.0, 0.0, 2.0, math.inf]),
    "level": st.sampled_from([None, -(2**63), -1, 0, 1, 2**63 - 1]),
    "open": st.sampled_from([None, False, True]),
}


def entity(*keys: tuple[str, ...]) -> Entity:
    return Entity("reading", "int", COLUMNS, indexes=keys)


EVERY = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False) | st.sampled_from([-0.0, 0.0, math.nan]),
    "str": st.text(st.characters(codec="utf-8") | st.sampled_from("\x00\x01\xff")),
    "bool": st.booleans(),
}


def order(value: Any) -> tuple[Any, ...]:
    """What values are sorted by: a missing one last, before it what is no number, both zeros alike."""
    if value is None:
        return (2,)
    return (1,) if value != value else (0, value)


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data(), kinds=st.lists(st.sampled_from(list(EVERY)), min_size=1, max_size=3))
def test_names_sort_as_the_values_that_they_are_made_of(data: st.DataObject, kinds: list[str]) -> None:
    values = st.tuples(*(st.none() | EVERY[kind] for kind in kinds))
    rows = data.draw(st.lists(values, min_size=2, max_size=6))

    def name(row: tuple[Any, ...]) -> bytes:
        return b"".join(value_bytes(value, kind) for value, kind in zip(row, kinds, strict=True))

    for one, other in itertools.combinations(rows, 2):
        expected, found = (tuple(map(order, one)), tuple(map(order, other))), (name(one), name(other))
        assert (expected[0] < expected[1]) == (found[0] < found[1]), (one, other)
        assert (expected[0] == expected[1]) == (found[0] == found[1]), (one, other)
    for row in rows:
        start = 0
        for value, kind in zip(row, kinds, strict=True):
            assert value_end(name(row), start, kind) == start + len(value_bytes(value, kind))
            start = value_end(name(row), start, kind)


@given(prefix=st.binary(min_size=1).filter(lambda one: one.strip(b"\xff")), more=st.binary())
def test_what_comes_after_a_prefix_comes_after_all_that_begins_with_it(prefix: bytes, more: bytes) -> None:
    assert prefix + more < after(prefix)
    assert not (prefix < (found := after(prefix))[:-1] + b"\x00" < found and found[:-1] > prefix)


def asked(found: Entity, **table: Any) -> Query:
    query, problems = resolve(
        QueryTable.model_validate({"name": "q", "entity": "reading"} | table), {"reading": found}, ""
    )
    assert query is not None, problems
    return query


@st.composite
def questions(draw: st.DrawFn, key: tuple[str, ...]) -> tuple[dict[str, Any], Row]:
    """A filter or an aggregate in one partition of a table, in the words of a scenario, with its parameters."""
    bound = draw(st.integers(1, len(key)))
    where: dict[str, Any] = dict.fromkeys(key[:bound], "?")
    given = [draw(VALUES[name]) for name in key[:bound]]
    rest = key[bound:]
    if rest and (operators := draw(st.sets(st.sampled_from(["at_least", "less_than"])))):
        where[rest[0]] = dict.fromkeys(sorted(operators), "?")
        given += [draw(VALUES[rest[0]]) for _ in operators]
    if len(rest) > 1 or draw(st.booleans()):
        groups = [*draw(st.permutations(key[:bound])), *rest[: draw(st.integers(0, len(rest)))]]
        return {"kind": "aggregate", "where": where, "group_by": groups, "sum": ["level", "at"]}, tuple(given)
    by = rest[0] if len(rest) == 1 else draw(st.sampled_from([None, "key", *key[:bound]]))
    table = {"kind": "filter", "where": where, "order_by": by, "descending": draw(st.booleans())}
    return table | {"limit": draw(st.sampled_from([None, 1, 3]))}, tuple(given)


@st.composite
def histories(draw: st.DrawFn) -> list[pl.DataFrame]:
    """Revisions of a few records, each with values of its own, in batches: rows move, end and come back."""
    rows = [
        (key, revision, draw(st.integers(0, 4)) == 0, *(draw(values) for values in VALUES.values()))
        for key in draw(st.lists(st.integers(-2, 5), min_size=1, unique=True))
        for revision in range(1, draw(st.integers(1, 3)) + 1)
    ]
    made = [(at, key, revision, gone, float(at), *own) for at, (key, revision, gone, *own) in enumerate(rows, 1)]
    made = draw(st.permutations(made))
    return [pl.DataFrame(made[start::3], schema=entity().schema, orient="row") for start in range(3) if made[start::3]]


class LeavesFormerRows(LmdbWidecolumn):
    """It forgets that a row was in another place of a table."""

    def _changed(self, *args: Any) -> Iterator[tuple[Row | None, Row]]:
        return ((None, row) for _, row in super()._changed(*args))


class TakesAnyRevision(LmdbWidecolumn):
    """A row of a table is that of the revision that came last."""

    def _last(self, transaction: Any, key: Any, database: Any = None) -> Row | None:
        found = super()._last(transaction, key, database)
        return None if found is None else (*found[:2], 0, *found[3:])


def tried(keeps: str, folder: Path) -> None:
    """Ask what was drawn after each batch, and hold it against plain frames."""
    stores = {}
    for key in PRIMARY_KEYS:
        place, layout = FolderPlace(folder / "_".join(key)), Layout(keeps, {"reading": entity(key)})
        stores[key] = LmdbWidecolumn(place, layout)
    for store in stores.values():
        store.open()

    @settings(max_examples=examples(40), deadline=None, database=None)
    @given(data=st.data(), key=st.sampled_from(PRIMARY_KEYS), history=histories())
    def answered(data: st.DataObject, key: tuple[str, ...], history: list[pl.DataFrame]) -> None:
        found, store = entity(key), stores[key]
        store.reset()
        there = found.empty()
        for rows in history:
            if keeps == "records":
                rows = rows.unique("key", keep="last", maintain_order=True)
            store.apply(Batch("reading", rows))
            same = ["key"] if keeps == "records" else ["key", "revision"]
            there = pl.concat([there, rows]).unique(same, keep="last", maintain_order=True)
            table, parameters = data.draw(questions(key))
            query = asked(found, **table)
            assert store.answers_query(query), table
            expected = KINDS[query.kind].answer(query, parameters, {"reading": ReferenceTable(found, there)})
            got = store.query(query, parameters)
            assert KINDS[query.kind].agrees(query, expected, got), (table, parameters, expected, got)

    try:
        answered()
    finally:
        for store in stores.values():
            store.close()


@pytest.mark.parametrize("keeps", ["records", "revisions"])
def test_every_range_of_a_partition_is_the_one_that_plain_frames_give(keeps: str, tmp_path: Path) -> None:
    tried(keeps, tmp_path)


def moved(made: type[LmdbWidecolumn], keeps: str, folder: Path) -> None:
    """A record's row leaves the partition where it was; an older revision that comes later moves nothing."""
    found = entity(("place",))
    store = made(FolderPlace(folder), Layout(keeps, {"reading": found}))
    store.open()
    for at, (revision, place) in enumerate([(1, "a"), (3, "b"), *([(2, "c")] if keeps == "revisions" else [])], 1):
        rows = [(at, 7, revision, False, float(at), place, None, None, None)]
        store.apply(Batch("reading", pl.DataFrame(rows, schema=found.schema, orient="row")))
    query = asked(found, kind="filter", where={"place": "?"})
    there = {place: [row[1] for row in store.query(query, (place,))] for place in "abc"}
    store.close()
    assert there == {"a": [], "b": [3], "c": []}


@pytest.mark.parametrize(("broken", "keeps"), [(LeavesFormerRows, "records"), (TakesAnyRevision, "revisions")])
def test_a_row_is_in_one_place_alone_and_a_store_that_loses_track_is_caught(
    broken: type[LmdbWidecolumn], keeps: str, tmp_path: Path
) -> None:
    moved(LmdbWidecolumn, keeps, tmp_path / "right")
    with pytest.raises(AssertionError):
        moved(broken, keeps, tmp_path / "broken")


def opened(folder: Path, *keys: tuple[str, ...]) -> LmdbWidecolumn:
    store = LmdbWidecolumn(FolderPlace(folder), Layout("records", {"reading": entity(*keys)}))
    store.open()
    return store


def readings(*rows: tuple[Any, ...]) -> pl.DataFrame:
    wide = [(at, key, 1, False, float(at), *own) for at, (key, *own) in enumerate(rows, 1)]
    return pl.DataFrame(wide, schema=entity().schema, orient="row")


def test_the_newest_rows_of_a_partition_are_all_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path, ("place", "at"))
    store.apply(Batch("reading", readings(*((key, f"p{key % 3}", key / 2, key, None) for key in range(3_000)))))
    loaded: list[int] = []

    def loads(value: bytes) -> Any:
        loaded.append(1)
        return marshal.loads(value)

    monkeypatch.setattr("lab.stores.lmdb_widecolumn.marshal", SimpleNamespace(loads=loads, dumps=marshal.dumps))
    newest = asked(entity(), kind="filter", where={"place": "?"}, order_by="at", descending=True, limit=5)
    assert [row[0] for row in store.query(newest, ("p1",))] == [2_998, 2_995, 2_992, 2_989, 2_986]
    assert len(loaded) <= 6
    store.close()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"kind": "filter", "order_by": "at"}, "it names no `place`, which is the partition"),
        ({"kind": "filter", "where": {"place": {"at_least": "a"}}}, "it names no `place`"),
        ({"kind": "filter", "where": {"place": "?"}}, "in the order of `at`, and it wants that of keys"),
        ({"kind": "filter", "where": {"place": "?", "level": 1}, "order_by": "at"}, "no range within a partition"),
        ({"kind": "filter", "where": {"place": "?"}, "order_by": "level"}, "`level` is not the order"),
        ({"kind": "aggregate", "where": {"place": "?"}, "group_by": ["level"]}, "aren't neighbours"),
        ({"kind": "aggregate", "group_by": ["place"]}, "it names no `place`"),
    ],
)
def test_what_is_no_range_of_a_partition_is_refused_with_the_reason(
    table: dict[str, Any], why: str, tmp_path: Path
) -> None:
    store = opened(tmp_path, ("place", "at"))
    query = asked(entity(), **table)
    assert why in store.lacks(query, store.layout)
    with pytest.raises(NotAnswered):
        store.query(query, ("a",))
    store.close()


def test_an_entity_without_an_index_has_no_partitions(tmp_path: Path) -> None:
    store = opened(tmp_path)
    query = asked(entity(), kind="filter", where={"place": "?"})
    assert "no primary key" in store.lacks(query, store.layout)
    store.apply(Batch("reading", readings((1, "a", 1.0, 1, True))))
    assert store.query(asked(entity(), kind="get"), (1,)) == [(1, 1, "a", 1.0, 1, True)]
    store.close()


def test_a_name_that_the_engine_can_not_take_is_refused_and_one_that_is_asked_for_is_not_there(tmp_path: Path) -> None:
    store = opened(tmp_path, ("place", "at"), ("level", "place"))
    longest = asked(entity(), kind="filter", where={"place": "?"}, order_by="at", descending=True)
    after_it = asked(entity(), kind="filter", where={"level": "?", "place": {"at_least": "?"}}, order_by="place")
    below = asked(entity(), kind="filter", where={"level": "?", "place": {"less_than": "?"}}, order_by="place")
    fits = "x" * 400
    store.apply(Batch("reading", readings((1, fits, 1.0, 7, None), (2, None, 1.0, 7, None)), 5))
    with pytest.raises(CannotTake, match="511 bytes"):
        store.apply(Batch("reading", readings((3, "x" * 600, 1.0, 7, None)), 9))
    assert store.checkpoint("reading") == 5
    for text in ("x" * 600, "x" * 502, "x" * 5_000):
        assert store.query(longest, (text,)) == []
        assert store.query(after_it, (7, text)) == []
        assert [row[0] for row in store.query(below, (7, text))] == [1]
    store.close()


def test_rows_of_tables_go_with_the_transaction_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path, ("place", "at"))
    query = asked(entity(), kind="filter", where={"place": "?"}, order_by="at")
    store.apply(Batch("reading", readings((1, "a", 1.0, 1, None)), 1))

    def fails(self: Any, *args: Any) -> None:
        raise lmdb.DiskError("full")

    monkeypatch.setattr(LmdbWidecolumn, "_park", fails)
    with pytest.raises(lmdb.DiskError):
        store.apply(Batch("reading", readings((1, "b", 1.0, 1, None), (2, "a", 2.0, 1, None)), 2))
    monkeypatch.undo()
    assert [row[0] for row in store.query(query, ("a",))] == [1]
    assert store.query(query, ("b",)) == []
    assert store.checkpoint("reading") == 1
    store.close()


# In a scenario

SCENARIO = """
schema = 1
name = "wide"
seed = 1
[domain]
name = "employees"
[workload]
commands = 10
[[projection]]
name = "staff"
store = "{store}"
{key}
[[query]]
name = "team"
kind = "filter"
entity = "employee"
where = {{ manager = "?" }}
order_by = "name"
"""


def planned(folder: Path, store: str, key: str) -> Any:
    return plan(Source.of_text(SCENARIO.format(store=store, key=key), folder / "wide.toml"))


def test_a_scenario_says_the_partition_and_the_clustering_columns(tmp_path: Path) -> None:
    made = planned(tmp_path, "lmdb.widecolumn", 'primary_key = { employee = ["manager", "name"] }')
    (item,) = made.projections
    assert [one.columns for one in wide_tables(item.layout.entities["employee"])] == [("manager", "name")]
    assert [query.name for query in item.queries] == ["team"]
    assert "index of manager+name" in projection_identity(made, item).traits["columns of employee"]


@pytest.mark.parametrize(
    ("store", "key", "said"),
    [
        ("lmdb.widecolumn", "", "it names no `department`, which is the partition"),
        ("lmdb.widecolumn", 'primary_key = { employee = ["boss"] }', "no column `boss`"),
        ("lmdb.widecolumn", 'primary_key = { customer = ["name"] }', "no entity `customer`"),
        ("lmdb.widecolumn", 'primary_key = { employee = ["name", "name"] }', "name"),
        ("lmdb.widecolumn", "primary_key = { employee = [] }", "primary_key"),
        ("sqlite.table", 'primary_key = { employee = ["manager"] }', "not by partitions"),
    ],
)
def test_a_primary_key_that_can_not_be_is_refused(store: str, key: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        planned(tmp_path, store, key)
