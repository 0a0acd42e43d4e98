"""Signals at random times: each command ends with the signal's status, says so, and leaves nothing behind.

The suite sends a few; `make nightly` sends many (`SIGNALS=100`), which end in every phase of every command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import lab
from lab.runs import load_run

SIGNALS = int(os.environ.get("SIGNALS", "0"))
MARK = "LAB_TEST_SIGNALS"
SCENARIO = """
schema = 1
name = "mine"
seed = 3
[domain]
name = "employees"
records = 200
[workload]
commands = 2_000
rate = 1_000.0
[truth]
model = "history"
[channel]
delay = { kind = "constant", mean = 0.01 }
duplicate = 0.05
[[projection]]
name = "directory"
store = "sqlite.table"
guard = "revision"
[[projection]]
name = "analytics"
store = "duckdb.columnar"
guard = "revision"
"""
PROJECTOR = "lab.kit.examples.mended:handle"
# How each command is called, and for how many seconds it is left alone at the most, from its start.
COMMANDS: dict[str, tuple[list[str], float]] = {
    "run": (["run", "mine.toml"], 6.0),
    "report": (["report", "whole"], 4.0),
    "compare": (["compare", "whole", "whole"], 3.0),
    "advise": (["advise", "whole"], 3.0),
    "validate": (["validate", "mine.toml"], 2.0),
    "new": (["new", "other"], 2.0),
    "check": (["check", PROJECTOR], 5.0),
    "serve": (["serve", "mine.toml", "--port", "0"], 8.0),
    "load": (["load", "mine.toml", "--duration", "2", "--processes", "1"], 20.0),
    "torture": (["torture", "mine.toml", "--kills", "1"], 20.0),
}

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@dataclass
class Campaign:
    """Sends signals to commands in one folder, and confirms after each that nothing is left."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    # Seconds in which Python has come to code of the lab, and in which a command that had all but ended is over.
    moment: float = 2.0

    def environment(self) -> dict[str, str]:
        return os.environ | {"TMPDIR": str(self.folder / "tmp"), MARK: str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lab", *words], cwd=self.folder, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def send(self, name: str, rng: np.random.Generator, at_work: bool = False) -> None:
        """Start a command, send one signal at a random time, sometimes a second one, and look at what is left.

        With `at_work` the signal is sent once the command has started a process of its own, and must end it.
        """
        words, longest = COMMANDS[name]
        number = signal.Signals(int(rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], p=[0.5, 0.4, 0.1])))
        after, again = float(rng.uniform(0, longest)), float(rng.uniform(0, 0.3)) if rng.random() < 0.3 else None
        before = set((self.folder / "runs").rglob("manifest.json"))
        process, began = self.start(words), time.monotonic()
        sent_after: float | None = None
        if at_work:
            self.wait_for_work(process)
        try:
            process.wait(0 if at_work else after)
        except subprocess.TimeoutExpired:
            sent_after = time.monotonic() - began
            process.send_signal(number)
            if again is not None:
                time.sleep(again)
                process.send_signal(number)
        printed, said = process.communicate(timeout=180)
        rest = time.monotonic() - began - (sent_after or 0.0)
        sent = "not sent" if sent_after is None else f"sent after {sent_after:.3f} s, {rest:.3f} s before the end"
        case = f"{name}, {number.name} {sent}, again {again}: {process.returncode}\n{printed}\n{said}"
        self.counts[f"{name} {'ended before' if process.returncode in (0, 1, 3) else number.name}"] += 1
        # For the long campaign, with -s.
        print(case.splitlines()[0], said.splitlines()[-1:], flush=True)
        if at_work:
            assert sent_after is not None, case
            assert process.returncode == 128 + number, case
        if sent_after is None:
            assert process.returncode in (0, 1, 3), case
        elif process.returncode in (0, 1, 3):
            # It had all but ended; what is served never ends by itself.
            assert name != "serve", case
            assert rest < self.moment, case
        early = sent_after is not None and sent_after < self.moment and not printed
        self.confirm(process.returncode, number, said, early, case)
        new = set((self.folder / "runs").rglob("manifest.json")) - before
        if "nothing was left behind" in said:
            assert not new, case
        for manifest in new:
            assert load_run(manifest.parent).manifest["verdict"], case
        (self.folder / "other.toml").unlink(missing_ok=True)

    def wait_for_work(self, process: subprocess.Popen[str]) -> None:
        """Wait until a command has started a process of its own."""
        end = time.monotonic() + 120
        while not set(marked(str(self.folder))) - {process.pid}:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "it has started no process"
            time.sleep(0.02)

    def confirm(self, status: int, number: signal.Signals, said: str, early: bool, case: str) -> None:
        """A status that says which signal it was, one line, and no file or process that is left.

        `early`: the signal came while the interpreter may have been loading itself, and nothing was printed.
        """
        if "Traceback" in said:
            # No code of the lab had run.
            assert early, case
            assert f"{Path(lab.__file__).parent}{os.sep}" not in said, case
            assert number == signal.SIGINT, case
        elif status in (0, 1, 3):
            assert "stopped" not in said, case
        elif status == -number:
            # Before Python runs any code of the lab, the system ends it: -15 is 143 in a shell too.
            assert early, case
            assert said == "", case
        else:
            assert status == 128 + number, case
            assert said.splitlines()[-1].startswith("stopped; "), case
            assert "not whole" not in said, case
        assert [path.name for path in (self.folder / "runs").rglob(".*")] == [], case
        assert list((self.folder / "tmp").iterdir()) == [], case
        assert list(marked(str(self.folder))) == [], case


