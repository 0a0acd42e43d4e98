"""What a worker notes of work that went wrong, and the file of notes of a process that was killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lab.base import Batch, CannotTake, Unavailable
from lab.feed.published import Published
from lab.measure.accounting import account, balances
from lab.place import FolderPlace
from lab.projection.applied import NONE, Applied
from lab.projection.projector import Projector
from lab.running.journal import CHANNEL, Journal
from lab.running.notes import NOTE, BoundedJournal, read_given_up, read_notes
from lab.running.trouble import Interrupted, StoreFaults, faulty
from lab.running.worker import Worker
from lab.stores import Layout, dump, store_class
from lab.testing.sample import ITEM, items, layout

FRAME = items(*((key, 1, False, "a", None, "x", 5, 1.0, False) for key in (1, 2, 3, 4)))


def noted(path: Path, *positions: int) -> None:
    """A process that notes some positions as applied, each by itself."""
    journal = BoundedJournal(0.0, time.monotonic, path)
    for position in positions:
        one = np.array([position])
        journal.note("item", Applied(one, NONE, NONE, NONE), one, CHANNEL, 0.0, time.monotonic())
    journal.close()


@pytest.mark.parametrize("torn", range(NOTE.itemsize))
def test_notes_after_one_that_was_cut_off_are_read_as_they_were_written(torn: int, tmp_path: Path) -> None:
    path = tmp_path / "directory.journal"
    noted(path, 1, 2)
    with path.open("ab") as file:
        # SIGKILL, or a full disk, in the middle of a write.
        file.write(b"\x01" * torn)
    noted(path, 3, 4)
    found = read_notes(path, Published.of({"item": FRAME}), 0.0)
    assert found.all("positions").tolist() == [1, 2, 3, 4]
    assert found.all("handed").tolist() == [1, 2, 3, 4]


def handed(journal: BoundedJournal, *positions: int, written: tuple[int, ...] = ()) -> None:
    """A guard that holds back all but some of what it is given."""
    journal.note("item", Applied(np.array(written), NONE, NONE, NONE), np.array(positions), CHANNEL, 0.0, 1.0)


def accounted(path: Path) -> dict[str, Any]:
    """The account of four changes by what was noted."""
    journal = read_notes(path, Published.of({"item": FRAME}), 0.0)
    visible = np.full(4, np.inf)
    visible[journal.all("positions") - 1] = 1.0
    return account("directory", 4, np.arange(4), 4, journal, journal.held, NONE, visible)


def test_what_a_guard_holds_back_when_its_process_ends_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "directory.journal"
    journal = BoundedJournal(0.0, time.monotonic, path)
    handed(journal, 1, 3, 4, written=(1,))
    journal.held(2.0, np.array([3, 4]))
    journal.close()
    found = accounted(path)
    assert (found["applied"], found["parked"], found["pending"], balances(found)) == (1, 2, 1, 0)


def test_what_a_killed_process_held_back_is_forgotten_unless_it_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "directory.journal"
    killed = BoundedJournal(0.0, time.monotonic, path)
    handed(killed, 1, 3, 4, written=(1,))
    killed.close()
    again = BoundedJournal(0.0, time.monotonic, path)
    handed(again, 3, written=(3,))
    again.close()
    found = accounted(path)
    assert (found["applied"], found["pending"], balances(found)) == (2, 2, 0)


def test_a_change_that_is_lost_within_the_life_of_a_process_is_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "directory.journal"
    journal = BoundedJournal(0.0, time.monotonic, path)
    handed(journal, 1, 2, 3, 4, written=(1, 3))
    journal.held(2.0, np.array([4]))
    journal.close()
    assert balances(accounted(path)) == 1


def test_checkpoints_sources_and_what_was_given_up_come_back_by_the_same_clock(tmp_path: Path) -> None:
    path, now = tmp_path / "directory.journal", [100.0]
    journal = BoundedJournal(0.0, lambda: now[0], path, ("other", "item"))
    one = np.array([1])
    journal.note("item", Applied(one, NONE, NONE, NONE), one, CHANNEL, 99.0, 100.0)
    journal.checkpoint(100.0, "item", 1)
    journal.gave_up(101.0, 2)
    journal.checkpoint(102.0, "other", 4)
    journal.close()
    began = time.time() - 100.0
    found = read_notes(path, Published.of({"item": FRAME}), began, ("other", "item"))
    (note,) = found.notes
    assert note.source == CHANNEL
    assert float(note.visible_at) - float(note.began_at) == pytest.approx(1.0, abs=0.01)
    # A checkpoint moves in the very moment at which its rows are visible: not a microsecond before.
    assert found.checkpoints[0] == (float(note.visible_at), "item", 1)
    assert [(name, position) for _, name, position in found.checkpoints] == [("item", 1), ("other", 4)]
    assert [position for _, position in read_given_up(path, began)] == [2]
    # Of a journal that didn't know its entities, the checkpoints are left out.
    assert read_notes(path, Published.of({"item": FRAME}), began).checkpoints == []


class Divided(StoreFaults):
    """Position 2 can't be taken; a batch with 4 is refused for now, once it comes without 2."""

    refuses = True

    def inspect(self, batch: Batch) -> None:
        positions = set(batch.positions.tolist())
        if 2 in positions:
            raise CannotTake("2")
        if self.refuses and 4 in positions:
            raise Unavailable("not now")


