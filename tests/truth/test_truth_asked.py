"""The source of truth, asked beside the projections: its answers, its rows in tables, and what a wrong one does."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import SCENARIO, TRUTHS, commands
from rich.console import Console
from running import call, failed, run_text, shipped, verdicts, witness

from lab.base import BadInput, NotAnswered, ReadOnly, stream
from lab.domain import domain
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command, Domain, Options
from lab.experiment.write import Replay
from lab.measure import asked, asking, queries
from lab.place import FolderPlace
from lab.queries.answers import Row, same
from lab.queries.kinds import KINDS, PAST, translate
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.queries.sql import bind
from lab.report import compare, print_compare, print_run, write_report
from lab.runs import Run
from lab.scenario import QueryTable, Source
from lab.truth import Truth, open_truth
from lab.truth.relational import Relational
from lab.verdict.oracle import Oracle
from lab.wiring import plan

each_engine = pytest.mark.parametrize("engine", TRUTHS)


def asked_of(business: Domain) -> list[Query]:
    """The domain's own queries, but for those in words: a write model has no index of words."""
    found = [resolve(QueryTable.model_validate(item), business.entities, "here")[0] for item in business.queries]
    return [query for query in found if query and query.kind != "search"]


def questions(business: Domain, oracle: Oracle, count: int, seed: int) -> Iterator[tuple[Query, Row, list[Row]]]:
    """Each query with drawn parameters, and the right answer: from plain frames, without any engine."""
    for query in asked_of(business):
        tables = oracle.histories if query.kind in PAST else oracle.tables
        for parameters in KINDS[query.kind].draw(query, tables, count, stream(seed, query.name)):
            yield query, parameters, KINDS[query.kind].answer(query, parameters, tables)


def filled(truth: Truth, work: list[Command]) -> Oracle:
    """The source of truth with what the commands come to; loaded, since a commit takes some engines milliseconds."""
    made = Oracle.of_commands(truth.domain, work)
    for name, frame in made.revisions.items():
        # State-based models don't look at the event's name.
        truth.load(name, frame.with_columns(event=pl.lit("")))
    return made


# Answers


@each_engine
@pytest.mark.parametrize("model", ["snapshot", "history"])
@settings(max_examples=examples(4))
@given(seed=st.integers(0, 10**6), deletes=st.sampled_from([0.0, 0.2]), records=st.integers(1, 60))
def test_every_answer_is_the_oracle_s(
    engine: str, model: str, seed: int, deletes: float, records: int, new_folder: Callable[[], Path]
) -> None:
    truth = open_truth(engine, model, FolderPlace(new_folder()), EMPLOYEES, "normal")
    oracle = filled(truth, commands(200, seed, records=records, deletes=deletes))
    kinds = set()
    for query, parameters, right in questions(EMPLOYEES, oracle, 4, seed):
        if truth.answers(query):
            assert same(right, truth.query(query, parameters)), (query.name, parameters)
            kinds.add(query.kind)
        else:
            assert (model, query.kind) in {("snapshot", kind) for kind in PAST}
    assert kinds >= {"get", "get_many", "filter", "aggregate", "join", "traverse"}
    truth.close()


@each_engine
@pytest.mark.parametrize("model", ["snapshot", "history"])
def test_answers_about_several_entities_are_the_oracle_s(engine: str, model: str, tmp_path: Path) -> None:
    flights = domain("flights")
    frames = flights.trace(Options(days=1)).frames
    truth = open_truth(engine, model, FolderPlace(tmp_path), flights, "normal")
    Replay(truth, frames).finish()
    oracle = Oracle.of_trace(flights, {name: frame.drop("event") for name, frame in frames.items()})
    asked = [one for one in questions(flights, oracle, 3, 1) if truth.answers(one[0])]
    assert len({query.name for query, _, _ in asked}) == len(asked_of(flights)) - (2 if model == "snapshot" else 0)
    for query, parameters, right in asked:
        assert same(right, truth.query(query, parameters)), (query.name, parameters)
    truth.close()


@each_engine
def test_events_answer_nothing(engine: str, tmp_path: Path) -> None:
    truth = open_truth(engine, "events", FolderPlace(tmp_path), EMPLOYEES, "normal")
    for query in asked_of(EMPLOYEES):
        assert not truth.answers(query)
        with pytest.raises(NotAnswered, match=f"{engine}.events, can't answer `{query.kind}`"):
            truth.query(query, ())
    truth.close()


