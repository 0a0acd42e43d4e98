"""What the tests cost in seconds of processor time, with the processes that they start: see `make costs`.

A plugin of pytest, loaded where COSTS names a folder; each process that runs tests writes a file of its own there, with
a line of JSON for each test. As a program, called with that folder, it prints sums and the most expensive tests.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

SHOWN = 20
STEPS = ("setup", "call", "teardown")


def used_seconds() -> float:
    """Processor time of this process, all of its threads, and all processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Costs:
    """Writes down what collecting cost, and each step of each test. A shared fixture counts where it is made first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{os.getpid()}.jsonl"
        self.row: dict[str, Any] = {}

    def write(self) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.row) + "\n")

    def pytest_collection_finish(self) -> None:
        """The time from the start of the process: imports and parameters of all tests."""
        self.row = {"test": "collecting", "setup": used_seconds()}
        self.write()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.row, began = {"test": item.nodeid}, time.monotonic()
        done = yield
        self.row["wall"] = round(time.monotonic() - began, 3)
        self.write()
        return done

    def step(self, name: str) -> Generator[None, object, object]:
        began = used_seconds()
        try:
            return (yield)
        finally:
            self.row[name] = round(used_seconds() - began, 3)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        return (yield from self.step("setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        return (yield from self.step("call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        return (yield from self.step("teardown"))


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every line of the folder's files."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl")))
    return [json.loads(line) for text in texts for line in text.splitlines()]


def summary(found: list[dict[str, Any]]) -> list[str]:
    """The sums of all, of each folder and file, and the most expensive tests, in seconds of processor time."""
    tests: Counter[str] = Counter()
    files: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for row in found:
        seconds = sum(row.get(step, 0.0) for step in STEPS)
        file = row["test"].partition("::")[0]
        tests[row["test"]] += seconds
        files[file] += seconds
        folders[file.rpartition("/")[0] or file] += seconds
    lines = [f"{folders.total():8.1f} s of processor time, {len(found)} rows"]
    for heading, counted in (("folders", folders), ("files", files), ("tests", tests)):
        lines += ["", f"the most expensive {heading}"]
        lines += [f"{seconds:8.1f} s  {name}" for name, seconds in counted.most_common(SHOWN)]
    return lines


if __name__ == "__main__":
    print("\n".join(summary(rows(Path(sys.argv[1])))))