class Frames:
    """A live service of change frames that are handed over as they are; a second passes with each work."""

    retry: float | None = 0.5
    retry_parked: float | None = None
    defers = False
    every_revision = True

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[pl.DataFrame, bool, float]:
        found = FRAME.filter(pl.col("position") > position)
        return found[:limit], found.height < limit, now

    def messages(self, batch: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
        return [("item", batch)]

    def positions(self, entity: str, piece: pl.DataFrame) -> np.ndarray:
        return piece["position"].to_numpy()

    def frame(self, entity: str, piece: pl.DataFrame) -> pl.DataFrame:
        return piece

    def begin(self) -> float:
        return 0.0

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        return at + 1.0

    def now(self, at: float) -> float:
        return at


class Whole:
    """An inbox that gives all that it has."""

    def first(self, count: int) -> pl.DataFrame:
        return FRAME


def test_pieces_that_landed_before_the_store_refused_the_next_are_noted(tmp_path: Path) -> None:
    store, faults, journal = store_class("memory")(FolderPlace(tmp_path), layout("records")), Divided(), Journal()
    service: Any = Frames()
    worker = Worker(Projector(faulty(store, faults), "revision", 0), service, Whole(), journal, 10, 10)
    with pytest.raises(Interrupted):
        worker.take(0.0, 4)
    assert dump(store, "item")["position"].to_list() == journal.all("positions").tolist() == [1]
    assert worker.projector.parked("item").tolist() == journal.all("parked").tolist() == [2]
    assert sorted(journal.all("handed").tolist()) == [1, 2]
    faults.refuses = False
    worker.take(1.5, 4)
    assert dump(store, "item")["position"].to_list() == [1, 3, 4]
    assert journal.all("positions").tolist() == [1, 3, 4]
    assert journal.all("refused").tolist() == [1]


def test_a_worker_is_level_with_another_once_it_has_read_all_that_the_other_was_handed(tmp_path: Path) -> None:
    service: Any = Frames()

    def working(name: str) -> Worker:
        store = store_class("memory")(FolderPlace(tmp_path / name), Layout("records", {"item": ITEM}))
        return Worker(Projector(store, "revision", 0), service, Whole(), Journal(), 3, 3)

    first, second = working("first"), working("second")
    assert second.level_with(first)
    # By messages the first has gone ahead of every checkpoint.
    first.take(0.0, 4)
    seen = []
    for _ in range(2):
        seen.append(second.level_with(first))
        second.poll(1.0)
    assert [*seen, second.level_with(first)] == [False, False, True]
