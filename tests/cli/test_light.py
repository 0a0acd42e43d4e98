"""What is loaded before a command does anything: `lab --help` and `import lab` wait for no library of data."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.__main__ import main as start

HEAVY = ("numpy", "polars", "duckdb", "pyarrow", "rich", "httpx", "matplotlib", "locust", "IPython")


@pytest.mark.parametrize("begun", ["import lab", "import lab.__main__", "from lab.cli import lab"])
def test_nothing_heavy_is_loaded_for_a_help_text(begun: str) -> None:
    code = f"import sys; {begun}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_command_is_helped_without_what_it_would_need() -> None:
    code = f"""
import sys
from lab.cli import lab
for name, command in lab.commands.items():
    try:
        command.main([name, "--help"], standalone_mode=False)
    except SystemExit:
        pass
print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage:") >= 14
    assert done.stderr.split() == []


def test_where_it_can_t_run_it_says_so_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(SystemExit, match="WSL"):
        start()
