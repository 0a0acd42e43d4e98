"""Load: what Locust's workers wrote is counted, every projection has its lag, and the run is like any other."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lab.load import events as log
from lab.load.driving import LOCUSTFILE, Order, drive
from lab.load.events import EventLog, WorkerLost
from lab.load.knee import judged, lasting, search
from lab.load.run import LoadResult
from lab.report.loads import knee as knee_figure
from lab.report.loads import quantile_said
from lab.report.style import svg
from lab.runs import Run, load_run
from lab.service.local import LocalService
from lab.tables import TABLES

HERE = Path(__file__).parents[2]
SMALL = ["--set", "workload.commands=4000", "--set", "domain.records=300", "--set", "measure.samples=3"]
EMPLOYEES = str(HERE / "scenarios" / "employees.toml")


def lab(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process, in a folder of its own."""
    command = [sys.executable, "-m", "lab", *arguments]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})


def unquiet(said: dict[str, Any]) -> bool:
    """Whether a load is void, for the one reason that a test accepts: other programs kept the generator waiting."""
    if not said["load"]["void"]:
        return False
    why = said["load"]["why"]
    assert why.startswith(("the generator was late", "the generator offered")), why
    return True


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Run, Path]:
    folder = tmp_path_factory.mktemp("load")
    found = lab(folder, "load", EMPLOYEES, *SMALL, "--rate", "60", "--duration", "6", "--json")
    assert found.returncode in (0, 3), found.stdout[-2000:] + found.stderr[-2000:]
    said = json.loads(found.stdout)
    assert (found.returncode == 3) == (unquiet(said) or said["verdict"] == "unknown")
    return said, load_run("employees", folder / "runs"), folder


def test_a_load_is_a_run_with_lag_for_every_projection(loaded: tuple[dict[str, Any], Run, Path]) -> None:
    said, run, _ = loaded
    assert said["verdict"] == "pass"
    assert {
        row["projection"]: row["verdict"] for row in said["verdicts"] if row["check"] == "no_loss"
    } == dict.fromkeys(("directory", "analytics", "payroll"), "pass")
    rows = {row["row"]: row for row in said["rows"]}
    assert sum(row["failed"] for row in rows.values()) == 0
    for row in rows.values():
        assert row["offered"] == row["answered"] + row["failed"] + row["censored"]
    for name in ("directory", "analytics", "payroll"):
        assert rows[f"LAG/{name}"]["offered"] > 0
        assert rows[f"RYW-CHECKPOINT/{name}"]["answered"] > 0
        # On a very busy machine the load is over before there is anything to ask for.
        assert any(row.startswith(f"QUERY/{name}/") for row in rows) or unquiet(said)
    # Totals have no record to be seen.
    assert {name for name in rows if name.startswith("RYW/")} == {"RYW/directory", "RYW/analytics"}
    # The same command, looked for in both ways: the record is there when everything up to it is, or before.
    assert rows["RYW/directory"]["offered"] <= rows["RYW-CHECKPOINT/directory"]["offered"]
    accepted = run.writes["accepted"][0]
    assert accepted > 50
    # One change for each command that was accepted, and each has a lag, or is known to have none. One whose answer did
    # not come in time may have been committed.
    for row in run.lag_summary.to_dicts():
        assert 0 <= row["changes"] - accepted <= rows["COMMAND"]["censored"]
        assert row["visible"] == row["changes"]
    # What each lag was spent on adds up to it.
    parts = run.table("lag_parts")
    both = run.table("lag").join(parts, on=["projection", "position"], validate="1:1")
    assert both.height == parts.height == run.table("lag").drop_nulls().height > 0
    spent = both.select(pl.sum_horizontal(name for name in parts.columns if name.endswith("_seconds"))).to_series()
    assert spent.to_list() == both["lag_seconds"].to_list()
    assert set(run.queries.filter(pl.col("projection") != "truth")["answer_ok"]) == {True}
    # Readers over HTTP have one temperature, and their times are in `events.parquet`.
    assert set(run.queries["temperature"]) == {"load"}
    assert run.queries["cold_p50_us"].is_null().all()
    assert not run.has("query_samples")
    assert said["load"]["generator_delay_p99_seconds"] is not None


def test_what_the_log_has_is_what_locust_counted(loaded: tuple[dict[str, Any], Run, Path]) -> None:
    _, run, _ = loaded
    events = pl.read_parquet(run.path / "events.parquet")
    counted = dict(events.group_by("row").len().iter_rows())
    of_locust = run.load.filter(~pl.col("row").str.starts_with("LAG/"))
    assert counted == dict(of_locust.select("row", "offered").iter_rows())
    sent = [row["offered"] for row in of_locust.to_dicts() if row["row"].startswith(("COMMAND", "QUERY/", "NOT-SENT"))]
    assert sum(sent) == counted["SCHEDULE"]
    assert set(events["worker"]) == {0, 1}
    assert counted["COMMAND"] == run.writes["commands"][0]


