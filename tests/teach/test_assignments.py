"""The assignments of the chapters: each stub fails and each solution passes, at any seeds; other things handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from lab.kit.grade import hidden
from lab.teach import assignments, swapping

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = sorted(assignments.ASSIGNMENTS)
SEEDS = hidden(20_26, 3)


def tagged(tag: str) -> str:
    """The source of the only cell with this tag in all chapters, without what it claims of itself."""
    (source,) = [
        cell.source
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if tag in cell.metadata.get("tags", [])
    ]
    return str(source).partition("\n\n\nclaim(")[0]


def made(name: str, *tags: str) -> Any:
    """What the last of these cells defines."""
    there: dict[str, Any] = {"__name__": "chapter"}
    for tag in tags:
        before = set(there)
        exec(tagged(f"{tag}:{name}"), there)
    (found,) = [there[each] for each in there if each not in before and not each.startswith("__")]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_fails_at_every_seed(name: str) -> None:
    stub = made(name, "assignment")
    for seed in SEEDS:
        grade = assignments.hand_in(name, stub, [seed])
        assert not assignments.passed(grade)
        assert grade.those("pass")


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes_at_every_seed(name: str) -> None:
    assert assignments.passed(assignments.hand_in(name, made(name, "assignment", "solution"), SEEDS))


def test_seeds_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(assignments, "_tried", lambda name, wanted, submission, seed: seen.append(seed) or [])
    for _ in range(2):
        assert not assignments.passed(assignments.hand_in("poller", object))
    assert len(set(seen)) == 6


def test_a_poller_that_reads_everything_each_time_reads_too_much() -> None:
    class Everything:
        def __init__(self) -> None:
            self.records: dict[int, dict[str, Any]] = {}

        def poll(self, source: Any) -> None:
            for change in source.changes_since(0, 1_000):
                if change["revision"] >= self.records.get(change["key"], change)["revision"]:
                    self.records[change["key"]] = change

        def rows(self) -> list[dict[str, Any]]:
            return [change for change in self.records.values() if not change["deleted"]]

    grade = assignments.hand_in("poller", Everything, SEEDS[:1])
    assert grade.those("fail") == ["reads_little"]


def in_one_transaction(connection: Any, changes_since: Any) -> None:
    """Rebuild in place, and let readers see nothing of it before the end."""
    connection.execute("DELETE FROM people")
    position = 0
    while page := changes_since(position):
        connection.executemany("INSERT OR REPLACE INTO people VALUES (:key, :revision, :deleted, :name)", page)
        position = page[-1]["position"]


def one_page(connection: Any, changes_since: Any) -> None:
    """Stop after the first page."""
    for row in changes_since(0):
        connection.execute("INSERT OR REPLACE INTO people VALUES (:key, :revision, :deleted, :name)", row)


def for_ever(connection: Any, changes_since: Any) -> None:
    """Ask for the first page again and again."""
    while changes_since(0):
        pass


@pytest.mark.parametrize(
    ("rebuild", "failed", "told"),
    [
        (in_one_transaction, [], ""),
        (one_page, ["rebuild_equals_live"], "after the rebuild key"),
        (for_ever, ["rebuild_equals_live"], "does its position move on"),
    ],
)
def test_other_ways_to_rebuild(rebuild: Any, failed: list[str], told: str) -> None:
    found = swapping.try_rebuild(rebuild, 7, 4)
    assert [item.prop for item in found if item.verdict == "fail"] == failed
    assert all(told in item.witness for item in found if item.verdict == "fail")
