"""A package with a store and a domain of its own is installed; nothing in `lab` knows of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lab

HERE = Path(__file__).parent / "acme"
SCENARIO = """
schema = 1
name = "mine"
seed = 5
[domain]
name = "meters"
records = 20
[workload]
commands = 200
rate = 100
deletes = 0.05
[channel]
duplicate = 0.1
[[projection]]
name = "pickled"
store = "acme.pickle"
guard = "revision"
subscribe = "both"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built and installed offline into a folder; its metadata as an installer writes them."""
    target = tmp_path_factory.mktemp("target")
    options = ("--no-index", "--no-build-isolation", "--no-deps", "--no-compile", "--quiet", "--target", str(target))
    source = tmp_path_factory.mktemp("source") / "acme"
    subprocess.run(["cp", "-r", str(HERE), str(source)], check=True)
    made = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(source)], capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    return target


def python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = (str(installed), str(Path(lab.__file__).parents[1]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_it_passes_the_contracts_that_are_shipped(installed: Path, tmp_path: Path) -> None:
    suite = tmp_path / "test_acme.py"
    suite.write_text((HERE / "suite.py").read_text())
    found = python(installed, tmp_path, "pytest", "-q", "-p", "no:cacheprovider", str(suite))
    assert found.returncode == 0, found.stdout[-3_000:]
    assert "passed" in found.stdout


def test_it_is_listed_with_its_package(installed: Path, tmp_path: Path) -> None:
    said = python(installed, tmp_path, "lab", "stores").stdout
    assert "acme.pickle" in said
    assert "from acme-lab 1.2" in said
    rows = json.loads(python(installed, tmp_path, "lab", "stores", "--json").stdout)
    mine = next(row for row in rows if row["store"] == "acme.pickle")
    assert (mine["family"], mine["package"], mine["engine"]) == ("toy", "acme-lab 1.2", "acme-lab 1.2")


def test_a_scenario_runs_on_it_by_name(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SCENARIO)
    found = python(installed, tmp_path, "lab", "run", "mine.toml")
    assert found.returncode == 0, found.stdout + found.stderr
    manifest = json.loads((tmp_path / "runs" / "mine" / "latest" / "manifest.json").read_text())
    assert [(one["store"], one["verdict"]) for one in manifest["projections"]] == [("acme.pickle", "pass")]
    assert manifest["domain"] == "meters"
    assert manifest["versions"]["acme-lab"] == "1.2"


def test_a_package_that_is_broken_costs_one_line(installed: Path, tmp_path: Path) -> None:
    info = tmp_path / "broken-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 3.0\n")
    points = '"acme.pickle" = "json:dumps"\n"sqlite.table" = "json:dumps"\n"bad.store" = "no_such_module:SPEC"\n'
    (info / "entry_points.txt").write_text("[lab.stores]\n" + points.replace('"', ""))
    (tmp_path / "mine.toml").write_text(SCENARIO.replace("acme.pickle", "bad.store").replace("meters", "employees"))
    both = Path(f"{installed}{os.pathsep}{tmp_path}")
    said = python(both, tmp_path, "lab", "stores")
    assert said.returncode == 0
    assert "Traceback" not in said.stdout + said.stderr
    lines = said.stdout.splitlines()
    for words in (
        ("bad.store: ", "no_such_module", "broken 3.0"),
        ("`acme.pickle` is taken", "acme-lab 1.2", "broken 3.0"),
        ("`sqlite.table` is taken", "polyglot-lab", "broken 3.0"),
    ):
        assert len([line for line in lines if all(word in line for word in words)]) >= 1, words
    assert "sqlite.table" in lines, "what is shipped stays usable"
    refused = python(both, tmp_path, "lab", "validate", "mine.toml")
    assert refused.returncode == 2
    assert "bad.store" in refused.stderr
    assert "broken 3.0" in refused.stderr
    assert "Traceback" not in refused.stderr
