"""A sweep comes to the same results to the last bit, whoever carries it out, and whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from sweeping import FOLDER, contents, deadly, deadly_once, pretended, slow, tiny

from lab.base import BadInput, NotReadable
from lab.sweeps import Sweep, SweepPlan, carry_on, load_sweep, merge
from lab.sweeps.folder import begin
from lab.sweeps.running import foretold, left
from lab.sweeps.task import one_at_a_time

INLINE = "sweeping:Inline"
DEADLINE = 120.0
# The parent of the processes that are killed.
_SCRIPT = """
from pathlib import Path
import sys
from sweeping import slow, tiny
from lab.sweeps import carry_on
from lab.sweeps.folder import begin
if __name__ == "__main__":
    plan = tiny(repeat=3)
    carry_on(plan, begin(plan, Path(sys.argv[1])), "local:2", run=slow)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pretended runs leave word."""
    folder = tmp_path / "word"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


def reference(plan: SweepPlan, folder: Path) -> dict[str, bytes]:
    carry_on(plan, begin(plan, folder), INLINE, run=pretended)
    return contents(folder)


def test_results_are_the_same_by_processes_and_a_repeated_sweep_does_nothing(tmp_path: Path) -> None:
    plan = tiny(repeat=2)
    found = begin(plan, tmp_path / "pool")
    assert carry_on(plan, found, "local:2", run=pretended) == 12
    assert contents(found.path) == reference(plan, tmp_path / "inline")
    assert carry_on(plan, found, "local:2", run=deadly) == 0
    frame = found.frame
    assert frame.height == 12
    assert frame.columns[:5] == ["run", "seed", "repetition", "channel.lose", "channel.duplicate"]
    # One dataset, for any tool that reads Parquet.
    assert pl.read_parquet(found.path / "results" / "*.parquet").sort("run").equals(frame.sort("run"))


def test_a_sweep_that_is_killed_goes_on_and_leaves_no_process(tmp_path: Path, word: Path) -> None:
    plan, folder = tiny(repeat=3), tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = tmp_path / "killed_sweep.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(script), str(folder)], env=environment)
    try:
        wait_for(lambda: len(list((folder / "results").glob("*.parquet"))) >= 3)
    finally:
        process.kill()
        process.wait()
    workers = [int(file.name.removeprefix("pid-")) for file in word.glob("pid-*")]
    assert workers
    wait_for(lambda: not any(_alive(pid) for pid in workers))
    found = begin(plan, folder)
    before = len(found.done)
    assert 3 <= before < 18
    assert carry_on(plan, found, INLINE, run=pretended) == 18 - before
    assert contents(folder) == reference(plan, tmp_path / "inline")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_that_dies_costs_its_run_alone_and_not_even_that_once(tmp_path: Path, word: Path) -> None:
    plan = tiny()
    found = begin(plan, tmp_path / "once")
    carry_on(plan, found, "local:2", run=deadly_once)
    assert (word / "died").exists()
    assert found.errors.is_empty()
    assert contents(found.path) == reference(plan, tmp_path / "inline")


def test_a_run_that_kills_its_process_is_a_row_and_is_tried_again_later(tmp_path: Path) -> None:
    plan = tiny()
    found = begin(plan, tmp_path / "always")
    carry_on(plan, found, "local:2", run=deadly)
    assert found.errors["channel.lose"].to_list() == [0.2] * 3
    assert all("its process ended" in error for error in found.errors["error"])
    assert len(left(plan, found)) == 3
    assert carry_on(plan, found, INLINE, run=pretended) == 3
    assert contents(found.path) == reference(plan, tmp_path / "inline")


def test_shards_are_merged_to_the_same_results(tmp_path: Path) -> None:
    plan = tiny(repeat=2)
    parts = [tmp_path / "zero", tmp_path / "one"]
    for number, part in enumerate(parts):
        assert carry_on(plan, begin(plan, part), INLINE, shard=(number, 2), run=pretended) == 6
    merged = merge(tmp_path / "whole", parts)
    assert contents(merged.path) == reference(plan, tmp_path / "inline")
    assert carry_on(plan, merged, INLINE, run=deadly) == 0
    other = begin(tiny(repeat=3), tmp_path / "other")
    with pytest.raises(BadInput, match="not the sweep that"):
        merge(tmp_path / "whole", [parts[0], other.path])
    with pytest.raises(BadInput, match="another sweep"):
        begin(tiny(repeat=3), parts[0])
    with pytest.raises(NotReadable, match="not the folder of a sweep"):
        load_sweep(tmp_path)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def dask_on_loopback() -> Iterator[str]:
    """A scheduler of Dask with two workers, by its own commands."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    scheduler += ["--port", str(port), "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(subprocess.Popen(scheduler, **quiet))  # type: ignore[call-overload]
        wait_for(lambda: _listens(port))
        processes.append(subprocess.Popen([*worker, "--nworkers", "2"], **quiet))  # type: ignore[call-overload]
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in reversed(processes):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_results_are_the_same_on_a_dask_cluster_also_if_a_worker_is_killed(tmp_path: Path, word: Path) -> None:
    plan = tiny(repeat=3)
    found = begin(plan, tmp_path / "dask")
    killed: list[int] = []
    with dask_on_loopback() as address:
        from threading import Thread

        def kill_one() -> None:
            wait_for(lambda: bool(list(word.glob("pid-*"))))
            killed.append(int(next(word.glob("pid-*")).name.removeprefix("pid-")))
            os.kill(killed[0], signal.SIGKILL)

        killer = Thread(target=kill_one)
        killer.start()
        carry_on(plan, found, f"dask:{address}", run=slow)
        killer.join(DEADLINE)
        # What a dead worker took with it is a row until the sweep goes on.
        carry_on(plan, found, f"dask:{address}", run=slow)
    assert killed
    assert contents(found.path) == reference(plan, tmp_path / "inline")


