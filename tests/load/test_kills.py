"""Kills at random times of `lab load`: of the command itself, of Locust, of the service under it and of its parts.

KILLS says how many, KILLS_SEED which; `make nightly` takes 100. What was acknowledged is in the files, once; nothing is
left running; a later command sweeps what a killed one left on disk; and a command that outlives what it needs says so
in one line.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from serving import waited

from lab.base import TRUTH
from lab.feed.reader import ChangeReader
from lab.load import driving
from lab.load.driving import Order, Workers, drive
from lab.place import FolderPlace
from lab.runs import new_run
from lab.scenario import Source
from lab.service.supervisor import Program, ProgramFailed
from lab.service.temporary import sweep
from lab.wiring import plan

HERE = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "3"))
TEXT = """
schema = 1
name = "killed"
seed = 5
[domain]
name = "employees"
records = 40
[workload]
commands = 4_000
[truth]
model = "history"
[catch_up]
every = 0.1
[[projection]]
name = "directory"
store = "sqlite.table"
[measure]
samples = 2
"""
# Seconds in which a state must be reached; a machine may be busy.
PATIENCE = 300.0


def until(met: Callable[[], Any], what: str, more: Callable[[], Any] = str) -> Any:
    """Wait for a condition, and return what it gave; an assertion fails with what is known then if it isn't met."""
    return waited(met, PATIENCE, lambda: f"{what} {more()}")


@dataclass
class Running:
    """One `lab load` with everything that it started, found by the process table."""

    folder: Path
    temporary: Path
    process: subprocess.Popen[str]
    acknowledged: dict[int, int] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def found(self, role: str) -> list[psutil.Process]:
        """The processes of a role: front, master, worker, or a part's name."""
        ours = []
        with suppress(psutil.Error):
            command = psutil.Process(self.process.pid)
            for one in command.children(recursive=True):
                with suppress(psutil.Error):
                    words = " ".join(one.cmdline())
                    locust = "-m locust" in words
                    above = one.ppid() == command.pid
                    roles = {
                        "front": " lab serve " in words,
                        "master": locust and above,
                        "worker": locust and not above,
                    }
                    if roles.get(role, f'"part": "{role}"' in words):
                        ours.append(one)
        return ours

    def url(self) -> str | None:
        """The service's address, which Locust was given."""
        for master in self.found("master"):
            with suppress(psutil.Error, ValueError, IndexError):
                words = master.cmdline()
                return words[words.index("--host") + 1]
        return None

    def send(self, stopping: threading.Event) -> None:
        """Hire one after the other, each sent again until it is answered; what is acknowledged is written down."""
        found = until(lambda: stopping.is_set() or self.url(), "no load has begun")
        if stopping.is_set():
            return
        address = urlsplit(str(found)).netloc
        number = 0
        while not stopping.is_set():
            key = 1_000_000 + number
            fields = {"name": "Ada Byron", "manager": None, "department": "Legal", "salary": 5_000}
            body = json.dumps({"command": "hire", "key": key, "fields": fields})
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"mine {key}"}
            try:
                with closing(http.client.HTTPConnection(address, timeout=20)) as line:
                    line.request("POST", "/commands/employee", body, headers)
                    answer = line.getresponse()
                    found = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                stopping.wait(0.1)
                continue
            if answer.status in (200, 201):
                self.acknowledged[key] = found["position"]
                number += 1
            elif answer.status != 503:
                self.twice.append(f"{key}: {answer.status} {found}")
                return


