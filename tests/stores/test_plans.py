"""How SQLite looks for what the shipped domains ask, by its own planner: by an index, and not through everything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lab.base import Entity
from lab.domain import OWN_DATA, SHIPPED
from lab.domain import domain as domain_called
from lab.place import FolderPlace
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.stores import Layout, store_class

DOMAINS = [name for name in SHIPPED if name != OWN_DATA]
STORES = ("sqlite.table", "sqlite.document", "sqlite.graph", "sqlite.search", "sqlite.log")
VALUES: dict[str, Any] = {"int": 1, "str": "a", "float": 1.0, "bool": True}
NO_CONDITION = "it is about every record"
NO_INDEX = "no index begins with a column that it has a condition on: see `indexes` of the entity"
A_LOG = "a log has no index for readers but the one of keys and revisions"
# What goes through a whole table, and why that is so.
SCANS = {
    ("sqlite.table", "balance_sheet"): NO_CONDITION,
    ("sqlite.document", "balance_sheet"): NO_CONDITION,
    ("sqlite.table", "branches"): NO_CONDITION,
    ("sqlite.document", "branches"): NO_CONDITION,
    ("sqlite.table", "payroll"): NO_CONDITION,
    ("sqlite.document", "payroll"): NO_CONDITION,
    ("sqlite.table", "delays_by_carrier_and_month"): NO_CONDITION,
    ("sqlite.document", "delays_by_carrier_and_month"): NO_CONDITION,
    ("sqlite.table", "profit_by_campaign"): NO_CONDITION,
    ("sqlite.document", "profit_by_campaign"): NO_CONDITION,
    ("sqlite.table", "profit_by_campaign_and_day"): NO_CONDITION,
    ("sqlite.document", "profit_by_campaign_and_day"): NO_CONDITION,
    ("sqlite.table", "worst_delays_from_origin_between"): NO_INDEX,
    ("sqlite.table", "flights_with_airline"): NO_INDEX,
    ("sqlite.table", "agents_of_region"): NO_INDEX,
    ("sqlite.document", "agents_of_region"): NO_INDEX,
}
# Which queries read an index alone, and no row of the table but those of the answer.
COVERED = {
    "sqlite.table": {
        "branches", "payroll", "with_manager", "everyone_below", "close_colleagues", "flights_with_plane",
        "campaigns_with_product", "recruited_below",
    },
    "sqlite.graph": {"everyone_below", "close_colleagues", "recruited_below"},
}  # fmt: skip


def planned(name: str, domain: str, folder: Path) -> dict[str, tuple[Query, list[str]]]:
    """The steps of each query that the store answers, by the query's name."""
    known = domain_called(domain)
    store: Any = store_class(name)(FolderPlace(folder), Layout(store_class(name).holds[0], dict(known.entities)))
    store.open()
    found = {}
    for table in known.queries:
        query, _ = resolve(QueryTable(**table), known.entities, "test")
        if query is None or not store.answers_query(query):
            continue
        run: list[str] = []
        store._reading().set_trace_callback(run.append)
        parameters = [VALUES[one.kind] for one in KINDS[query.kind].parameters(query) for _ in range(one.most)]
        assert store.query(query, tuple(parameters)) == []
        store._reading().set_trace_callback(None)
        # An index of words runs statements of its own before.
        statement = [one for one in run if one.startswith(("SELECT", "WITH"))][-1]
        found[query.name] = query, [step for *_, step in store.read(f"EXPLAIN QUERY PLAN {statement}")]
    store.close()
    return found


def scanned(steps: list[str], tables: set[str]) -> bool:
    """Whether an entity's table is gone through: by its name, or by the alias that queries have for it."""
    names = "|".join(map(re.escape, sorted({"t", "o", "c", "every", "n", *tables})))
    return any(re.match(rf"SCAN ({names})\b(?! VIRTUAL)", step) for step in steps)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", STORES)
def test_what_has_a_condition_is_found_by_an_index(name: str, domain: str, tmp_path: Path) -> None:
    tables = set(domain_called(domain).entities)
    for query, steps in planned(name, domain, tmp_path).values():
        outer = [step for step in steps if step != "SCAN t" or name != "sqlite.log"]
        goes_through = scanned(outer, tables)
        if name == "sqlite.log" and query.kind in ("filter", "aggregate", "join"):
            assert goes_through, f"{query.name}: {A_LOG}"
        else:
            assert goes_through == ((name, query.name) in SCANS), (query.name, steps)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", COVERED)
def test_what_an_index_has_is_read_from_it_alone(name: str, domain: str, tmp_path: Path) -> None:
    for query, steps in planned(name, domain, tmp_path).values():
        indexed = [step for step in steps if re.search(r"USING (COVERING )?INDEX (?!sqlite_)", step)]
        covered = bool(indexed) and all("COVERING" in step for step in indexed)
        assert covered == (query.name in COVERED[name]), (query.name, steps)


def test_a_log_finds_a_record_s_last_revision_by_its_index(tmp_path: Path) -> None:
    looked_up = {
        query.kind: [step.split(" USING ")[0] for step in steps if "USING" in step]
        for query, steps in planned("sqlite.log", "employees", tmp_path).values()
    }
    assert looked_up["get"] == ["SEARCH employee"]
    assert looked_up["get_many"] == ["SEARCH every", "SEARCH n"]


def test_every_exception_is_one_of_a_query_that_there_is() -> None:
    there = set()
    for domain in map(domain_called, DOMAINS):
        for table in domain.queries:
            query, _ = resolve(QueryTable(**table), domain.entities, "test")
            there |= {
                (name, query.name)
                for name in STORES
                if query and store_class(name).can_answer(query, Layout("records", dict(domain.entities)))
            }
    covered = {(name, query) for name, queries in COVERED.items() for query in queries}
    assert (set(SCANS) | covered) - there == set()


def test_a_scan_is_seen() -> None:
    assert scanned(["SCAN t"], set())
    assert scanned(["SCAN lead USING INDEX x"], {"lead"})
    assert not scanned(["SCAN lab_walk", "SCAN w", "SCAN f VIRTUAL TABLE INDEX 0:M1", "SEARCH t USING INDEX x"], set())


def test_indexes_whose_columns_read_alike_are_two(tmp_path: Path) -> None:
    columns: Any = {"a": "int", "b": "int", "a_b": "int"}
    kept = Layout("records", {"thing": Entity("thing", "int", columns, indexes=(("a", "b"), ("a_b",)))})
    store: Any = store_class("sqlite.table")(FolderPlace(tmp_path), kept)
    store.open()
    found = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'thing'"
    assert len(store.read(found)) == 2
    # One of an earlier version goes when the store is opened next.
    store._connection.execute("CREATE INDEX thing_by_a_b ON thing (a, b)")
    store.close()
    store.open()
    assert len(store.read(found)) == 2
    store.close()