def test_modelled_runs_are_the_same_to_the_last_bit_in_another_process(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0,0.3")
    one, other = begin(plan, tmp_path / "inline"), begin(plan, tmp_path / "pool")
    carry_on(plan, one, INLINE)
    carry_on(plan, other, "local:1")
    assert one.errors.is_empty()
    assert contents(one.path) == contents(other.path)
    lost = one.frame.filter(pl.col("quantity") == "never_visible_share").sort("channel.lose")["value"].to_list()
    assert lost[0] == 0 < lost[1]


def test_a_run_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    plan = tiny("channel.lose=0,7")
    found = begin(plan, tmp_path / "failing")
    carry_on(plan, found, INLINE, run=_pretended_unless_wrong)
    (row,) = found.errors.to_dicts()
    assert (row["channel.lose"], row["value"]) == (7.0, None)
    assert "less than or equal to 1" in row["error"]
    # It would fail again.
    assert left(plan, found) == []


def _pretended_unless_wrong(task):  # type: ignore[no-untyped-def]
    from lab.sweeps.task import carry_out

    return carry_out(task) if dict(task.columns)["channel.lose"] == 7 else pretended(task)


def test_runs_that_measure_wall_time_go_one_at_a_time() -> None:
    import fcntl
    import tempfile

    from lab.sweeps.executors import workers
    from lab.sweeps.task import LOCK

    plan = tiny(overrides=("time.service=measured",))
    assert plan.wall
    assert plan.own == ()
    assert all(task.wall for task in plan.tasks)
    with workers("local:8", wall=True) as found:
        assert found.width == 1
    with one_at_a_time(), (Path(tempfile.gettempdir()) / LOCK).open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_time_that_is_left_is_told_from_the_runs_that_are_done(tmp_path: Path) -> None:
    plan = tiny("workload.commands=1000,3000,7000")
    found = begin(plan, tmp_path / "timed")
    assert foretold(plan, found, left(plan, found), 2) is None
    (found.path / "seconds" / plan.tasks[0].name).write_text("2.0")
    # A second for each thousand commands and for a run itself.
    assert foretold(plan, found, plan.tasks[1:], 1) == pytest.approx(12.0)
    assert foretold(plan, found, plan.tasks[1:], 8) == pytest.approx(6.0)


@pytest.mark.parametrize("who", ["local:0", "local:x", "nothing", "no_such_module:f", "sweeping:tiny"])
def test_an_executor_that_is_none_is_refused(who: str, tmp_path: Path) -> None:
    plan = tiny()
    with pytest.raises(BadInput, match="--executor"):
        carry_on(plan, begin(plan, tmp_path / "none"), who, run=pretended)


def test_a_sweep_is_read_from_its_folder(tmp_path: Path) -> None:
    plan = tiny()
    found = begin(plan, tmp_path / "read")
    assert isinstance(load_sweep(found.path), Sweep)
    assert found.frame.is_empty()
    (found.path / "sweep.json").write_text("{")
    with pytest.raises(NotReadable, match="no sweep"):
        load_sweep(found.path)