@each_engine
def test_a_snapshot_does_not_answer_about_the_past(engine: str, tmp_path: Path) -> None:
    truth = open_truth(engine, "snapshot", FolderPlace(tmp_path), EMPLOYEES, "normal")
    past = [query for query in asked_of(EMPLOYEES) if query.kind in PAST]
    assert len(past) == 2
    for query in past:
        with pytest.raises(NotAnswered):
            truth.query(query, (1,))
    truth.close()


@each_engine
@pytest.mark.parametrize("model", ["snapshot", "history"])
def test_between_two_commands_a_query_sees_what_is_committed(engine: str, model: str, tmp_path: Path) -> None:
    truth = open_truth(engine, model, FolderPlace(tmp_path), EMPLOYEES, "normal")
    get = next(query for query in asked_of(EMPLOYEES) if query.kind == "get")
    work = commands(12, records=5)
    for command in work:
        outcome = truth.execute(command)
        found = truth.query(get, (command.key,))
        record = truth.get("employee", command.key)
        must = [(command.key, record.revision, *record.state.values())] if record and not record.deleted else []
        assert found == must
        # The feed can be read from whichever connection is open.
        assert outcome.position is None or truth.head("employee") == outcome.position
        assert truth.changes_since("employee", 0, 100)["position"].max() == truth.head("employee")
    truth.close()


