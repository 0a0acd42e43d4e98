"""What Cassandra and HBase would be sent: the tables, batches and queries of the store that stands for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from documents import ROOT

from lab.cli import lab
from lab.queries.model import Query
from lab.stores import Layout
from lab.stores.lmdb_widecolumn import LmdbWidecolumn
from lab.systems.statements import WITHOUT_SQL, SqlStatement
from lab.systems.wide_statements import WIDE_SYSTEMS
from lab.testing.sample import ENTITIES, ask
from lab.testing.store_answers import NOW, PAST

QUERIES: list[Query] = list({(query.kind, query.name): query for query, _ in NOW + PAST}.values())
EMPLOYEES = str(ROOT / "scenarios" / "employees.toml")
each_system = pytest.mark.parametrize("system", WIDE_SYSTEMS)


def made(system: str, *queries: Query) -> list[SqlStatement]:
    return WIDE_SYSTEMS[system](ENTITIES.values(), queries)


def of(found: list[SqlStatement], use: str, name: str = "item") -> list[str]:
    return [one.text for one in found if (one.use, one.name) == (use, name)]


def test_they_are_the_systems_without_sql() -> None:
    assert tuple(WIDE_SYSTEMS) == WITHOUT_SQL


@each_system
def test_what_has_a_statement_is_what_the_store_of_the_family_answers(system: str) -> None:
    layout = Layout("records", ENTITIES)
    asked = [one for one in made(system, *QUERIES) if one.use == "query"]
    assert [one.name for one in asked] == [query.name for query in QUERIES]
    for query, one in zip(QUERIES, asked, strict=True):
        assert bool(one.text) == LmdbWidecolumn.can_answer(query, layout), query
        assert one.text or one.why.startswith("never: ")


@each_system
def test_every_table_that_is_named_is_made_and_the_checkpoint_is_written_last(system: str) -> None:
    found = made(system, *QUERIES)
    quote = '"' if system == "cassandra" else "'"
    tables = {text.split(quote)[1] for entity in ENTITIES for text in of(found, "table", entity)}
    for one in found:
        if one.use != "table" and one.text and "lab_checkpoint" not in one.text:
            assert any(f"{quote}{name}{quote}" in one.text for name in tables), one
    for entity in ENTITIES:
        assert "lab_checkpoint" in of(found, "load", entity)[-1]
        assert not any("lab_checkpoint" in text for text in of(found, "load", entity)[:-1])


@each_system
def test_where_a_record_moves_only_what_is_newer_than_the_row_by_key_is_written(system: str) -> None:
    """A late older row would have its own place to itself: timestamps compare rows of one place alone."""
    words: dict[str, Any] = {"kind": "filter", "where": {"shelf": "?"}}
    found = [one for one in made(system, ask(name="some", **words)) if (one.use, one.name) == ("load", "item")]
    inserts = [one for one in found if one.text.startswith(("INSERT", "put"))]
    moved = [one for one in inserts if "item_by_" in one.text]
    assert moved
    assert all("newer than the row that was read by key" in one.why for one in moved)
    assert found[0].text.startswith(("SELECT", "get"))


def test_a_table_of_cassandra_has_the_order_of_its_question() -> None:
    words: dict[str, Any] = {"kind": "filter", "where": {"shelf": "?"}, "order_by": "amount", "limit": 3}
    found = made("cassandra", ask(name="up", **words), ask(name="down", descending=True, **words))
    up, down = of(found, "table")[1:]
    assert 'PRIMARY KEY (("shelf"), "amount", "key")' in up
    assert up.endswith('WITH CLUSTERING ORDER BY ("amount" ASC, "key" ASC)')
    assert down.endswith('WITH CLUSTERING ORDER BY ("amount" DESC, "key" ASC)')
    assert of(found, "query", "up")[0].endswith('FROM "item_by_shelf_amount" WHERE "shelf" = ? LIMIT 3')
    assert of(found, "query", "down")[0].endswith('FROM "item_by_shelf_amount_down" WHERE "shelf" = ? LIMIT 3')
    # An older revision never replaces a newer one: each write has its revision as its time.
    assert all("USING TIMESTAMP ?" in text for text in of(found, "load") if text.startswith("DELETE"))
    assert all("USING TIMESTAMP ?" in text for text in of(found, "load")[:-1] if text.startswith("INSERT"))


def test_a_group_in_cassandra_is_a_beginning_of_the_primary_key() -> None:
    query = ask(name="sums", kind="aggregate", where={"shelf": "?"}, group_by=["amount", "shelf"], sum=["weight"])
    (text,) = of(made("cassandra", query), "query", "sums")
    assert text.startswith('SELECT "amount", "shelf", count(*), sum("weight") FROM "item_by_shelf_amount"')
    assert text.endswith('GROUP BY "shelf", "amount"')


def test_a_scan_of_hbase_goes_backwards_over_the_same_table() -> None:
    words: dict[str, Any] = {"kind": "filter", "where": {"shelf": "?"}, "order_by": "amount", "limit": 3}
    found = made("hbase", ask(name="down", descending=True, **words))
    assert of(found, "table") == ["create 'item', 'c'", "create 'item_by_shelf_amount', 'c'"]
    assert of(found, "query", "down") == [
        "scan 'item_by_shelf_amount', {STARTROW => ?, STOPROW => ?, LIMIT => 3, REVERSED => true}"
    ]


@each_system
def test_the_command_prints_them_and_why_there_are_no_more(system: str) -> None:
    found = CliRunner().invoke(lab, ["statements", EMPLOYEES, "--system", system, "--json"])
    assert found.exit_code == 0, found.output
    rows = {row["name"]: row for row in json.loads(found.stdout)}
    assert "department" in rows["best_paid_of_department"]["statement"]
    assert rows["payroll"]["statement"] == ""
    assert "it names no `department`, which is the partition" in rows["payroll"]["why"]
