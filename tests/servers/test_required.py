"""A test that needs a server is skipped with the way to start it, and fails where the server is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, text
from reachable import needed

from lab.servers import SERVERS

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
TEST = "import pytest\n\n@pytest.mark.server('postgres')\ndef test_it():\n    pass\n"


def test_without_the_server_the_way_to_start_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_POSTGRES", NOWHERE)
    monkeypatch.delenv("LAB_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"Connection refused.*apt-get install postgresql"):
        needed("postgres")


def test_where_it_is_required_that_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_POSTGRES", NOWHERE)
    monkeypatch.setenv("LAB_REQUIRE", "redis,postgres")
    with pytest.raises(pytest.fail.Exception, match=r"LAB_REQUIRE names postgres"):
        needed("postgres")


@pytest.mark.parametrize(("required", "status", "said"), [("", 0, "1 skipped"), ("postgres", 1, "1 error")])
def test_a_run_of_pytest_fails_for_it(required: str, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_marked.py").write_text(TEST)
    environment = os.environ | {
        "LAB_POSTGRES": NOWHERE, "LAB_REQUIRE": required, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "reachable",
        "test_marked.py",
    ]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (found.returncode, said in found.stdout) == (status, True), found.stdout + found.stderr


def test_ci_requires_every_server_that_the_lab_knows() -> None:
    (line,) = [line for line in text(".ci/run").splitlines() if line.startswith("export LAB_REQUIRE=")]
    # Tests start a stand-in for Kafka in their process, and emulators of the others beside it.
    emulated = {"kafka", "aws", "mongodb", "elasticsearch", "opensearch"}
    assert set(line.partition("=")[2].split(",")) == set(SERVERS) - emulated
    assert "LAB_REQUIRE=$LAB_REQUIRE,mongodb" in text(".ci/run")
