"""A statement of one's own: bound when the scenario is read, and asked within bounds of time and size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from pieces import SCENARIO
from running import run_text

from lab.base import BadInput, NoAnswer
from lab.engines import budget
from lab.queries.resolve import resolve
from lab.scenario import QueryTable, Source
from lab.wiring import plan

OWN = '\n[[query]]\nname = "own"\nkind = "sql"\nentity = "employee"\nsql = """{}"""\n'
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
EVERY = "SELECT count(*) FROM employee a, employee b, employee c, employee d, employee e, employee f, employee g"

REFUSED = {
    "SELECT nope FROM employee": 'column "nope" not found',
    "SELECT now() FROM employee": "`now` has another value each time",
    "SELECT random() FROM employee": "another value each time",
    "SELECT * FROM other.employee": "no entity `other.employee`",
    "SELECT * FROM read_csv('/etc/passwd')": "a table is made by a function",
    "SELECT * FROM '/etc/passwd'": "no entity `/etc/passwd`",
    "SELECT * FROM duckdb_settings()": "a table is made by a function",
    "SELECT * FROM sqlite_master": "no entity `sqlite_master`",
    "ATTACH 'x.db'": "only one SELECT",
    "COPY employee TO 'x'": "only one SELECT",
    "INSTALL httpfs": "only one SELECT",
    "PRAGMA database_list": "only one SELECT",
    "WITH gone AS (DELETE FROM employee RETURNING key) SELECT key FROM gone": "",
    "SELECT key FROM employee LIMIT 3": "LIMIT without an ORDER BY",
    "SELECT DISTINCT ON (department) key FROM employee": "DISTINCT ON without an ORDER BY",
    "SELECT key FROM employee USING SAMPLE 3": "a sample is another one each time",
    "SELECT sum(name) FROM employee": "No function matches",
    "SELECT list(key) FROM employee": "SQLite can't run it: no such function",
    "SELECT $1 FROM employee": "a parameter with a name or a number",
    "SELECT repeat('x', 1000000000) FROM employee": "a value of more than",
    "SELECT " + "(" * 400 + "1" + ")" * 400: "nested too deeply",
    "SELECT " + "NOT " * 2_000 + "true": "nested too deeply",
    "SELECT " + " + ".join(["1"] * 2_400): "",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_what_cannot_be_asked_is_refused_when_the_scenario_is_read(statement: str) -> None:
    with pytest.raises(BadInput, match=r"mine\.toml: query\.own\.sql: ") as refused:
        plan(Source.of_text(SCENARIO + OWN.format(statement), "mine.toml"))
    assert REFUSED[statement] in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("statement", [ENDLESS, EVERY, "SELECT 1 / (salary - salary) FROM employee"])
def test_what_only_the_data_can_tell_is_not_run_when_the_scenario_is_read(statement: str) -> None:
    plan(Source.of_text(SCENARIO + OWN.format(statement), "mine.toml"))


def test_a_statement_is_bound_in_the_engines_that_will_be_asked() -> None:
    only_duckdb = SCENARIO + "truth = false\n" + OWN.format("SELECT list(key) FROM employee")
    only_duckdb += '[[query]]\nname = "employee"\nkind = "get"\nentity = "employee"\n'
    others = [f'projection.{name}.queries=["employee"]' for name in ("directory", "payroll")]
    with pytest.raises(BadInput, match="SQLite can't run it"):
        plan(Source.of_text(only_duckdb, "mine.toml"))
    plan(Source(Path("mine.toml"), tuple(others), text=only_duckdb))
    entity = plan(Source.of_text(SCENARIO, "mine.toml")).queries[0].entity
    table = QueryTable(name="own", kind="sql", entity="employee", sql="SELECT list(key) FROM employee")
    assert resolve(table, {"employee": entity}, "mine.toml", {"duckdb"})[1] == []
    assert resolve(table, {"employee": entity}, "mine.toml", {"duckdb", "sqlite"})[1]


@pytest.fixture(params=["sqlite", "duckdb"])
def connection(request: pytest.FixtureRequest) -> Iterator[budget.Interruptible]:
    made = sqlite3.connect(":memory:") if request.param == "sqlite" else duckdb.connect(":memory:")
    yield made
    made.close()


def test_an_answer_within_bounds_is_the_answer(connection: budget.Interruptible) -> None:
    assert budget.answer(connection, "SELECT ? + 1", (1,)) == [(2,)]


def test_a_statement_without_end_is_interrupted_and_the_next_one_is_not(connection: budget.Interruptible) -> None:
    for _ in range(3):
        with pytest.raises(NoAnswer, match=r"no answer within 0\.2 s"):
            budget.answer(connection, ENDLESS, (), 0.2)
        assert budget.answer(connection, "SELECT 1", ()) == [(1,)]


def test_an_answer_without_end_is_cut_off(connection: budget.Interruptible, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "ANSWER_ROWS", 1_000)
    rows = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {}) SELECT n FROM r"
    assert len(budget.answer(connection, rows.format(1_000), ())) == 1_000
    with pytest.raises(NoAnswer, match="more than 1,000 rows"):
        budget.answer(connection, rows.format(1_001), ())


def test_what_the_engine_raises_is_told_in_one_line(connection: budget.Interruptible) -> None:
    with pytest.raises(NoAnswer, match=r"the engine refuses it: .*nope") as refused:
        budget.answer(connection, "SELECT nope", ())
    assert "\n" not in str(refused.value)


def test_a_column_called_interrupted_is_no_interruption(connection: budget.Interruptible) -> None:
    with pytest.raises(NoAnswer, match=r"the engine refuses it: .*interrupted"):
        budget.answer(connection, "SELECT interrupted", ())


def test_a_run_goes_on_without_the_answer_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "ANSWER_SECONDS", 0.3)
    text = SCENARIO.replace("commands = 3_000", "commands = 300") + OWN.format(ENDLESS)
    text += OWN.format("SELECT CAST(name AS INTEGER) AS n FROM employee").replace('"own"', '"cast"')
    text += '\n[[query]]\nname = "sound"\nkind = "get"\nentity = "employee"\n'
    finished = run_text(tmp_path, text)
    verdicts = finished.table("verdicts")
    told = verdicts.filter((verdicts["check"] == "answers_right") & (verdicts["projection"] != "payroll"))
    assert set(told["verdict"]) == {"unknown"}
    assert all("no answer within 0.3 s" in reason or "refuses it" in reason for reason in told["witness"])
    asked = finished.table("queries")
    assert asked.filter(asked["query"] == "own")["p50_us"].null_count() == asked.filter(asked["query"] == "own").height
    assert asked.filter((asked["query"] == "sound") & (asked["projection"] == "directory"))["answer_ok"].to_list() == [
        True
    ]
    assert (finished.path / "report.html").exists()
