"""A live run whose projections are fed in every way: judged alike, and nothing of it stays on the server."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from reachable import own_instance
from streamed import own_server, plugin_needed

from lab.base import BadInput
from lab.engines.postgres import Session
from lab.live.run import run_live
from lab.runs import Run
from lab.scenario import Source
from lab.servers.postgres import LEDGER, SERVER
from lab.truth import slots
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "fed"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 300
rate = 150.0
deletes = 0.02
[truth]
engine = "postgres"
model = "{model}"
durability = "full"
[time]
mode = "live"
[catch_up]
every = 0.1
gaps = "horizon"
[writers]
count = 3
abort = 0.05
[measure]
trials = false
rebuild = false
truth = false
samples = 3
blocks = 2
budget = 0.05
"""
ONE = '[[projection]]\nname = "{name}"\nstore = "sqlite.table"\nsubscribe = "catch-up"\nfeed = "{feed}"\n'
EACH = ("poll", "notify", "outbox", "log")


def planned(folder: Path, model: str, feeds: tuple[str, ...], more: str = "", *overrides: str) -> Plan:
    path = folder / "fed.toml"
    path.write_text(TEXT.format(model=model) + "".join(ONE.format(name=feed, feed=feed) for feed in feeds) + more)
    return plan(Source(path, overrides))


@pytest.fixture(scope="module", params=["history", "snapshot", "events"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a projection for each feed that the write model has, and running totals fed by the outbox."""
    folder = tmp_path_factory.mktemp("fed")
    feeds = EACH[:3] if request.param == "events" else EACH
    guard = "revision" if request.param == "snapshot" else "ordered"
    totals = ONE.format(name="totals", feed="outbox") + f'guard = "{guard}"\nkeeps = "totals"\n'
    with own_instance("postgres") as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_POSTGRES", one.url)
        found = run_live(planned(folder, request.param, feeds, totals), folder / "runs", report=False)
        with SERVER.connect() as connection:
            session = Session(connection)
            for table in ("pg_replication_slots", "pg_publication"):
                assert session.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            with LEDGER.session() as ledger:
                assert [line for line in LEDGER.lines(ledger) if line.folder.startswith(str(folder))] == []
        return found


def test_every_feed_is_judged_as_polls_are(run: Run) -> None:
    assert run.manifest["verdict"] == "pass"
    verdicts = run.table("verdicts")
    assert set(verdicts["verdict"]) == {"pass"} or verdicts.filter(pl.col("verdict") == "fail").height == 0
    assert run.manifest["live"]["caught_up"]


def test_every_change_has_a_lag_with_parts_that_add_up(run: Run) -> None:
    lag, parts = run.table("lag"), run.table("lag_parts")
    assert lag.height == run.manifest["changes"] * len(run.manifest["projections"])
    assert lag["lag_seconds"].null_count() == 0
    both = lag.join(parts, on=["projection", "position"], how="left", validate="1:1")
    columns = [name for name in parts.columns if name.endswith("_seconds")]
    assert (both.select(pl.sum_horizontal(columns)).to_series() == both["lag_seconds"]).all()


def test_a_simulation_foretells_polls_alone(run: Run) -> None:
    assert run.table("foretold")["projection"].to_list() == ["poll"]


def test_a_log_that_is_for_replicas_only_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_instance("postgres", {"wal_level": "replica"}) as one:
        monkeypatch.setenv("LAB_POSTGRES", one.url)
        with pytest.raises(BadInput) as refused:
            run_live(planned(tmp_path, "history", ("log",)), tmp_path / "runs")
        (problem,) = refused.value.problems
        assert str(problem).startswith("fed.toml: projection.log.feed: wal_level is replica: ")
        assert "lab servers start postgres" in str(problem)


def test_a_run_by_wal2json_is_judged_alike(tmp_path: Path) -> None:
    with own_server("postgres"):
        plugin_needed()
        made = planned(tmp_path, "snapshot", ("log",), "", "projection.log.decoder=wal2json", "workload.commands=100")
        found = run_live(made, tmp_path / "runs", report=False)
    assert found.manifest["verdict"] == "pass"
    assert found.manifest["live"]["caught_up"]


def test_a_plugin_that_the_server_lacks_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "WAL2JSON", "no_such_plugin")
    with own_server("postgres"), pytest.raises(BadInput) as refused:
        run_live(planned(tmp_path, "history", ("log",), "", "catch_up.decoder=wal2json"), tmp_path / "runs")
    (problem,) = refused.value.problems
    assert str(problem).startswith("fed.toml: projection.log.decoder: the server doesn't ")
    assert 'decoder = "pgoutput"' in str(problem)


@pytest.mark.parametrize(
    ("feed", "set_", "said"),
    [
        ("log", ("truth.engine=sqlite",), "`sqlite` has no `log`: its readers poll"),
        ("notify", ("truth.engine=sqlite",), "`sqlite` has no `notify`"),
        ("outbox", ("time.mode=simulated", "writers.abort=0"), "`outbox` is for the wall clock"),
        ("log", ("truth.model=events",), "`postgres` has no `log`|has events, and a projection takes states"),
        (
            "outbox",
            ("projection.outbox.gaps=hold",),
            "brings what is committed, whatever its position",
        ),
        ("outbox", ("catch_up.gaps=xmin",), "beside a reader with `xmin`"),
        ("log", ("projection.log.keeps=totals", "projection.log.guard=ordered"), "each record as it was before"),
        ("rumour", (), "feed"),
    ],
)
def test_a_feed_that_cannot_be_is_refused_when_the_scenario_is_read(
    tmp_path: Path, feed: str, set_: tuple[str, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        planned(tmp_path, "history", (feed,), "", *set_)
    assert any(problem.way_out for problem in refused.value.problems) or feed == "rumour"


def test_what_feeds_cost_is_told_and_what_slots_kept(run: Run) -> None:
    feeds = run.table("feeds")
    assert feeds["projection"].to_list() == [each["name"] for each in run.manifest["projections"]]
    assert feeds["feed"].to_list()[-1] == "outbox"
    by_feed = {row["feed"]: row for row in feeds.to_dicts()}
    assert by_feed["poll"]["command_ratio"] == 1.0
    # A second row for each change, which is deleted again; nothing is said of times.
    assert by_feed["outbox"]["wal_bytes_per_command"] > by_feed["poll"]["wal_bytes_per_command"]
    assert (feeds["commands"] == 300).all()
    assert run.manifest["clocks"] | {"feeds": "wall", "slots": "wall, live"} == run.manifest["clocks"]
    slots = run.table("slots")
    assert set(slots["projection"]) == ({"log"} if "log" in by_feed else set())
    assert slots.filter(pl.col("retained_bytes") < 0).is_empty()
    assert slots["safe_bytes"].null_count() == slots.height
