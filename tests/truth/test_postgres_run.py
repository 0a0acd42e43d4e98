"""A run whose source of truth is on a PostgreSQL server: on the simulated clock, judged as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from pieces import SCENARIO
from running import run_text, verdicts

from lab.base import BadInput
from lab.engines.postgres import Session
from lab.servers.postgres import LEDGER, SERVER

pytestmark = pytest.mark.server("postgres")
SMALL = (
    "workload.commands=300", "domain.records=60", "measure.rebuild=false", "readers.sessions=0",
    "projection.payroll.guard=revision", "truth.engine=postgres",
)  # fmt: skip


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_every_write_model_carries_a_run(model: str, quick: None, tmp_path: Path) -> None:
    finished = run_text(tmp_path, SCENARIO, *SMALL, f"truth.model={model}")
    assert finished.manifest["verdict"] == "pass"
    assert set(verdicts(finished).values()) == {"pass"}
    assert finished.manifest["truth"]["engine"] == "postgres"
    # What it made on the server is gone with its work.
    with SERVER.connect() as connection:
        left = [line.folder for line in LEDGER.lines(Session(connection))]
    assert not [folder for folder in left if folder.startswith(str(tmp_path))]
    queries = finished.table("queries").filter(projection="truth")
    if model == "events":
        assert queries.is_empty()
        return
    assert set(queries["store"]) == {f"postgres.{model}"}
    assert queries["answer_ok"].all()
    assert finished.manifest["truth"]["answers"] == "pass"


def test_a_server_that_is_not_reached_is_told_before_the_run_begins(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_POSTGRES", "postgresql://somebody:secret@127.0.0.1:1/nowhere")
    with pytest.raises(BadInput, match=r"truth\.engine: no PostgreSQL server is reached: .*start one: ") as told:
        run_text(tmp_path, SCENARIO, *SMALL)
    assert "secret" not in str(told.value)
