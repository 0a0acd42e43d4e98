"""Terminals and environments as they are: closed, full, not Unicode, without a home, without a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.experiment import run
from lab.runs import Run
from lab.scenario import Source
from lab.wiring import plan

SCENARIO = """
schema = 1
name = "mine"
seed = 3
[domain]
name = "employees"
records = 20
[workload]
commands = 60
rate = 100.0
[measure]
samples = 2
[[projection]]
name = "directory"
store = "memory"
guard = "revision"
"""
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("terminals")
    return run(plan(Source.of_text(SCENARIO, "mine.toml")), folder / "runs", report=False)


def shell(command: str, folder: Path, encoding: str = "utf-8", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `lab` is the command."""
    lab = f'lab() {{ "{sys.executable}" -m lab "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", lab + command], cwd=folder, capture_output=True, encoding=encoding, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_is_not_unicode_shows_the_lab_s_signs_in_its_own(encoding: str, finished: Run) -> None:
    line = f"lab report {finished.path}; lab validate 'Zoë価'"
    said = shell(line, finished.path, encoding, PYTHONIOENCODING=f"{encoding}:strict")
    assert "+ PASS" in said.stdout
    assert "\\u" not in said.stdout
    assert said.stderr.startswith("error: Zo" + ("ë" if encoding == "cp1252" else "\\xeb") + "\\u4fa1: no such file")


@pytest.mark.parametrize(
    ("redirection", "option", "status", "says"),
    [
        (">&-", "--json", 0, ""),
        (">&- 2>&-", "", 0, ""),
        ("2>&-", "", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", "--json", 0, ""),
        pytest.param(
            "> /dev/full", "--json", 4, "error: standard output: no space left on device",
            marks=pytest.mark.skipif(not FULL.is_char_device(), reason="needs /dev/full"),
        ),
    ],
)  # fmt: skip
def test_output_that_goes_nowhere(redirection: str, option: str, status: int, says: str, finished: Run) -> None:
    said = shell(f"lab compare {finished.path} {finished.path} {option} {redirection}", finished.path)
    assert said.returncode == status, said.stderr
    assert said.stderr.startswith(says)
    assert len(said.stderr.splitlines()) == bool(says), said.stderr


def test_a_bare_environment_is_enough(finished: Run, tmp_path: Path) -> None:
    bare = f'env -i "{sys.executable}" -m lab compare {finished.path} {finished.path}'
    said = shell(bare, Path(__file__).parents[2])
    assert (said.returncode, said.stderr) == (0, "")
    missing = {"TMPDIR": str(tmp_path / "missing"), "HOME": str(tmp_path / "missing"), "XDG_CACHE_HOME": ""}
    said = shell(f"lab compare {finished.path} {finished.path}", tmp_path, **missing)
    assert (said.returncode, said.stderr) == (0, "")


def test_a_current_folder_that_is_deleted_is_told(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SCENARIO)
    said = shell(f"mkdir gone && cd gone && rmdir ../gone && lab run {tmp_path}/mine.toml --debug", tmp_path)
    assert said.returncode == 4
    assert said.stderr.startswith("Traceback ")
    assert "error: the current folder: no such file or folder (go to another folder)" in said.stderr


def test_a_mistake_in_the_arguments_is_a_document_too(tmp_path: Path) -> None:
    said = shell("lab run x --nope$'\\e[31m\\n'error --json", tmp_path)
    assert said.returncode == 2
    assert '"where": "arguments"' in said.stdout
    assert "\x1b" not in said.stderr
    assert "\nerror\n" not in said.stderr