def test_a_simulation_of_the_same_load_stands_beside_it(loaded: tuple[dict[str, Any], Run, Path]) -> None:
    _, run, _ = loaded
    assert run.foretold["projection"].to_list() == ["directory", "analytics", "payroll"]
    for row in run.foretold.to_dicts():
        assert 0.0 < row["busy_share"] < 1.0
        for name, within in (("p50", 0.15), ("p99", 0.25)):
            simulated, loaded_ = row[f"simulated_{name}_seconds"], row[f"loaded_{name}_seconds"]
            if simulated is None or loaded_ is None:
                # Too few changes for a p99, where the machine that the test shares was too busy for the load.
                assert row[f"{name}_error"] is None
                continue
            assert row[f"{name}_error"] == pytest.approx(loaded_ / simulated - 1)
            # Whether it holds depends on the machine that the test shares; something like it must come out on any.
            assert abs(row[f"{name}_error"]) < 3 * within
        if None not in (row["p50_error"], row["p99_error"]):
            assert row["holds"] == (abs(row["p50_error"]) <= 0.15 and abs(row["p99_error"]) <= 0.25)


def test_other_commands_read_the_run(loaded: tuple[dict[str, Any], Run, Path]) -> None:
    said, run, folder = loaded
    page = (run.path / "report.html").read_text(encoding="utf-8")
    # A load is on the wall clock, and says so from its first paragraph on.
    assert "of simulated time" not in page
    assert 'id="load-title"' in page
    assert "RYW-CHECKPOINT/directory" in page
    assert ("This load is void" in page.split("<main>")[0]) == said["load"]["void"]
    assert "The lag that a simulation of the same load foretold" in page
    # A busy machine makes the generator late.
    advice = lab(folder, "advise", "employees", "--anyway", "--json")
    assert advice.returncode in (0, 1), advice.stderr
    found = json.loads(advice.stdout)
    # On a very busy machine the load is over before there is anything to ask for.
    assert found["portfolio"] or found["runners_up"] or unquiet(said)
    same = lab(folder, "compare", "employees", str(run.path), "--anyway", "--json")
    assert same.returncode == 0, same.stderr


def test_flights_take_no_commands_and_are_asked_all_the_same(tmp_path: Path) -> None:
    found = lab(
        tmp_path, "load", str(HERE / "scenarios" / "flights.toml"), "--set", "domain.days=1", "--rate", "30",
        "--duration", "2", "--json", "--set", "measure.samples=2",
    )  # fmt: skip
    assert found.returncode in (0, 3), found.stderr
    said = json.loads(found.stdout)
    rows = {row["row"]: row for row in said["rows"]}
    assert "COMMAND" not in rows
    assert any(name.startswith("QUERY/board/") for name in rows)
    assert said["verdict"] == "pass"


def test_locust_s_file_is_part_of_the_package() -> None:
    assert LOCUSTFILE.is_file()
    assert Path(str(files("lab"))) in LOCUSTFILE.parents
    assert "lab.load.users" in (HERE / "benchmarks" / "locustfile.py").read_text(encoding="utf-8")


