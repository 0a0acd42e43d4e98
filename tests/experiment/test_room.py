"""A run that needs more disk than there is says so before it begins, with the estimate; a hopeless one is refused."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from running import run_text

from lab.base import BadInput
from lab.cli import lab
from lab.wiring import disk

pytestmark = pytest.mark.usefixtures("untried")

Usage = namedtuple("Usage", "total used free")
OWN = """
schema = 1
name = "mine"
seed = 1

[domain]
name = "trace"

[[domain.entity]]
name = "item"
file = "items.csv"
key = ["id"]
time = "at"

[time]
service = "modelled"

[channel]
duplicate = 0.5

[measure]
samples = 1
warm_up = 0
blocks = 0
budget = 0.001
rebuild = false
trials = false

[[projection]]
name = "table"
store = "memory"
"""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    rows = (f"r{number % 40},{number},{number}" for number in range(400))
    (tmp_path / "items.csv").write_text("\n".join(["id,at,value", *rows]) + "\n")
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path / "mine.toml"


def ran(history: Path) -> Result:
    return CliRunner().invoke(lab, ["run", str(history), "--runs", str(history.parent / "runs")])


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(size, 0, size))


def test_what_is_needed_is_said_before_the_run_begins(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 60_000)
    found = ran(history)
    assert found.exit_code == 0, found.output
    said = [line for line in found.stderr.splitlines() if "GB of disk" in line]
    assert len(said) == 1
    assert said[0].startswith("mine.toml: domain: the run takes about 0.0 GB of disk for 400 changes")


def test_a_run_that_is_hopeless_is_refused(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10_000)
    with pytest.raises(BadInput, match=r"400 changes, and 0\.0 GB are free"):
        run_text(history.parent, OWN)


def test_with_room_nothing_is_said(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**9)
    found = ran(history)
    assert found.exit_code == 0, found.output
    assert "GB of disk" not in found.output
