"""A whole run with projections on a server: judged, rebuilt and tried as any other; nothing of it is left there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from documents import ROOT
from psycopg import conninfo

from lab.base import BadInput
from lab.engines.postgres import Session
from lab.experiment import run
from lab.scenario import Source
from lab.servers.postgres import LEDGER, SERVER
from lab.wiring import plan

SCENARIO = ROOT / "scenarios" / "employees-postgres.toml"
SMALL = (
    "workload.commands=600",
    "domain.records=60",
    "measure.samples=3",
    "projection.directory-server.rebuild.at=0.3",
)
PASSWORD = "hunter2-of-a-test"


@pytest.mark.server("postgres")
def test_a_run_on_a_server_is_judged_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = conninfo.conninfo_to_dict(SERVER.dsn().secret)
    # Where a server asks for no password, it takes any.
    password = str(given.setdefault("password", PASSWORD))
    monkeypatch.setenv("LAB_POSTGRES", conninfo.make_conninfo("", **given))
    found = run(plan(Source(SCENARIO, SMALL)), tmp_path / "runs")
    assert found.manifest["verdict"] == "pass"
    verdicts = found.table("verdicts").filter(pl.col("projection").str.ends_with("-server"))
    assert set(verdicts["verdict"]) <= {"pass", "unknown"}
    tried = verdicts.filter(pl.col("check").is_in(["values_preserved", "survives_crash"]))
    assert tried.height == 6
    assert set(tried["verdict"]) == {"pass"}
    assert found.table("queries").filter(pl.col("projection").str.ends_with("-server"))["answer_ok"].all()
    assert found.manifest["engines"]["directory-server"]["synchronous_commit"] == "off"
    assert set(found.manifest["servers"]) == {"postgres"}
    told = found.manifest["servers"]["postgres"]
    assert (told["version"], PASSWORD in told["url"]) == (told["settings"]["server_version"], False)
    with SERVER.connect() as connection:
        left = [line for line in LEDGER.lines(Session(connection)) if line.folder.startswith(str(tmp_path))]
    assert left == []
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert [file for file in kept if password.encode() in file.read_bytes()] == []


def test_without_its_server_a_run_is_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_POSTGRES", f"postgresql://me:{PASSWORD}@127.0.0.1:1/nothing")
    with pytest.raises(BadInput) as refused:
        run(plan(Source(SCENARIO, SMALL)), tmp_path / "runs")
    assert len(refused.value.problems) == 3
    said = str(refused.value)
    assert "employees-postgres.toml: projection.directory-server.store: no PostgreSQL server is reached" in said
    assert "Connection refused" in said
    assert "apt-get install postgresql" in said
    assert PASSWORD not in said
