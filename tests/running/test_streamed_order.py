"""The order in which a stream's changes are applied: with new checkpoints a store has all that came before them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from lab.running.streaming import StreamFollower

APPLIED = [("b", [3], None), ("c", [4], None), ("a", [7], 9)]


@pytest.mark.parametrize("entities", [("a", "b", "c"), ("b", "c", "a")])
def test_the_last_commit_is_one_that_moves_a_checkpoint(
    entities: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, applied = object.__new__(StreamFollower), list[tuple[str, list[int], int | None]]()

    def work(entity: str, piece: Any, start: float, checkpoint: int | None, source: int) -> float:
        applied.append((entity, piece["position"].to_list(), checkpoint))
        return start

    monkeypatch.setattr(StreamFollower, "_live", SimpleNamespace(caught_up=lambda: None))
    worker._work = work  # type: ignore[method-assign]
    worker.journal = SimpleNamespace(checkpoint=lambda *_: None)  # type: ignore[assignment]
    worker.batch, worker.watch, worker.deferred = 10, None, None
    worker.highest = {"a": 9, "b": 8, "c": 4}
    worker.positions, worker.settled = {"a": 5, "b": 8, "c": 4}, {"a": 5, "b": 8, "c": 4}
    worker.covered = dict(worker.settled)
    positions = {"a": 7, "b": 3, "c": 4}
    frames = {name: pl.DataFrame({"position": [positions[name]]}) for name in entities}
    worker._applied(frames, 9, 0.0)
    # Late changes below their checkpoints come first: a store that loses them has the former checkpoint of "a".
    assert applied == APPLIED
    assert worker.settled == {"a": 9, "b": 8, "c": 4}
