"""A disk that gets full in mid-run: one line and no half result, or a wait until there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from reachable import own_instance
from small_disk import filled, small_disk

from lab.engines.dsn import Dsn
from lab.engines.postgres import Session, connect
from lab.live.run import run_live
from lab.scenario import Source
from lab.wiring import plan

TEXT = """
schema = 1
name = "full"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 400
rate = 100.0
[truth]
model = "history"
[catch_up]
every = 0.1
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
"""
PROJECTION = '[[projection]]\nname = "mine"\nstore = "{store}"\n'


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.server("postgres")
def test_a_projection_whose_server_has_no_room_waits_for_it_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "full.toml"
    scenario.write_text(TEXT + PROJECTION.format(store="postgres.table"))
    with small_disk(8) as disk, own_instance("postgres") as own:
        owner = own.folder.stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        with connect(Dsn(own.url)) as connection:
            session = Session(connection)
            session.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            session.execute("ALTER ROLE postgres SET default_tablespace = 'small'")
        monkeypatch.setenv("LAB_POSTGRES", own.url)
        said = list[str]()

        def told() -> str:
            said.append(capfd.readouterr().err)
            return "".join(said)

        def fill() -> None:
            until(lambda: any(file.stat().st_size for file in tmp_path.glob("runs/*/.*/work/served/writer-1.journal")))
            ballast = filled(disk)
            until(lambda: "No space left on device" in told())
            ballast.unlink()

        with ThreadPoolExecutor(1) as other:
            filling = other.submit(fill)
            done = run_live(plan(Source(scenario, ("time.mode=live",))), tmp_path / "runs", report=False)
            filling.result()
    assert done.manifest["verdict"] == "pass"
    assert done.manifest["live"]["caught_up"]
    assert done.table("lag")["lag_seconds"].null_count() == 0
    lines = told().splitlines()
    (one,) = [line for line in lines if "No space left on device" in line]
    assert one.startswith("mine: ")
    assert "mine: that is over, and it goes on" in lines
    assert "Traceback" not in told()


@pytest.mark.parametrize("store", ["sqlite.table", "duckdb.columnar"])
def test_a_run_whose_own_disk_is_full_ends_with_the_reason_and_leaves_no_half(store: str, tmp_path: Path) -> None:
    scenario = tmp_path / "full.toml"
    scenario.write_text(TEXT + PROJECTION.format(store=store))
    with small_disk(16) as disk:
        command = [sys.executable, "-m", "lab", "run", str(scenario), "--live", "--runs", str(disk / "runs")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: any(f.stat().st_size for f in disk.glob("runs/*/.*/work/served/writer-1.journal")))
        filled(disk)
        printed, errors = process.communicate(timeout=120)
        left = [file for file in disk.rglob("*") if file.is_file() and file.name != "ballast"]
    assert process.returncode == 4, printed + errors
    assert "no space left on device" in errors
    assert "Traceback" not in errors
    assert all(line.startswith(("error: ", "mine: ")) for line in errors.splitlines()), errors
    assert left == []
