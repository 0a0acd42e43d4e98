"""A source of truth that goes back: what was read and is gone, or another row's place, is noticed at the reconnect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reachable import own_instance

from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.engines.postgres import Session
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.running.live import LiveSource
from lab.servers import Instance
from lab.servers.postgres import SERVER
from lab.service.behind import RowsBehind
from lab.truth import join_truth, open_beside, open_truth
from lab.truth.timeline import Diverged


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """A server that writes what was committed to its disk as seldom as can be."""
    with own_instance("postgres", {"wal_writer_delay": "10s"}) as one:
        monkeypatch.setenv("LAB_POSTGRES", one.url)
        yield one


def hire(key: int, at: float) -> Command:
    fields = {"name": f"Number {key}", "manager": None if key == 1 else 1, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields, at=at)


def read(source: LiveSource, behind: RowsBehind) -> list[int]:
    """Read everything as a projection does, and return the positions."""
    assert source.found()
    assert source.reader is not None
    page = source.reader.changes_since("employee", 0, 1_000)
    behind.confirm(source)
    behind.note("employee", page)
    return page["position"].to_list()


@pytest.mark.parametrize("model", ["history", "snapshot", "events"])
def test_commits_that_a_crash_took_are_noticed_though_their_positions_were_given_again(
    model: str, tmp_path: Path, instance: Instance
) -> None:
    kind: tuple[Any, ...] = ("postgres", model, FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    truth = open_truth(*kind)
    truth.execute(hire(1, 1.0))
    with SERVER.connect() as connection:
        # Without the first of them nothing else can be done.
        Session(connection).execute("CHECKPOINT")
    source = LiveSource(lambda: open_beside(*kind), ChangeReader, EMPLOYEES)
    for round_ in range(10):
        behind = RowsBehind()
        first = 2 + 10 * round_
        for key in range(first, first + 5):
            truth.execute(hire(key, 10.0 + key))
        seen = read(source, behind)
        instance.stop("kill")
        instance.start()
        truth.close()
        source.close()
        writer = join_truth(*kind)
        held = {row[1] for row in writer.changes_since("employee", 0, 1_000).rows()}
        lost = 5 - sum(key in held for key in range(first, first + 5))
        # Others take their places, at later times.
        for key in range(first + 5, first + 10):
            writer.execute(hire(key, 1_000.0 + key))
        assert max(writer.changes_since("employee", 0, 1_000)["position"]) >= max(seen)
        truth = writer
        if lost:
            with pytest.raises(Diverged, match=r"went back: revision 1 of employee \d+, read at position \d+, is "):
                read(source, behind)
            break
        assert read(source, behind)
    else:
        pytest.fail("the server lost nothing in ten crashes")
    source.close()
    truth.close()


def test_what_is_still_there_is_gone_on_with(tmp_path: Path, instance: Instance) -> None:
    kind: tuple[Any, ...] = ("postgres", "snapshot", FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
    truth, behind = open_truth(*kind), RowsBehind()
    truth.execute(hire(1, 1.0))
    truth.execute(hire(2, 2.0))
    source = LiveSource(lambda: open_beside(*kind), ChangeReader, EMPLOYEES)
    assert read(source, behind) == [1, 2]
    # Overwritten, as a snapshot's rows are.
    truth.execute(Command("employee", "give_raise", 1, {"salary": 4_000}, at=3.0))
    instance.stop("kill")
    instance.start()
    source.close()
    assert read(source, behind) == [2, 3]
    source.close()
    truth.close()


def test_rows_that_came_out_of_order_and_are_forgotten_are_not_taken_for_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.service.behind.ROWS", 5)
    kind: tuple[Any, ...] = ("sqlite", "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    truth = open_truth(*kind)
    for key in range(1, 13):
        truth.execute(hire(key, float(key)))
    page = truth.changes_since("employee", 0, 1_000)
    source = LiveSource(lambda: open_beside(*kind), ChangeReader, EMPLOYEES)
    for batches in (
        [page[:10], page[2:3], page[10:]],
        [page[8:], page[:3]],
        [page[:6], page[6:], page[:1]],
        [page, page[:0]],
    ):
        behind = RowsBehind()
        behind.passed = lambda: {"employee": 12}
        for batch in batches:
            behind.note("employee", batch)
        assert source.found()
        behind.confirm(source)
        source.close()
    # A row that wasn't read, above those that are forgotten, is seen.
    behind = RowsBehind()
    behind.passed = lambda: {"employee": 12}
    for batch in (page[:9], page[1:2], page[10:]):
        behind.note("employee", batch)
    assert source.found()
    with pytest.raises(Diverged, match=r"employee 10 is at position 10, and that was passed without it"):
        behind.confirm(source)
    source.close()
    truth.close()
