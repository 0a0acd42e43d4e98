"""The gate of a live reader says who holds it back, once it has not got on for as long as its limit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lab.ports import Blocker
from lab.running.blocked import BlockedNotes, read_blocked
from lab.running.gating import LiveGate


@dataclass
class Engine:
    """What an engine tells: how far it is settled, and who writes."""

    there: int = 0
    settled_to: int = 0
    writing: list[Blocker] = field(default_factory=list)
    asked: int = 0

    def newest(self) -> int:
        return self.there

    def settled(self) -> int:
        return self.settled_to

    def shown(self, after: int) -> np.ndarray:
        return np.arange(after + 1, self.there + 1)

    def blockers(self, at: float) -> list[Blocker]:
        self.asked += 1
        return self.writing


def test_who_holds_a_reader_back_is_told_after_the_limit() -> None:
    engine, told = Engine(5, 2, [Blocker("somebody (pid 1, database other)", 0.5, 2), Blocker("late", 2.4, 2)]), []
    gate = LiveGate("horizon", 1.0, lambda: engine, lambda at, position: None, lambda at, who: told.append((at, who)))
    for at in (1.0, 1.5, 1.9):
        gate.ask(at)
    assert (told, engine.asked) == ([], 0)
    gate.ask(2.0)
    assert told == [(2.0, engine.writing[0])]
    # Not at each look: the engine is asked again after another limit.
    gate.ask(2.5)
    assert engine.asked == 1
    gate.ask(3.5)
    assert [who.owner for _, who in told[1:]] == ["somebody (pid 1, database other)", "late"]
    engine.settled_to = 3
    gate.ask(4.0)
    gate.ask(4.9)
    assert engine.asked == 2


def test_what_is_shown_is_never_above_what_there_is() -> None:
    """Positions of the newest transactions may have been rolled back: a reader isn't further than its source."""
    engine = Engine(5, 9)
    gate = LiveGate("horizon", 1.0, lambda: engine, lambda at, position: None)
    gate.ask(0.0)
    assert (gate.look(0.0), gate.shown) == (9, 5)


def test_each_transaction_is_written_down_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    said: list[str] = []
    notes = BlockedNotes(lambda: 10.0, tmp_path / "mine.journal", said.append)
    one = Blocker("app (pid 7, database other)", 4.0, 12)
    for at in (9.0, 9.5):
        notes(at, one)
    assert said == ["held back at position 12 by app (pid 7, database other), open for 5.0 s"]
    (row,) = read_blocked(tmp_path / "mine.blocked", "mine", 990.0)
    assert row == {
        "projection": "mine", "at_seconds": 9.0, "transaction": one.owner, "open_seconds": 5.0, "above": 12,
    }  # fmt: skip
    assert json.loads((tmp_path / "mine.blocked").read_text())[0] == 999.0
    assert read_blocked(tmp_path / "none.blocked", "none", 0.0) == []
