"""`lab runs` lists what there is and removes what is old, and nothing else; `lab open` leads to the report."""

from __future__ import annotations

import json
import shutil
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_run import fake_run

import lab
from lab.cli import lab as cli


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs of two scenarios: four of `fake`, the second of which failed, and one of `other`; and what is no run."""
    root = tmp_path / "runs"
    for seed in range(1, 5):
        run = fake_run(
            root, seed=seed, started_at=f"2026-01-0{seed}T10:00:00Z", verdict="fail" if seed == 2 else "pass"
        )
    (root / "fake" / "latest").symlink_to(run.path.name)
    shutil.copytree(root / "fake" / "run-3", root / "other" / "run-9")
    shutil.copytree(root / "fake" / "run-1", root / "fake" / ".run-7.1.partial")
    (root / "fake" / "notes").mkdir()
    (root / "fake" / "notes" / "manifest.json").write_text("{}")
    return root


def told(root: Path, *words: str) -> Any:
    result = CliRunner().invoke(cli, ["runs", "--runs", str(root), "--json", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def named(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['scenario']}/{row['run']}" for row in rows]


def test_runs_are_listed_from_the_newest_on_by_scenario_and_verdict(root: Path) -> None:
    everything = told(root)["runs"]
    assert sorted(named(everything)) == [*(f"fake/run-{n}" for n in range(1, 5)), "other/run-9"]
    assert [row["started_at"] for row in everything] == sorted((row["started_at"] for row in everything), reverse=True)
    assert named(told(root, "fake", "--verdict", "fail")["runs"]) == ["fake/run-2"]
    one = everything[0]
    assert one["bytes"] == sum(file.stat().st_size for file in Path(one["path"]).iterdir())
    assert sorted(lab.runs(root)["run"]) == sorted(row["run"] for row in everything)
    text = CliRunner().invoke(cli, ["runs", "--runs", str(root)]).output
    assert "fake/run-2" in text
    assert "5 runs below" in text
    assert "no runs below" in CliRunner().invoke(cli, ["runs", "--runs", str(root / "nowhere")]).output


def test_older_runs_are_removed_and_nothing_else(root: Path) -> None:
    before = sorted(root.rglob("*"))
    assert named(told(root, "--prune", "2", "--dry-run")["removed"]) == ["fake/run-2", "fake/run-1"]
    assert sorted(root.rglob("*")) == before
    assert named(told(root, "--prune", "2")["removed"]) == ["fake/run-2", "fake/run-1"]
    assert sorted(named(told(root)["runs"])) == ["fake/run-3", "fake/run-4", "other/run-9"]
    # What is no run, or is being written, is somebody's.
    assert (root / "fake" / "notes" / "manifest.json").exists()
    assert (root / "fake" / ".run-7.1.partial").exists()
    assert (root / "fake" / "latest").resolve().name == "run-4"


def test_the_run_that_latest_names_stays_though_others_are_newer(root: Path) -> None:
    (root / "fake" / "latest").unlink()
    (root / "fake" / "latest").symlink_to("run-1")
    assert named(told(root, "fake", "--prune", "1")["removed"]) == ["fake/run-3", "fake/run-2"]


def test_an_interrupted_removal_leaves_no_half_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path) -> None:
        next(Path(folder).iterdir()).unlink()
        raise OSError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("lab.runs.listing.shutil.rmtree", interrupted)
        assert CliRunner().invoke(cli, ["runs", "--runs", str(root), "--prune", "3"]).exit_code == 4
    assert "fake/run-1" not in named(told(root)["runs"])
    assert not (root / "fake" / "run-1").exists()


@pytest.mark.parametrize("words", [["--dry-run"], ["--seed", "1"], ["--prune", "0"]])
def test_what_makes_no_sense_is_refused(words: list[str], root: Path) -> None:
    result = CliRunner().invoke(cli, ["runs", "--runs", str(root), *words])
    assert result.exit_code == 2
    assert len(list((root / "fake").glob("run-*"))) == 4


def test_a_report_is_opened_or_the_way_to_one_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)) or len(opened) < 2)
    run = root / "fake" / "run-4"
    missing = CliRunner().invoke(cli, ["open", str(run)])
    assert (missing.exit_code, opened) == (2, [])
    assert f"lab report {run}" in missing.output
    (run / "report.html").write_text("<p>")
    assert str(run / "report.html") in CliRunner().invoke(cli, ["open", str(run)]).output
    assert opened == [(run / "report.html").as_uri()]
    assert "no browser is found here" in CliRunner().invoke(cli, ["open", str(run)]).output
