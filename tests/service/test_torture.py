"""`lab torture` on a real service; what it counts, on files that are made up; and who owns a folder."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from running import call

from lab.base import BadInput, Batch, stream
from lab.place import FolderPlace
from lab.scenario import Source
from lab.service.aftermath import TortureLedger, judge, request_key
from lab.service.locking import owned
from lab.service.messages import CLIENT
from lab.service.torture import torture
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "torn"
seed = 3
[domain]
name = "employees"
records = 60
[workload]
commands = 20_000
rate = 1_000.0
skew = 0.5
deletes = 0.03
invalid = 0.05
[truth]
model = "MODEL"
[catch_up]
page = 50
[[projection]]
name = "records"
store = "sqlite.table"
batch = 5
[[projection]]
name = "sums"
store = "duckdb.columnar"
keeps = "totals"
guard = "dedupe"
batch = 20
"""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Plan]:
    """A plan from the text above, with keys set."""

    def make(*overrides: str, model: str = "history") -> Plan:
        path = tmp_path / "torn.toml"
        guard = "revision" if model == "snapshot" else "dedupe"
        path.write_text(TEXT.replace("MODEL", model).replace("dedupe", guard))
        return plan(Source(path, overrides))

    return make


def executed(ready: Plan, folder: Path, count: int) -> TortureLedger:
    """So many commands executed and acknowledged, as the service does it; the workload has more."""
    ledger, truth = TortureLedger(), ready.truth(FolderPlace(folder / "truth"))
    workload = ready.domain.workload(ready.options, stream(ready.scenario.seed, "workload"))
    for number, command in enumerate(itertools.islice(workload, count)):
        outcome = truth.execute(command, CLIENT + request_key(ready.workload_digest, number))
        ledger.hear(number, outcome.status, outcome.position)
    truth.close()
    return ledger


def projected(ready: Plan, folder: Path, torn: str = "") -> None:
    """Every projection brought up to date; of `torn` a page's checkpoint is written, and its rows are not."""
    truth = ready.truth(FolderPlace(folder / "truth"))
    for item in ready.projections:
        projector = item.projector(FolderPlace(folder / item.name))
        for page in item.subscription(truth).pages("employee", 50):
            last = int(page["position"][-1])
            if item.name == torn and last > 150:
                projector.store.apply(Batch("employee", page[:0], last))
                break
            projector.apply("employee", page, last)
        projector.store.close()
    truth.close()