@each_engine
def test_a_query_s_connection_cannot_write(engine: str, tmp_path: Path) -> None:
    truth = open_truth(engine, "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    filled(truth, commands(30))
    head = truth.head("employee")
    assert isinstance(truth, Relational)
    with pytest.raises((sqlite3.OperationalError, duckdb.TransactionException, ReadOnly), match=r"(?i)read[- ]?only"):
        truth._ask("DELETE FROM employee", ())
    assert truth.head("employee") == head
    truth.close()


@each_engine
def test_nothing_is_indexed_for_readers(engine: str, tmp_path: Path) -> None:
    truth = open_truth(engine, "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    assert isinstance(truth, Relational)
    if engine == "postgres":
        # A primary key and what is unique have one each.
        keys = "SELECT conindid FROM pg_constraint"
        found = truth._ask(
            f"SELECT indexrelid FROM pg_stat_user_indexes WHERE schemaname = current_schema() "
            f"AND indexrelid NOT IN ({keys})",
            (),
        )
    elif engine == "mariadb":
        listed = "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
        found = truth._ask(f"{listed} AND non_unique", ())
    elif engine == "sqlite":
        # Revisions are unique by an index, where other engines have a constraint.
        found = truth._ask("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql NOT LIKE 'CREATE UNIQUE%'", ())
    else:
        found = truth._ask("SELECT index_name FROM duckdb_indexes()", ())
    assert found == []
    truth.close()


@pytest.mark.parametrize("model", ["snapshot", "history"])
def test_indexes_for_readers_are_used_change_no_answer_and_go_when_they_are_not_wanted(
    model: str, tmp_path: Path
) -> None:
    def used(truth: Truth, query: Query, parameters: Row) -> bool:
        assert isinstance(truth, Relational)
        statement, arguments = translate(query, truth.reads, truth.engine)
        steps = truth._ask(f"EXPLAIN QUERY PLAN {statement}", bind(arguments, parameters))
        return any("lab_employee_1" in str(step) for step in steps)

    place = FolderPlace(tmp_path)
    truth = open_truth("sqlite", model, place, EMPLOYEES, "normal", indexed=True)
    oracle = filled(truth, commands(300, records=60, deletes=0.1))
    asked = [one for one in questions(EMPLOYEES, oracle, 3, 1) if truth.answers(one[0])]
    for query, parameters, right in asked:
        assert same(right, truth.query(query, parameters)), (query.name, parameters)
    filters = [one for one in asked if one[0].kind == "filter"]
    assert filters
    assert all(used(truth, query, parameters) for query, parameters, _ in filters)
    outcome = truth.execute(commands(301, records=60)[-1])
    assert outcome.status in ("accepted", "rejected")
    truth.close()
    truth = open_truth("sqlite", model, place, EMPLOYEES, "normal")
    assert not any(used(truth, query, parameters) for query, parameters, _ in filters)
    truth.close()


@pytest.mark.parametrize(
    ("engine", "model", "why"),
    [
        ("sqlite", "events", "events answer no query"),
        ("duckdb", "snapshot", "`duckdb` can't overwrite what is indexed"),
        ("duckdb", "history", "`duckdb` has no index that helps readers"),
    ],
)
def test_an_index_that_is_of_no_use_or_cannot_be_is_refused(engine: str, model: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    with pytest.raises(BadInput, match=rf"truth\.indexed: {why}"):
        plan(Source(path, (f"truth.engine={engine}", f"truth.model={model}", "truth.indexed=true")))


# Patience


class Slow:
    """Answers nothing, and moves the clock on by so many seconds for it."""

    name = "slow.thing"

    def __init__(self, seconds: float, clock: list[int]) -> None:
        self.seconds, self.clock = seconds, clock

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Nothing."""
        self.clock[0] += int(self.seconds * 1e9)
        return []


@pytest.mark.parametrize(
    ("patient", "seconds", "asks", "samples"),
    [
        # Within the budget: every round.
        (True, 0.01, 23, 20),
        (False, 0.01, 23, 20),
        # Over it at the first ask: with patience all of the warm-up and five samples, without it one round and two.
        (True, 2.0, 8, 5),
        (False, 2.0, 3, 2),
        # It lasts for some rounds: warm-up counts for the impatient one alone.
        (True, 0.15, 10, 7),
        (False, 0.15, 7, 4),
    ],
)
def test_without_patience_a_slow_query_is_asked_a_few_times(
    patient: bool, seconds: float, asks: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    monkeypatch.setattr(asked, "perf_counter_ns", lambda: clock[0])
    query = asked_of(EMPLOYEES)[0]
    one = asked.Asked("truth", Slow(seconds, clock), query, patient)
    asking.in_rounds([one], {query.name: [(1,)]}, asking.CallLimits(3, 20, 1.0), stream(1, "rounds"))
    assert len(one.answers) == asks
    assert len(one.nanoseconds) == samples
    row = queries.table([one]).row(0, named=True)
    assert (row["samples"], row["store"]) == (samples, "slow.thing")


# In a run

SMALL = ("workload.commands=300", "domain.records=60", "measure.rebuild=false", "readers.sessions=0")


def small(root: Path, *overrides: str) -> Run:
    return run_text(root, SCENARIO, *SMALL, *overrides)


def of_truth(finished: Run) -> pl.DataFrame:
    return finished.table("queries").filter(pl.col("projection") == "truth")


def said(finished: Run) -> str:
    """What `lab run` prints."""
    out = io.StringIO()
    print_run(finished, Console(width=120, file=out))
    return out.getvalue()


@pytest.mark.parametrize("model", ["snapshot", "history"])
def test_it_has_its_rows_beside_the_projections(model: str, tmp_path: Path) -> None:
    guard = "projection.payroll.guard=revision"
    finished = small(tmp_path, f"truth.model={model}", guard)
    rows = of_truth(finished)
    names = [query.name for query in asked_of(EMPLOYEES) if model == "history" or query.kind not in PAST]
    assert rows["query"].to_list() == names
    assert set(rows["store"]) == {f"sqlite.{model}"}
    assert rows["answer_ok"].all()
    assert rows["p50_us"].is_not_null().all()
    assert set(rows["cold_samples"]) == {5}
    assert set(rows["temperature"]) == {"hot"}
    # The same questions: an answer of it has as many rows as one of a projection.
    counts = finished.table("queries").filter(pl.col("projection") == "directory").select("query", "rows")
    both = rows.select("query", own="rows").join(counts, on="query")
    assert both.height == 8
    assert both["own"].equals(both["rows"].alias("own"))
    truth = dict(finished.manifest["truth"])
    assert truth.pop("size_bytes") > 0
    assert truth == {"model": model, "engine": "sqlite", "answers": "pass"}
    assert finished.manifest["verdict"] == "pass"
    found = finished.table("verdicts").filter(pl.col("projection") == "truth")
    assert found.select("check", "verdict", "count").rows() == [("answers_right", "pass", 0)]
    (line,) = (line for line in said(finished).splitlines() if line.startswith("truth"))
    assert line.split()[:4] == ["truth", f"sqlite.{model}", "✓", "pass"]
    page = (finished.path / "report.html").read_text()
    assert f'<th scope="row">truth<small>sqlite.{model}</small></th>' in page
    assert "The source of truth itself answered" in page


@pytest.mark.parametrize("override", ["truth.model=events", "measure.truth=false"])
def test_it_has_none_where_it_cannot_answer_or_is_not_asked(override: str, quick: None, tmp_path: Path) -> None:
    finished = small(tmp_path, override)
    assert of_truth(finished).is_empty()
    assert finished.table("verdicts").filter(pl.col("projection") == "truth").is_empty()
    assert finished.manifest["truth"]["answers"] is None
    assert finished.manifest["verdict"] == "pass"
    page = write_report(finished).read_text()
    assert '<th scope="row">truth' not in page
    assert "The source of truth itself" not in page
    assert not any(line.startswith("truth") for line in said(finished).splitlines())


def test_a_wrong_answer_of_it_fails_the_run_with_a_witness(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Relational.query

    def bent(self: Relational, query: Query, parameters: Row) -> list[Row]:
        rows = straight(self, query, parameters)
        return rows[1:] if query.kind == "get_many" else rows

    monkeypatch.setattr(Relational, "query", bent)
    finished = small(tmp_path)
    assert finished.manifest["verdict"] == "fail"
    assert finished.manifest["truth"]["answers"] == "fail"
    assert set(verdicts(finished).values()) == {"pass"}
    assert failed(finished) == {"answers_right"}
    assert failed(finished, "truth") == {"answers_right"}
    assert witness(finished, "truth", "answers_right").startswith("wrong answer: team_sheet(")
    rows = of_truth(finished)
    wrong = rows.filter(~pl.col("answer_ok"))
    assert wrong["query"].to_list() == ["team_sheet"]
    assert wrong["p50_us"].is_null().all()
    assert rows.filter("answer_ok")["p50_us"].is_not_null().all()
    told = said(finished)
    assert "not as expected: the source of truth itself gave wrong answers" in told
    assert "wrong answer: team_sheet(" in told
    page = write_report(finished).read_text()
    assert "the source of truth itself gave wrong answers" in page
    assert "wrong answer: team_sheet(" in page


def test_the_command_line_s_status_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relational, "query", lambda *_: [("nonsense",)])
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    words = [part for item in (*SMALL, "truth.model=snapshot", "projection.payroll.guard=revision")
             for part in ("--set", item)]  # fmt: skip
    assert call("run", str(path), "--runs", str(tmp_path / "runs"), *words).exit_code == 1


def test_two_engines_are_compared(quick: None, tmp_path: Path) -> None:
    few = ("workload.commands=80", "domain.records=20", "truth.durability=full")
    runs = [small(tmp_path, *few, f"truth.engine={engine}", f"name={engine}") for engine in ("sqlite", "duckdb")]
    assert [run.manifest["durability"] for run in runs] == ["full", "full"]
    assert [set(of_truth(run)["store"]) for run in runs] == [{"sqlite.history"}, {"duckdb.history"}]
    result = compare(*runs)
    assert result["truth"] == ["sqlite.history", "duckdb.history"]
    rates = [run.table("writes")["per_second"][0] for run in runs]
    assert (result["writes"]["a_per_second"], result["writes"]["b_per_second"]) == tuple(rates)
    assert result["writes"]["ratio"] == pytest.approx(rates[1] / rates[0])
    rows = {row["query"]: row for row in result["queries"] if row["projection"] == "truth"}
    assert set(rows) == {query.name for query in asked_of(EMPLOYEES)}
    assert all(row["ratio"] is not None for row in rows.values())
    assert all(row["says"].startswith("not judged: ") for row in rows.values())
    out = io.StringIO()
    print_compare(result, Console(width=100, file=out))
    assert "duckdb: duckdb.history" in out.getvalue()


def test_a_run_that_did_not_ask_it_can_be_compared_with_one_that_did(quick: None, tmp_path: Path) -> None:
    runs = [small(tmp_path, f"measure.truth={asked}") for asked in ("true", "false")]
    for pair in (runs, runs[::-1]):
        result = compare(*pair)
        assert {row["projection"] for row in result["queries"]} == {"directory", "analytics", "payroll"}


def test_the_manifest_says_that_a_commit_of_duckdb_is_synced(quick: None, tmp_path: Path) -> None:
    few = ("workload.commands=60", "domain.records=20", "truth.durability=normal", "truth.engine=duckdb")
    finished = small(tmp_path, *few)
    assert finished.manifest["durability"] == "full"
    assert finished.manifest["engines"]["truth"]["durability"] == "full"
    assert finished.manifest["verdict"] == "pass"


def test_the_scenario_that_ships_shows_it(quick: None, tmp_path: Path) -> None:
    finished = shipped("columnar-truth", tmp_path, "workload.commands=60", "domain.records=30")
    assert finished.manifest["verdict"] == "pass"
    truth = dict(finished.manifest["truth"])
    assert truth.pop("size_bytes") > 0
    assert truth == {"model": "history", "engine": "duckdb", "answers": "pass"}
    assert set(of_truth(finished)["store"]) == {"duckdb.history"}


def test_the_name_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO.replace('name = "directory"', 'name = "truth"'))
    result = call("validate", str(path))
    assert result.exit_code == 2
    assert "mine.toml: projection.truth.name: `truth` is reserved for the source of truth" in result.stderr
    assert "call the projection something else" in result.stderr
