"""What all tests share: hypothesis without a time limit and without files of its own, folders, servers."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from costs import Costs
from effort import examples
from hypothesis import HealthCheck, settings
from proofs import Proofs

import lab.experiment
import lab.report
from lab.conformance.job import Conformance
from lab.experiment.progress import Progress
from lab.wiring import Plan

# The mark of tests that need a server.
pytest_plugins = ["reachable"]

# Examples open real engines, whose time says nothing about the code; nothing is written beside the tests' folders.
settings.register_profile(
    "lab",
    deadline=None,
    database=None,
    max_examples=examples(6),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lab")


def pytest_configure(config: pytest.Config) -> None:
    """Write down what each test costs, into the folder that COSTS names; see that what is claimed was shown."""
    if os.environ.get("COSTS"):
        config.pluginmanager.register(Costs(Path(os.environ["COSTS"]).absolute()))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proofs())


def pytest_collection_finish() -> None:
    """Leave what all tests are made of out of Python's cycle collector.

    It is half a million objects, which a full collection looks through in a third of a second; a run makes twenty.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter collect everything at its end: libraries tell what is left then, as leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A folder of its own for each call: hypothesis runs many examples within one test."""
    root = tmp_path_factory.mktemp("examples")
    count = itertools.count()

    def make() -> Path:
        folder = root / str(next(count))
        folder.mkdir()
        return folder

    return make


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without their report and without trials of their stores, which have tests of their own."""
    monkeypatch.setattr(lab.report, "write_report", lambda _: None)
    monkeypatch.setattr(lab.experiment.once, "try_stores", _nothing_tried)


@pytest.fixture
def quick(untried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without what is computed beside their verdicts as well: what other settings give, reads beside commits."""
    monkeypatch.setattr(lab.experiment.explained, "what_ifs", lambda *_: [])
    monkeypatch.setattr(lab.experiment.once, "beside", lambda *_: [])


def _nothing_tried(plan: Plan, work: Path, progress: Progress) -> dict[str, Conformance]:
    return {item.name: Conformance.unknown("not tried") for item in plan.projections}