def counted(ready: Plan, folder: Path, ledger: TortureLedger) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The verdict on the files, and its rows by name."""
    found = judge(ready, folder, ledger, [])
    names = ["truth", *(item.name for item in ready.projections), "front"]
    return found, dict(zip(names, found["processes"], strict=True))


@pytest.mark.parametrize(("model", "engine"), [("history", "sqlite"), ("events", "duckdb")])
def test_a_few_rounds_of_torture(model: str, engine: str, made: Callable[..., Plan], tmp_path: Path) -> None:
    engine_set = f"truth.engine={engine}"
    ready = made(engine_set, model=model)
    found = torture(ready, [str(tmp_path / "torn.toml"), "--set", engine_set], 2, 150.0)
    assert found["problems"] == []
    assert found["verdict"] == "pass"
    rows = {row["process"]: row for row in found["processes"]}
    assert {name: row["kills"] for name, row in rows.items()} == {"truth": 2, "records": 2, "sums": 2, "front": 1}
    assert all(row["lost"] == row["doubled"] == 0 for row in rows.values())
    assert all(row["starts"] > row["kills"] for row in rows.values())
    assert found["changes"] == rows["truth"]["rows"] > 0
    assert found["acknowledged"] <= found["commands"]
    assert 0.0 < rows["front"]["recovery_p50_seconds"] <= rows["front"]["recovery_max_seconds"]


@pytest.mark.parametrize("model", ["history", "events"])
def test_what_is_whole_passes_and_what_a_kill_tears_is_counted(
    model: str, made: Callable[..., Plan], tmp_path: Path
) -> None:
    ready = made("workload.commands=400", model=model)
    for torn, verdict in (("", "pass"), ("records", "fail")):
        folder = tmp_path / f"torn-{torn}"
        ledger = executed(ready, folder, 300)
        projected(ready, folder, torn)
        found, rows = counted(ready, folder, ledger)
        assert found["verdict"] == verdict, found["problems"]
        assert (found["commands"], found["acknowledged"]) == (300, 300)
        for name, row in rows.items():
            assert row["rows"] > 0
            assert (row["lost"] > 0) == (name == torn), row
        said = [problem for problem in found["problems"] if "is not what the source of truth amounts to" in problem]
        assert said == found["problems"]
        assert len(said) == (torn != "")


PLANTED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "nothing": ("records", lambda page: page),
    "a change left out": ("records", lambda page: page[:-1]),
    "a record of its own": (
        "records",
        lambda page: pl.concat([page, page[-1:].with_columns(key=pl.lit(10**6, pl.Int64))]),
    ),
    "an amount added twice": ("sums", lambda page: page.with_columns(salary=pl.col("salary") * 2)),
    "a change left out of the sums": ("sums", lambda page: page[1:]),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_a_rebuild_lost_or_doubled_is_counted(planted: str, made: Callable[..., Plan], tmp_path: Path) -> None:
    ready, folder = made("workload.commands=400"), tmp_path / "shop"
    ledger = executed(ready, folder, 200)
    projected(ready, folder)
    name, change = PLANTED[planted]
    item = next(item for item in ready.projections if item.name == name)
    place = FolderPlace(folder / name)
    winner = place.beside()
    truth = ready.truth(FolderPlace(folder / "truth"))
    projector = item.projector(winner)
    pages = list(item.subscription(truth).pages("employee", 50))
    for page in pages:
        last = page is pages[-1]
        projector.apply("employee", change(page) if last else page, int(page["position"][-1]))
    projector.store.close()
    truth.close()
    # The former generation, which was right, is gone.
    place.point(winner)
    place.sweep()
    found, rows = counted(ready, folder, ledger)
    assert found["verdict"] == ("pass" if planted == "nothing" else "fail")
    assert {row for row, told in rows.items() if told["lost"] or told["doubled"]} == {name} - (
        {name} if planted == "nothing" else set()
    )
    assert (rows[name]["doubled"] > 0) == (planted == "a record of its own")
    said = f"{name} is not what the source of truth amounts to"
    assert found["problems"] == ([] if planted == "nothing" else [said])


def test_a_command_that_was_carried_out_twice_is_counted(made: Callable[..., Plan], tmp_path: Path) -> None:
    ready, folder = made("workload.commands=400"), tmp_path / "shop"
    ledger = executed(ready, folder, 100)
    truth = ready.truth(FolderPlace(folder / "truth"))
    workload = ready.domain.workload(ready.options, stream(ready.scenario.seed, "workload"))
    # Without the id of its request, the source of truth can't know that it was there before.
    again = [truth.execute(command) for command in itertools.islice(workload, 100)]
    truth.close()
    projected(ready, folder)
    found, rows = counted(ready, folder, ledger)
    assert found["verdict"] == "fail"
    assert rows["truth"]["doubled"] == sum(outcome.status == "accepted" for outcome in again) > 0
    assert rows["front"]["lost"] == 0
    assert "records is not what the source of truth amounts to" in found["problems"]


LIES: dict[str, Callable[[TortureLedger], Any]] = {
    "a change that is not there": lambda ledger: ledger.rows.update({7: ("accepted", 9_999)}),
    "two with one position": lambda ledger: ledger.rows.update({7: ledger.rows[8]}),
    "another status": lambda ledger: ledger.rows.update({7: ("rejected", ledger.rows[7][1])}),
    "another answer the second time": lambda ledger: ledger.hear(7, "accepted", 7_777),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_acknowledgement_that_is_not_so_is_told(lie: str, made: Callable[..., Plan], tmp_path: Path) -> None:
    ready, folder = made("workload.commands=400"), tmp_path / "shop"
    ledger = executed(ready, folder, 120)
    projected(ready, folder)
    assert counted(ready, folder, ledger)[0]["verdict"] == "pass"
    assert ledger.rows[7][0] == ledger.rows[8][0] == "accepted"
    LIES[lie](ledger)
    found, rows = counted(ready, folder, ledger)
    assert found["verdict"] == "fail"
    assert all(row["lost"] == row["doubled"] == 0 for name, row in rows.items() if name != "front")
    assert (rows["front"]["lost"], rows["front"]["doubled"]) == (
        lie == "a change that is not there",
        lie == "two with one position",
    )


def test_a_torture_that_is_stopped_takes_its_victims_along(
    made: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "torture", "torn.toml", "--kills", "50", "--json"],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list((tmp_path / "tmp").glob("torture-*/files/.records.lock")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 143, said
    assert list((tmp_path / "tmp").iterdir()) == []
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in found


def test_a_service_that_cannot_start_ends_the_torture(made: Callable[..., Plan], tmp_path: Path) -> None:
    found = torture(made(), [str(tmp_path / "torn.toml"), "--set", "truth.model=snapshots"], 50, 100.0)
    assert found["verdict"] == "fail"
    assert any("did not start" in problem and "snapshots" in problem for problem in found["problems"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("missing.toml",), "no such file"),
        (("flights.toml",), "takes no commands"),
        (("torn.toml", "--set", "truth.model=snapshot", "--set", "projection.sums.guard=revision"), "exactly once"),
        (("torn.toml", "--set", "projection.records.subscribe=channel", "--set", "channel.lose=0"), "messages alone"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], said: str, made: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    shipped = Path(__file__).parents[2] / "scenarios" / "flights.toml"
    (tmp_path / "flights.toml").write_text(shipped.read_text())
    monkeypatch.chdir(tmp_path)
    found = call("torture", *words)
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("error:") == 1
    assert "Traceback" not in found.stderr


# --- locks -----------------------------------------------------------------------------------------------------------


def test_a_folder_has_one_owner_for_each_part(tmp_path: Path) -> None:
    with owned(tmp_path, "truth"):
        with pytest.raises(BadInput, match="another process is at work on `truth`"), owned(tmp_path, "truth", 0.1):
            pass
        with owned(tmp_path, "sums"):
            pass
    with owned(tmp_path, "truth"):
        pass


def test_a_lock_is_waited_for_while_its_owner_ends(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from lab.service.locking import owned\n"
    code += "with owned(Path(sys.argv[1]), 'truth'): print('mine', flush=True); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        with owned(tmp_path, "truth", 20.0):
            assert process.wait(20) == 0


def test_a_lock_follows_no_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".truth.lock").symlink_to(tmp_path / "precious")
    (tmp_path / ".sums.lock").symlink_to(tmp_path / "made")
    for name in ("truth", "sums"):
        with pytest.raises(OSError, match="symbolic"), owned(tmp_path, name):
            pass
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (tmp_path / "made").exists()
