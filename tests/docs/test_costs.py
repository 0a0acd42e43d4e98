"""What `make costs` tells: processor time of each test, that of the processes which it started included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import costs

PLANTED = """
import subprocess, sys, time

SPINS = "import time\\nwhile time.process_time() < 0.6: pass"

def test_in_a_process_of_its_own():
    subprocess.run([sys.executable, "-c", SPINS], check=True)

def test_waits():
    time.sleep(0.6)
"""
LOADING = "import os, pytest\nfrom pathlib import Path\nfrom costs import Costs\n"
LOADING += "def pytest_configure(config): config.pluginmanager.register(Costs(Path(os.environ['COSTS'])))\n"


def test_a_process_that_a_test_starts_counts_and_waiting_does_not(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    (tmp_path / "conftest.py").write_text(LOADING)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"COSTS": str(tmp_path / "costs"), "PYTHONPATH": str(Path(costs.__file__).parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "test_planted.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    collecting, spins, waits = costs.rows(tmp_path / "costs")
    assert collecting["setup"] > 0
    assert spins["call"] >= 0.6
    assert waits["call"] < 0.6 <= waits["wall"]


def test_the_most_expensive_come_first_and_a_file_has_the_sum_of_its_tests() -> None:
    rows = [
        {"test": "tests/a/test_a.py::one", "setup": 1.0, "call": 2.0, "teardown": 0.5},
        {"test": "tests/a/test_a.py::two", "call": 3.0},
        {"test": "tests/b/test_b.py::one", "call": 6.0},
    ]
    lines = costs.summary(rows)
    assert lines[0] == "    12.5 s of processor time, 3 rows"
    assert [line.split()[-1] for line in lines if " s  " in line] == [
        "tests/a", "tests/b", "tests/a/test_a.py", "tests/b/test_b.py",
        "tests/b/test_b.py::one", "tests/a/test_a.py::one", "tests/a/test_a.py::two",
    ]  # fmt: skip
