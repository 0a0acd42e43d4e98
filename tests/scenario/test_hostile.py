"""Hostile scenarios are refused with what is wrong, or run to the end. `make nightly` tries 2,200 of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hostile
import pytest

from lab.base import BadInput
from lab.engines import budget
from lab.experiment import run
from lab.scenario import Source
from lab.scenario.limits import PROBLEMS_TOLD
from lab.wiring import Plan, plan

# So many settings by day, of which so many are run, one in each chunk at the most; as many files as a tenth of the
# settings. A sixth of the settings are accepted: a twentieth is the least that a campaign must still run.
COUNT = int(os.environ.get("HOSTILE", "120"))
RUNS = COUNT if COUNT > 120 else 4
GIGABYTE = 2**30
CHUNKS = 8
ACCEPTED_MIN = COUNT // CHUNKS // 20


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    former = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def read(source: Source) -> Plan | None:
    """The plan; None if it is refused in a few lines that a person can read."""
    try:
        # Not the five seconds that are promised: many tests share the machine. The campaign measures.
        with at_most(60):
            return plan(source)
    except BadInput as refused:
        readable(refused)
        return None


def readable(refused: BadInput) -> None:
    """A person can read what is wrong: a line for each mistake, and not too many."""
    told = str(refused).splitlines()
    assert 0 < len(refused.problems) <= PROBLEMS_TOLD + 1
    assert len(told) <= len(refused.problems)
    assert all(len(line) < 2_000 for line in told)


def small(one: Plan) -> bool:
    """True if it can be run here and now; what is larger than the others has been estimated all the same."""
    scenario = one.scenario
    if scenario.time.mode == "live":
        # It takes the time that it says, and `lab.live` runs it.
        return False
    return scenario.workload.commands <= 2_000 and scenario.measure.samples <= 100 and scenario.projections != "all"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_setting_is_refused_or_run(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "ANSWER_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    assert read(Source(Path("hostile.toml"), text=hostile.BASE)) is not None
    most = RUNS // CHUNKS + (chunk < RUNS % CHUNKS)
    accepted = ran = 0
    for number, items in list(enumerate(hostile.settings(1, COUNT)))[chunk::CHUNKS]:
        try:
            found = read(Source(Path("hostile.toml"), items, text=hostile.BASE))
            accepted += found is not None
            if found is not None and small(found) and ran < most:
                ran += 1
                with at_most(600):
                    run(found, tmp_path / "runs", report=not number % 5)
                shutil.rmtree(tmp_path / "runs")
        except Exception as error:
            error.add_note(f"setting {number}: {[item[:200] for item in items]}")
            raise
    assert accepted >= ACCEPTED_MIN
    assert ran >= min(most, ACCEPTED_MIN // 2)


def test_not_every_setting_is_refused() -> None:
    found = [read(Source(Path("hostile.toml"), items, text=hostile.BASE)) for items in hostile.settings(1, 120)]
    assert sum(each is not None for each in found) >= 6


def test_every_file_is_refused_or_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in hostile.files(1, max(60, COUNT // 10)):
        Path("hostile.toml").write_bytes(text)
        try:
            try:
                with at_most(60):
                    source = Source(Path("hostile.toml"))
                found = read(source)
            except BadInput as refused:
                readable(refused)
                found = None
            if name in hostile.ODD_FILES:
                assert (found is not None) == (name in hostile.VALID_FILES)
        except Exception as error:
            error.add_note(name)
            raise


@pytest.mark.skipif(COUNT <= 120, reason="a process for each file: `make nightly`, with HOSTILE=2000")
def test_every_file_is_read_within_five_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    slowest, largest = (0.0, ""), (0, "")
    for name, text in hostile.files(1, COUNT // 10):
        path.write_bytes(text)
        with subprocess.Popen(
            [sys.executable, "-m", "lab", "validate", str(path), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            assert child.stdout is not None
            said = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode in (0, 2), name
        assert json.loads(said), name
        slowest = max(slowest, (used.ru_utime + used.ru_stime, name))
        largest = max(largest, (used.ru_maxrss * 1_024, name))
    print(f"slowest: {slowest}; largest: {largest}")
    assert slowest[0] < 5
    assert largest[0] < GIGABYTE