def test_a_master_and_two_workers_on_loopback(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.mkdir()
    locust = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    quiet = os.environ | {
        "LAB_RATE": "20", "LAB_SECONDS": "3", "LAB_EVENTS": str(events), "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    port = str(_free())
    with LocalService([EMPLOYEES, *SMALL], tmp_path / "served", "--journal") as service:
        here = ["--master-host", "127.0.0.1", "--master-port", port]
        workers = [subprocess.Popen([*locust, "--worker", *here], env=quiet, stderr=subprocess.DEVNULL) for _ in "ab"]
        master = subprocess.run(
            [
                *locust, "--master", "--master-bind-port", port, "--expect-workers", "2", "--headless",
                "--host", service.url, "-u", "2", "-r", "2", "-t", "120s", "--csv", str(events / "stats"),
            ],
            env=quiet, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert [worker.wait(60) for worker in workers] == [0, 0]
    assert master.returncode == 0, master.stderr
    found = log.read(events, 2)
    log.confirm(found.events, events / "stats")
    assert log.unaccounted(found) is None
    assert {"COMMAND", "SCHEDULE", "RYW/directory", "RYW-CHECKPOINT/payroll"} <= set(found.events["row"])


SLOW = """
import gevent
from locust import events
from locust.runners import WorkerRunner


@events.test_stopping.add_listener
def slowly(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        gevent.sleep(1.5)
"""


def test_the_last_counts_of_a_worker_that_stops_slowly_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Locust itself waits half a second, which on a busy machine is too little.
    both = tmp_path / "both.py"
    both.write_text(f"{LOCUSTFILE.read_text(encoding='utf-8')}\n{SLOW}", encoding="utf-8")
    monkeypatch.setattr("lab.load.driving.LOCUSTFILE", both)
    events = tmp_path / "events"
    events.mkdir()
    with LocalService([EMPLOYEES, *SMALL], tmp_path / "served", "--journal") as service:
        drive(service.url, Order(seconds=1.0, users=4), 7, events)
    found = log.read(events, 2)
    log.confirm(found.events, events / "stats")
    assert log.unaccounted(found) is None
    assert found.offered["COMMAND"]


def _free() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_probe_that_gives_up_is_kept_as_that(tmp_path: Path) -> None:
    """Messages are held and there is no catch-up: nothing that is written can be read."""
    events = tmp_path / "events"
    events.mkdir()
    deaf = ["--set", "projection.directory.subscribe=channel", "--set", "projection.payroll.every=1000"]
    deaf += ["--set", "projection.analytics.every=1000", "--set", "channel.lose=1.0", "--set", "channel.duplicate=0.0"]
    with LocalService([EMPLOYEES, *SMALL, *deaf], tmp_path / "served", "--journal") as service:
        drive(service.url, Order(rate=10, seconds=3, processes=1, commands=1.0, probe_timeout=0.3), 1, events)
    found = log.read(events, 1)
    log.confirm(found.events, events / "stats")
    probes = found.events.filter(pl.col("row") == "RYW/directory")
    assert probes.height > 0
    assert probes["censored"].all()
    assert probes["seconds"].min() >= 0.3
    rows = {row["row"]: row for row in log.table(found, NO_LAG).to_dicts()}
    assert rows["RYW/directory"]["censored"] == rows["RYW/directory"]["offered"]
    assert rows["RYW/directory"]["p50_seconds"] is None
    # It has no checkpoint to wait for.
    assert "RYW-CHECKPOINT/directory" not in rows
    assert rows["RYW-CHECKPOINT/payroll"]["answered"] == 0


# --- counts, void, knee: on logs that are made up ---------------------------------------------------------------------


def written(folder: Path, worker: int, rows: list[dict[str, Any]], counts: dict[str, int] | None = None) -> None:
    """A worker's log."""
    told = counts
    if told is None:
        told = {}
        for row in rows:
            told[row["row"]] = told.get(row["row"], 0) + 1
    lines = [*rows, {"end": True, "part": worker, "counts": told, "offered": told}]
    (folder / f"events-{worker}.ndjson").write_text("\n".join(map(json.dumps, lines)) + "\n")


def test_a_worker_that_died_fails_the_load(tmp_path: Path) -> None:
    written(tmp_path, 0, [{"row": "COMMAND", "seconds": 0.1}])
    with pytest.raises(WorkerLost, match="worker 1"):
        log.read(tmp_path, 2)
    (tmp_path / "events-1.ndjson").write_text('{"row": "COMMAND", "seconds": 0.1}\n{"row": "COM')
    with pytest.raises(WorkerLost, match="worker 1"):
        log.read(tmp_path, 2)
    written(tmp_path, 1, [{"row": "COMMAND", "seconds": 0.1}], {"COMMAND": 2})
    with pytest.raises(WorkerLost, match="counted"):
        log.read(tmp_path, 2)


def test_a_count_that_differs_from_locust_s_fails_the_load(tmp_path: Path) -> None:
    written(tmp_path, 0, [{"row": "COMMAND", "seconds": 0.1}] * 3)
    events = log.read(tmp_path, 1).events

    def stats(as_json: int, as_csv: int) -> None:
        (tmp_path / "stats.json").write_text(json.dumps([{"name": "COMMAND", "num_requests": as_json}]))
        with (tmp_path / "stats_stats.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["Name", "Request Count"], ["COMMAND", as_csv], ["Aggregated", as_csv]])

    stats(3, 3)
    log.confirm(events, tmp_path / "stats")
    for counts in ((2, 3), (3, 4)):
        stats(*counts)
        with pytest.raises(WorkerLost, match="differ"):
            log.confirm(events, tmp_path / "stats")


def test_quantiles_by_hand(tmp_path: Path) -> None:
    rows = [{"row": "RYW/a", "seconds": place / 100, "service": place / 1000} for place in range(1, 100)]
    rows.append({"row": "RYW/a", "seconds": 0.001, "censored": True})
    written(tmp_path, 0, rows)
    [found] = log.table(log.read(tmp_path, 1), NO_LAG).to_dicts()
    # A hundred: the 50th, the 90th, the 99th; the one that gave up comes last.
    assert (found["offered"], found["answered"], found["censored"], found["failed"]) == (100, 99, 1, 0)
    assert [found["p50_seconds"], found["p90_seconds"], found["p99_seconds"]] == [0.5, 0.9, 0.99]
    assert found["service_p50_seconds"] == 0.05
    # One fewer, and there is no p99; one that failed has no time either, however soon it did.
    rows = [{"row": "RYW/a", "seconds": 0.1}] * 50 + [{"row": "RYW/a", "seconds": 0.001, "failed": "503"}] * 49
    written(tmp_path, 0, rows)
    [found] = log.table(log.read(tmp_path, 1), NO_LAG).to_dicts()
    assert (found["answered"], found["failed"]) == (50, 49)
    assert [found["p50_seconds"], found["p90_seconds"], found["p99_seconds"]] == [0.1, None, None]
    assert quantile_said(found, "p90") == "never"
    assert quantile_said(found, "p99") == "too few (99)"


def offered(late: float, count: int, failed: int = 0, censored: int = 0) -> EventLog:
    """A log of arrivals, each of which is a query."""
    rows: list[dict[str, Any]] = [{"row": "SCHEDULE", "seconds": late}] * count
    for place in range(count):
        why = {"failed": "503"} if place < failed else {"censored": place < failed + censored}
        rows.append({"row": "QUERY/a/q", "seconds": 0.01} | why)
    frame = pl.DataFrame([dict.fromkeys(log.COLUMNS) | row for row in rows], schema=log.COLUMNS)
    return EventLog(frame, {"SCHEDULE": count, "QUERY/a/q": count})


def lagging(seconds: float | None, changes: int = 100, visible: int = 100) -> pl.DataFrame:
    row = dict.fromkeys(TABLES["lag_summary"].types) | {"projection": "a", "changes": changes}
    row |= {"visible": visible, "never_visible": changes - visible}
    times = dict.fromkeys(("p50_seconds", "p90_seconds", "p99_seconds", "max_seconds"), seconds)
    return TABLES["lag_summary"].frame([row | times])


NO_LAG = TABLES["lag_summary"].frame()


def test_a_generator_that_was_late_or_offered_too_little_makes_the_load_void() -> None:
    assert log.void(offered(0.01, 1_000), 100.0, 10.0) is None
    assert "late" in str(log.void(offered(0.2, 1_000), 100.0, 10.0))
    assert "offered 500" in str(log.void(offered(0.01, 500), 100.0, 10.0))
    assert log.void(offered(9.9, 3), 0.0, 10.0) is None


QUICK = lagging(0.1)


def test_a_rate_is_not_held_for_each_reason_by_itself() -> None:
    def why(found: EventLog, void: str | None = None, caught_up: bool = True, lag: pl.DataFrame = QUICK) -> str:
        return judged(LoadResult(found, 0.0, void, caught_up, {}), lag, 100.0, 1.0).why

    assert why(offered(0.0, 100)) == ""
    assert "lag p99 of a 2.00 s" in why(offered(0.0, 100), lag=lagging(2.0))
    assert "errors 5.0%" in why(offered(0.0, 100, failed=5))
    assert "errors 5.0%" in why(offered(0.0, 100, failed=2, censored=3))
    assert "void: late" in why(offered(0.0, 100), "late")
    assert "caught up" in why(offered(0.0, 100), caught_up=False)
    assert "a showed 100 of 200 changes" in why(offered(0.0, 100), lag=lagging(None, 200))
    # Of too few changes nothing is known, and a level that is broken stays broken.
    few = judged(LoadResult(offered(0.0, 100), 0.0, None, True, {}), lagging(None, 60, 60), 100.0, 1.0)
    assert (few.held, few.why, few.unknown) == (None, "", "a had 60 changes, too few for a p99")
    assert {row["why"] for row in few.rows} == {f"unknown: {few.unknown}"}
    assert "errors 5.0%" in why(offered(0.0, 100, failed=5), lag=lagging(None, 60, 60))
    # A history that is replayed has no changes under load, and is held to its queries alone.
    assert why(offered(0.0, 100), lag=lagging(None, 0, 0)) == ""


@pytest.mark.parametrize("knee", [1.0, 60.0, 137.0, 1_000.0])
def test_the_knee_is_found_within_an_eighth_of_the_last_doubling(knee: float) -> None:
    asked = []

    def find(rate: float) -> Any:
        asked.append(rate)
        lag = 0.5 if rate <= knee else 5.0
        return judged(LoadResult(offered(0.0, 10), 0.0, None, True, {}), lagging(lag), rate, 1.0)

    held, steps = search(find)
    assert held <= knee
    assert len(asked) == len(steps) == len(set(asked))
    broken = min(step.rate for step in steps if not step.held)
    assert broken > knee
    assert broken - held <= max(asked) / 8 + 1e-9
    assert np.isfinite([row["lag_p99_seconds"] for step in steps for row in step.rows]).all()


@pytest.mark.parametrize("known", [200.0, 40.0])
def test_a_rate_of_which_nothing_is_known_ends_the_search_and_breaks_nothing(known: float) -> None:
    def find(rate: float) -> Any:
        changes = 100 if rate <= known else 60
        lag = lagging(0.5 if changes == 100 else None, changes, changes)
        return judged(LoadResult(offered(0.0, 10), 0.0, None, True, {}), lag, rate, 1.0)

    held, steps = search(find)
    assert held == (200.0 if known == 200.0 else 0.0)
    assert steps[-1].held is None
    assert all(step.held for step in steps[:-1])


def test_a_rate_is_tried_for_as_long_as_a_p99_needs() -> None:
    order = Order(rate=50.0, seconds=2.0)
    for rate in (6.25, 50.0, 400.0):
        found = lasting(order, rate, commands=True)
        assert found.rate * found.commands * found.seconds >= 140
    assert lasting(order, 400.0, commands=True).seconds == 2.0
    assert lasting(order, 6.25, commands=False).seconds == 2.0


def test_the_figure_of_a_knee_tells_its_times_in_units_and_crosses_what_did_not_hold() -> None:
    rows = [
        {"repetition": turn, "rate": rate, "projection": name, "lag_p99_seconds": rate / 300,
         "query_p99_seconds": rate / 1e4 if rate > 50 else None, "error_rate": 0.0, "held": rate < 700, "why": ""}
        for turn in (1, 2) for rate in (50.0, 100.0, 600.0, 650.0, 700.0, 800.0) for name in ("paid", "$cost$")
    ]  # fmt: skip
    text = svg(knee_figure(pl.DataFrame(rows), {}, 2.0), "knee", "A knee.")
    said = set(re.findall(r"<text[^>]*>([^<]*)</text>", text))
    assert {
        "paid ?",
        "$cost$ ?",
        "500 ms",
        "1 s",
        "level 2.00 s",
        "first search",
        "second search",
        "did not hold",
    } <= said
    assert {"50", "100", "600", "800"} <= said
    assert said.isdisjoint({"650", "700"}), "labels would touch"
    assert "mathdefault" not in text
    held = pl.DataFrame(rows).with_columns(held=True).filter(repetition=1)
    assert not {"second search", "did not hold"} & set(
        re.findall(r"<text[^>]*>([^<]*)</text>", svg(knee_figure(held, {}, None), "knee", "A knee."))
    )


def test_a_stopped_load_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab", "load", EMPLOYEES, *SMALL, "--rate", "20", "--duration", "60"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    home = tmp_path / "runs" / "employees"
    until = time.monotonic() + 60
    while not list(home.glob(".*/work/events/events-*.ndjson")) and time.monotonic() < until:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) != 0
    assert not [one for one in home.iterdir() if one.name != "latest"]


def test_a_load_whose_commands_ran_out_is_void() -> None:
    rows: list[dict[str, Any]] = []
    for place in range(1_000):
        rows.append({"row": "SCHEDULE", "seconds": 0.01})
        # The first ones have no data to ask with; from 800 on there are no commands left.
        kind = log.NOT_SENT if place < 100 or place >= 800 else "COMMAND"
        rows.append({"row": kind, "seconds": 0.0, "began": place / 100})
    frame = pl.DataFrame([dict.fromkeys(log.COLUMNS) | row for row in rows], schema=log.COLUMNS)
    counts = {"SCHEDULE": 1_000, "COMMAND": 700, log.NOT_SENT: 300}
    said = "200 arrivals of the second half had nothing to send: raise workload.commands"
    assert log.void(EventLog(frame, counts), 100.0, 10.0) == said
    early = frame.with_columns(began=-pl.col("began"))
    assert log.void(EventLog(early, counts), 100.0, 10.0) != said
