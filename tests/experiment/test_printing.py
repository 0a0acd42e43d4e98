"""What domains, stores and projectors print: it goes where it would go in a single run, and disturbs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from documents import ROOT

STORE = """
import os, sys
from lab.stores.sqlite_table import SqliteTable
from lab.stores.spec import StoreSpec

class Loud(SqliteTable):
    name = "loud.table"

    def apply(self, batch):
        print('{"step": "of the store", "total": 1}')
        os.write(1, b"past Python: \\xff\\n")
        print("a warning of the store", file=sys.stderr)
        if os.environ.get("LOUD_DIES"):
            print("the last words", file=sys.stderr, flush=True)
            os._exit(9)
        super().apply(batch)

SPEC = StoreSpec("loud.table", "loud:Loud", "relational", "table", compared=False)
"""
SCENARIO = """
schema = 1
name = "loud"
seed = 1
[domain]
name = "employees"
records = 20
[workload]
commands = 60
rate = 100.0
[measure]
samples = 2
blocks = 0
trials = false
[[projection]]
name = "directory"
store = "loud.table"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    info = tmp_path / "packages" / "loud-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lab.stores]\nloud.table = loud:SPEC\n")
    (tmp_path / "packages" / "loud.py").write_text(textwrap.dedent(STORE))
    (tmp_path / "loud.toml").write_text(SCENARIO)
    return tmp_path


def ran(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder / "packages"), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "lab", "run", "loud.toml", *words], cwd=folder, capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"} | variables, text=True, errors="replace",
    )  # fmt: skip


@pytest.mark.parametrize("repeat", ["1", "2"])
def test_prints_are_passed_on_and_are_not_taken_for_progress(folder: Path, repeat: str) -> None:
    done = ran(folder, "--repeat", repeat)
    assert done.returncode == 0, done.stderr
    assert '{"step": "of the store", "total": 1}\n' in done.stdout
    assert "past Python: \N{REPLACEMENT CHARACTER}\n" in done.stdout
    assert "a warning of the store\n" in done.stderr
    # Of how the process of a repetition is started, nothing is said.
    assert "RuntimeWarning" not in done.stderr
    assert "directory" in done.stdout


@pytest.mark.parametrize("repeat", ["1", "2"])
def test_a_document_is_alone_on_standard_output_whatever_is_printed(folder: Path, repeat: str) -> None:
    store = folder / "packages" / "loud.py"
    # What writes past Python writes into the document of a single run.
    store.write_text("\n".join(line for line in STORE.splitlines() if "os.write(1" not in line))
    done = ran(folder, "--repeat", repeat, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["repetitions"] == int(repeat)
    assert "of the store" in done.stderr


def test_the_last_words_of_a_repetition_that_dies_are_told(folder: Path) -> None:
    done = ran(folder, "--repeat", "2", LOUD_DIES="1")
    assert done.returncode == 4
    assert "repetition 1 of 2: its process ended by exit status 9: the last words" in done.stderr