@contextmanager
def loading(folder: Path, temporary: Path) -> Iterator[Running]:
    """A load that lasts until it is ended."""
    command = [sys.executable, "-m", "lab", "load", "killed.toml", "--rate", "30", "--duration", "600"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    found = Running(folder, temporary, process)
    stopping = threading.Event()
    sender = threading.Thread(target=found.send, args=(stopping,), daemon=True)
    sender.start()
    try:
        yield found
    finally:
        stopping.set()
        process.kill()
        process.communicate()
        sender.join(60)


def left_running(*folders: Path) -> list[str]:
    """The command lines of processes that have one of these folders in theirs."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(one.cmdline())
            if one.pid != os.getpid() and any(str(folder) in words for folder in folders):
                found.append(words)
    return found


def confirm(running: Running) -> int:
    """What was acknowledged is in the files of the killed command, each once. Returns how much that was."""
    [partial] = (running.folder / "runs" / "killed").glob(".*.partial")
    truth = plan(Source(running.folder / "killed.toml")).truth(
        FolderPlace((partial / "work" / "served").absolute()).within(TRUTH)
    )
    frame = ChangeReader(truth).changes_since("employee", 0, 2**62)
    truth.close()
    assert frame["position"].to_list() == list(range(1, frame.height + 1))
    mine = frame.filter(frame["key"] >= 1_000_000)
    there = dict(mine.select("key", "position").iter_rows())
    assert mine["key"].n_unique() == mine.height, "executed twice"
    assert running.acknowledged.items() <= there.items(), "acknowledged and not there"
    return len(running.acknowledged)


# Whose death ends the load, what it says then, and how often it is drawn.
FATAL = {
    "command": (None, 6),
    "worker": ("1 of 2 workers of Locust", 1),
    "master": ("Locust ended with -9", 1),
    "front": ("the service ended with -9", 2),
}


def one_round(rng: random.Random, folder: Path, temporary: Path, most: int) -> Counter[str]:
    """Kill parts now and then, and at last what ends the load; returns the kills, and what was acknowledged."""
    counts: Counter[str] = Counter()
    fatal = "command" if most == KILLS else rng.choices(list(FATAL), [weight for _, weight in FATAL.values()])[0]
    early = most != KILLS and rng.random() < 0.2
    with loading(folder, temporary) as running:
        if early:
            # While the service or Locust start.
            time.sleep(rng.uniform(0.0, 4.0))
            fatal = "command"
        else:
            until(lambda: len(running.acknowledged) > 3, "nothing was acknowledged")
            for part in (
                ("truth", "directory") if most == KILLS else rng.sample(("truth", "directory", "truth"), most - 1)
            ):
                time.sleep(rng.uniform(0.0, 1.0))
                victim = until(lambda part=part: running.found(part), f"no {part}")[0]
                victim.kill()
                counts[part] += 1
                before = len(running.acknowledged)
                until(lambda before=before: len(running.acknowledged) > before, "nothing is acknowledged any more")
            time.sleep(rng.uniform(0.0, 1.0))
        if fatal == "command":
            running.process.kill()
        else:
            until(lambda: running.found(fatal), f"no {fatal}")[0].kill()
        counts[fatal] += 1
        _, said = running.process.communicate(timeout=PATIENCE)
        if fatal == "command":
            assert running.process.returncode == -signal.SIGKILL
        else:
            assert running.process.returncode not in (0, 1, -signal.SIGKILL), said
            assert said.count("error: ") == 1, said
            assert str(FATAL[fatal][0]) in said
            assert "Traceback" not in said
        until(lambda: not left_running(folder, temporary), "left running:", lambda: left_running(folder, temporary))
    assert not running.twice
    if fatal == "command" and not early:
        counts["acknowledged"] += confirm(running)
    elif fatal != "command":
        assert not list((folder / "runs" / "killed").glob(".*.partial"))
    return counts


def test_kills_of_a_load_lose_nothing_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: Counter[str] = Counter()
    rng = random.Random(int(os.environ.get("KILLS_SEED", "1")))
    # Short, for the sockets in it.
    with tempfile.TemporaryDirectory(prefix="k-") as short:
        number = 0
        while (left := KILLS - sum(counts[name] for name in (*FATAL, "truth", "directory"))) > 0:
            folder, temporary = tmp_path / str(number), Path(short) / str(number)
            folder.mkdir()
            temporary.mkdir()
            (folder / "killed.toml").write_text(TEXT)
            counts += one_round(rng, folder, temporary, left if left == KILLS else min(left, rng.randint(1, 4)))
            number += 1
            # What the next run and the next service do first.
            monkeypatch.setattr(tempfile, "tempdir", str(temporary))
            sweep()
            monkeypatch.setattr(tempfile, "tempdir", None)
            assert list(temporary.iterdir()) == []
            with new_run(folder / "runs", "killed"):
                pass
            assert not list((folder / "runs" / "killed").glob(".*.partial"))
    with capsys.disabled():
        print(f"\n{dict(counts)}")


def test_workers_that_have_no_master_yet_end_with_the_command(tmp_path: Path) -> None:
    users = HERE / "lab" / "load" / "users.py"
    arguments = ["-f", str(users), "--worker", "--processes", "2", "--master-port", "9", "--headless"]
    with subprocess.Popen(
        [sys.executable, "-m", "locust", *arguments, "--csv", str(tmp_path)],
        env=os.environ | {"LAB_ENDS_WITH_STDIN": "1", "PYTHONPATH": str(HERE)},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: len(psutil.Process(process.pid).children()) == 2, "no two workers")
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        assert process.stdin is not None
        process.stdin.close()
        # Without this they would go on for five minutes.
        _, alive = psutil.wait_procs(everyone[1:], 60)
        for one in everyone:
            with suppress(psutil.Error):
                one.kill()
        assert alive == []


def test_a_load_whose_service_died_is_over_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ProgramFailed, match="the service ended with -9: last words"):
        drive(
            "http://127.0.0.1:9",
            Order(rate=5.0, seconds=500.0, processes=1),
            1,
            tmp_path,
            lambda: "the service ended with -9: last words",
        )
    assert time.monotonic() - began < 60
    assert not left_running(tmp_path)


# Stands for Locust: each worker lives for a while, and closes its log at the end or not.
MASTER = """
import json, os, sys, time
from pathlib import Path
for number, (seconds, closes) in enumerate(json.loads(sys.argv[1])):
    if not os.fork():
        time.sleep(seconds)
        if closes:
            Path(f"events-{number}.ndjson").write_text(json.dumps({"end": True}))
        os._exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("lives", "lost"),
    [
        ([[3, True], [600, True]], 0),
        ([[3, False], [600, True]], 1),
        ([[3, False], [3, False]], 2),
        ([[3, True]] * 2, 0),
    ],
)
def test_a_load_that_lost_a_worker_is_over_at_once(lives: list[list[Any]], lost: int, tmp_path: Path) -> None:
    (tmp_path / "master.py").write_text(MASTER)
    program = Program(["master.py", json.dumps(lives)], tmp_path / "log", {}, tmp_path, quiet=True)
    with program:
        watched = Workers(program, 2, tmp_path)
        until(lambda: watched.lost() is None and len(watched.seen) == 2, "no two workers")
        time.sleep(4)
        until(lambda: watched.lost() is not None or not lost, "no worker was missed")
        said = watched.lost()
        assert (said or "").startswith(f"{lost} of 2 workers" if lost else "")
        assert (said is None) == (lost == 0)
        program.kill()


def test_a_worker_that_died_before_it_was_seen_is_missed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "STARTS", 2.0)
    (tmp_path / "master.py").write_text(MASTER)
    with Program(["master.py", "[[600, true]]"], tmp_path / "log", {}, tmp_path, quiet=True) as program:
        watched = Workers(program, 2, tmp_path)
        assert until(watched.lost, "nothing is missed") in {
            f"only {count} of 2 workers of Locust have started in 2 s" for count in (0, 1)
        }
        program.kill()