def marked(mark: str) -> Iterator[int]:
    """Processes of a campaign that are still there; one that was killed is not, however long its end takes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                if f"{MARK}={mark}\0".encode() in environment and not dying(entry):
                    yield int(entry.name)
            except OSError:
                continue


def dying(entry: Path) -> bool:
    """True once nothing can keep a process from ending: SIGKILL is pending, or it is exiting (PF_EXITING of Linux)."""
    status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines())
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    flags = int((entry / "stat").read_text().rpartition(")")[2].split()[6])
    return bool(pending & 1 << (signal.SIGKILL - 1) or flags & 0x4)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("signals")
    (folder / "tmp").mkdir()
    (folder / "mine.toml").write_text(SCENARIO)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "lab", "--version"], check=True, capture_output=True, timeout=120)
    made = Campaign(folder, moment=max(2.0, time.monotonic() - began))
    if SIGNALS:
        # The run that is read by commands which the suite itself doesn't call.
        process = made.start(["run", "mine.toml", "--set", "name=whole", "--json"])
        printed, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert json.loads(printed)["verdict"] == "pass"
    return made


@pytest.mark.parametrize("name", ["run", "check", "serve"])
def test_a_signal_ends_a_command_and_leaves_nothing(name: str, campaign: Campaign) -> None:
    campaign.send(name, np.random.default_rng(len(name)), at_work=True)


def test_a_process_that_goes_on_is_seen_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], env=os.environ | {MARK: str(tmp_path)}) as process:
        assert list(marked(str(tmp_path))) == [process.pid]
        process.kill()
        assert list(marked(str(tmp_path))) == []


@pytest.mark.skipif(not SIGNALS, reason="SIGNALS=100 sends as many")
def test_signals_at_random_times(campaign: Campaign) -> None:
    rng = np.random.default_rng(int(os.environ.get("SIGNALS_SEED", "1")))
    for _ in range(SIGNALS):
        campaign.send(str(rng.choice(list(COMMANDS))), rng)
    print(dict(sorted(campaign.counts.items())))


# One place after the other in which an interrupt used to be lost

HEAD = """
import contextlib, gc, os, signal, sys, threading, time
from lab import ending
from lab.ending import stopping

def soon(after=0.2):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGTERM)).start()

def forever():
    while True:
        time.sleep(0.01)
"""
LOST: dict[str, str] = {
    "in a finalizer": """
class Loses:
    def __del__(self):
        end = time.monotonic() + 0.5
        while time.monotonic() < end: pass
def body():
    soon(); Loses(); forever()
""",
    "in code that is made of text": """
def body():
    soon(); exec("forever()")
""",
    "made another exception": """
def body():
    soon()
    try: forever()
    except KeyboardInterrupt: raise RuntimeError("Query interrupted") from None
""",
    "swallowed": """
def body():
    soon()
    with contextlib.suppress(BaseException): forever()
    forever()
""",
    "inside DuckDB": """
import duckdb
def body():
    soon(); duckdb.sql("SELECT count(*) FROM range(10000000000) a, range(100) b").fetchall(); forever()
""",
    "suppressed inside DuckDB": """
import duckdb
def body():
    soon()
    with contextlib.suppress(Exception):
        duckdb.sql("SELECT count(*) FROM range(10000000000) a, range(100) b").fetchall()
    forever()
""",
    "while clean-up goes on": """
def body():
    soon(); soon(0.3); soon(0.4)
    try: forever()
    finally:
        time.sleep(0.5)
        print("cleaned up", file=sys.stderr)
""",
    "while steps are held together": """
def body():
    soon()
    with stopping.held():
        time.sleep(0.5)
        print("cleaned up", file=sys.stderr)
    forever()
""",
}


@pytest.mark.parametrize("place", LOST)
def test_no_interrupt_is_lost(place: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{LOST[place]}\nending.run(body)"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 143, found.stderr
    *before, last = found.stderr.splitlines()
    # DuckDB does not always look for an interrupt: then the process is ended from beside.
    stuck = "DuckDB" in place and last.startswith("stopped while an engine would not be interrupted")
    assert stuck or last == "stopped; nothing was left behind"
    assert before == (["cleaned up"] if "while" in place else [])


def test_an_engine_that_is_deaf_to_signals_is_ended_from_beside() -> None:
    body = """
import sqlite3
stopping.STUCK = 0.5
def body():
    soon()
    endless = "WITH RECURSIVE one(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM one) SELECT count(*) FROM one"
    sqlite3.connect(":memory:").execute(endless).fetchall()
"""
    found = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{body}\nending.run(body)"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 143, found.stderr
    assert found.stderr == "stopped while an engine would not be interrupted; nothing was left behind\n"


def test_a_clean_up_that_hangs_can_be_ended(tmp_path: Path) -> None:
    body = """
stopping.CLEANING = 0.2
stopping.makes(__import__("pathlib").Path(sys.argv[1]))
def body():
    soon(); soon(0.5)
    try: forever()
    finally: time.sleep(60)
"""
    found = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{body}\nending.run(body)", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 143
    assert found.stderr.startswith(f"stopped in the middle of cleaning up; left behind, not whole: {tmp_path}")


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    body = "\ndef body():\n    soon(0.0); time.sleep(0.3)\n"
    ignoring: Callable[[], object] = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)  # noqa: E731
    found = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{body}\nending.run(body)"],
        preexec_fn=ignoring, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 0
