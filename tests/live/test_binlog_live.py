"""A live run on MariaDB whose projections are fed in every way there is: judged alike, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from streamed import own_server
from test_feeds_live import ONE, TEXT

from lab.base import BadInput
from lab.live.run import run_live
from lab.runs import Run
from lab.scenario import Source
from lab.servers.mariadb import LEDGER
from lab.wiring import Plan, plan

pytestmark = pytest.mark.server("mariadb")
MARIADB = TEXT.replace('engine = "postgres"', 'engine = "mariadb"').replace('gaps = "horizon"', 'gaps = "serialise"')
MARIADB = MARIADB.replace('gaps = "serialise"', 'gaps = "{gaps}"\ngap_limit = 0.5')


def planned(folder: Path, model: str, feeds: tuple[str, ...], more: str = "", *overrides: str) -> Plan:
    path = folder / "fed.toml"
    # Overwritten revisions of a snapshot are gaps to a poll, which streams don't have.
    gaps = "naive" if model == "snapshot" else "hold"
    text = MARIADB.format(model=model, gaps=gaps)
    path.write_text(text + "".join(ONE.format(name=feed, feed=feed) for feed in feeds) + more)
    return plan(Source(path, overrides))


@pytest.fixture(scope="module", params=["history", "snapshot"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a projection for each feed, and running totals fed by the outbox."""
    folder = tmp_path_factory.mktemp("fed")
    snapshot = request.param == "snapshot"
    feeds = ("outbox", "log") if snapshot else ("poll", "outbox", "log")
    totals = ONE.format(name="totals", feed="outbox") + 'guard = "revision"\nkeeps = "totals"\n'
    with own_server("mariadb"):
        found = run_live(planned(folder, request.param, feeds, totals), folder / "runs", report=False)
        with LEDGER.session() as session:
            assert [line for line in LEDGER.lines(session) if line.folder.startswith(str(folder))] == []
            assert session.execute("SHOW DATABASES LIKE 'lab\\_fed%'").fetchall() == []
        return found


def test_every_feed_is_judged_as_polls_are(run: Run) -> None:
    assert run.manifest["verdict"] == "pass"
    assert run.table("verdicts").filter(pl.col("verdict") == "fail").is_empty()
    assert run.manifest["live"]["caught_up"]
    lag = run.table("lag")
    assert lag.height == run.manifest["changes"] * len(run.manifest["projections"])
    assert lag["lag_seconds"].null_count() == 0


def test_what_feeds_cost_is_told_and_what_of_the_log_lay_before_its_reader(run: Run) -> None:
    by_feed = {row["feed"]: row for row in run.table("feeds").to_dicts()}
    assert by_feed["outbox"]["wal_bytes_per_command"] > by_feed["log"]["wal_bytes_per_command"] > 0
    slots = run.table("slots")
    assert set(slots["projection"]) == {"log"}
    assert set(slots["status"]) == {"kept"}
    assert slots.filter(pl.col("retained_bytes") < 0).is_empty()


def test_a_server_without_a_log_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with own_server("mariadb", {"skip_log_bin": "1"}), pytest.raises(BadInput) as refused:
        run_live(planned(tmp_path, "history", ("log",)), tmp_path / "runs")
    (problem,) = refused.value.problems
    assert str(problem).startswith("fed.toml: projection.log.feed: log_bin is OFF: ")
    assert "lab servers start mariadb" in str(problem)


@pytest.mark.parametrize(
    ("feed", "set_", "said"),
    [
        ("notify", (), "`mariadb` has no `notify`: it has `poll`, `outbox` and `log`"),
        ("log", ("projection.log.decoder=wal2json",), "`wal2json` decodes the log of PostgreSQL"),
        ("log", ("catch_up.decoder=wal2json",), r"catch_up\.decoder: `wal2json` decodes the log of PostgreSQL"),
        ("log", ("truth.model=events",), "has events, and a projection takes states"),
        ("log", ("projection.log.gaps=hold",), "brings what is committed, whatever its position"),
    ],
)
def test_a_feed_that_cannot_be_is_refused_when_the_scenario_is_read(
    tmp_path: Path, feed: str, set_: tuple[str, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        planned(tmp_path, "history", (feed,), "", *set_)
    (problem,) = refused.value.problems
    assert problem.way_out
