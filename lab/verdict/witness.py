"""Witnesses: the fewest deliveries that still show an anomaly, told line by line and ready to be drawn.

The deliveries of the record in question are replayed through a new projector of the same kind, and one after the
other is left out for as long as the same check still fails over the same record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lab.running.journal import CHANNEL, Note
from lab.running.trouble import STEPS
from lab.shrink import ddmin
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding
from lab.verdict.replay import Delivery, Replay, deliveries

SCHEMA = {
    "projection": pl.String(),
    "check": pl.String(),
    "step": pl.Int64(),
    "at_seconds": pl.Float64(),
    "line": pl.String(),
    "label": pl.String(),
    "detail": pl.String(),
    "position": pl.Int64(),
    "delivery": pl.Int64(),
    "mark": pl.String(),
}
# Deliveries of one record to begin with; of a record with more, those before the last of its violations.
DELIVERIES_MAX = 60
# Where the checkpoint matters, the change that carried it past the one in question is part of the story.
BY_CHECKPOINT = ("checkpoint_sound", "no_skipped_gap", "read_your_writes")

Check = Callable[[Evidence], Finding]


@dataclass(frozen=True)
class Witness:
    """The lines as text, the same as rows to be drawn, and how many deliveries it took."""

    lines: list[str]
    frame: pl.DataFrame
    deliveries: int


def witness(evidence: Evidence, name: str, check: Check, finding: Finding) -> Witness | None:
    """The smallest story of a finding; None when it is about no change, or does not come from its deliveries alone."""
    focus = finding.focus
    if focus is None:
        return None
    if name == "no_loss":
        # Nothing brought it; or it was in the projector's hands when the process died.
        own = np.zeros(evidence.published.record.size, bool)
        own[focus] = True
        return _told(evidence, name, focus, deliveries(evidence, own)[-3:], None)
    if name == "monotonic_reads" and evidence.journal.resets:
        return _thrown_away(evidence, name, focus)
    record = evidence.published.record
    wanted = record == record[focus]
    if name in BY_CHECKPOINT and (mover := _mover(evidence, focus)) is not None:
        wanted[mover] = True
    script = deliveries(evidence, wanted)[-DELIVERIES_MAX:]
    replay = Replay(evidence, np.flatnonzero(wanted))
    shows = _row(evidence, focus, evidence.dumps)
    newest = any(item.index == focus for item in script)

    def fails(chosen: list[Delivery]) -> bool:
        if name == "converged" and newest and all(item.index != focus for item in chosen):
            # Nothing is shown by keeping the newest revision away, when in truth it came.
            return False
        after = replay.after(chosen)
        again = check(after)
        if again.verdict != "fail":
            return False
        if name == "converged":
            # Not any difference: the one that there is.
            return _row(evidence, focus, after.dumps) == shows
        about = replay.indices[again.indices] if again.indices is not None else np.empty(0, np.int64)
        return bool(np.any(about == focus) if name in BY_CHECKPOINT else np.any(record[about] == record[focus]))

    if not fails(script):
        return None
    least = ddmin(script, fails)
    return _told(evidence, name, focus, least, replay)


def _thrown_away(evidence: Evidence, name: str, focus: int) -> Witness:
    """A rebuild in place: what was there, and that it is gone."""
    wanted = np.zeros(evidence.published.record.size, bool)
    wanted[focus] = True
    return _told(evidence, name, focus, deliveries(evidence, wanted, 0)[-1:], None)


def _mover(evidence: Evidence, focus: int) -> int | None:
    """The change that the checkpoint stood at when it first passed the one in question."""
    entity = evidence.published.entities[int(evidence.published.entity_of[focus])]
    passing = (position for _, name, position in evidence.journal.checkpoints if name == entity and position > focus)
    position = next(passing, None)
    return None if position is None else position - 1


def _row(evidence: Evidence, focus: int, dumps: dict[str, pl.DataFrame] | None) -> list[tuple[Any, ...]]:
    """What is shown of the record, but for its position, which a replay numbers anew."""
    entity, change = evidence.published.change(focus)
    if not dumps or "key" not in dumps[entity].columns:
        return []
    return dumps[entity].filter(pl.col("key") == change["key"]).drop("position").rows()


def _told(evidence: Evidence, name: str, focus: int, least: list[Delivery], replay: Replay | None) -> Witness:
    published = evidence.published
    rows: list[dict[str, Any]] = []

    def row(at: float, line: str, label: str, detail: str, index: int, delivery: int | None, mark: str = "") -> None:
        rows.append(
            {"at_seconds": at, "line": line, "label": label, "detail": detail, "position": index + 1}
            | {"delivery": delivery, "mark": mark}
        )

    shown = {focus, *(item.index for item in least)}
    if name == "converged":
        shown.add(int(np.flatnonzero(published.record == published.record[focus])[-1]))
    for index in sorted(shown):
        detail = f"{evidence.label(index)} is committed (position {index + 1}{_tombstone(evidence, index)})"
        row(float(published.committed_at[index]), "source", _short(evidence, index), detail, index, None)
    if name == "no_skipped_gap" and evidence.taken_at is not None:
        detail = f"a writer takes position {focus + 1} for {evidence.label(focus)}, and does not commit yet"
        row(float(evidence.taken_at[focus]), "source", "begin", detail, focus, None)
    if name == "no_loss" and focus + 1 in evidence.lost_messages:
        at = evidence.lost_messages[focus + 1]
        row(at, "channel", _short(evidence, focus), "its message is lost on the way", focus, None, "lost")
    outcome = _outcomes(replay, least) if replay else []
    last = max((number for number, item in enumerate(least) if item.index == focus), default=-1)
    for number, item in enumerate(least):
        label = _short(evidence, item.index)
        if item.source == CHANNEL:
            row(item.began_at, "channel", label, f"a message brings {evidence.label(item.index)}", item.index, number)
        became = outcome[number] if outcome else "is about to write it" if item.crash else "writes it"
        blamed = number == last and name not in BY_CHECKPOINT and not evidence.journal.resets
        mark = "fault" if item.crash else "wrong" if blamed else ""
        steps: list[tuple[str, str, int | None, str]] = [(label, f"{_by(item)}{became}", number, mark)]
        if item.checkpoint is not None and (number + 1 == len(least) or least[number + 1].batch != item.batch):
            moved = (f"cp {item.checkpoint}", f"the checkpoint is moved to {item.checkpoint}", None, "read")
            if evidence.order == "before-data":
                steps.insert(0, moved)
            elif not item.crash:
                steps.append(moved)
        for step in steps:
            row(item.visible_at, "projector", step[0], step[1], item.index, step[2], step[3])
        if item.crash:
            detail = f"the projector dies: {STEPS[item.crash]}"
            row(item.visible_at, "projector", "crash", detail, item.index, None, "fault")
    _readers(evidence, name, focus, least, row)
    rows.sort(key=lambda item: item["at_seconds"])
    wide = [{"projection": evidence.name, "check": name, "step": step} | item for step, item in enumerate(rows)]
    frame = pl.DataFrame(wide, schema=SCHEMA)
    lines = [f"  {item['at_seconds']:>9.3f} s  {item['line']:<9}  {item['detail']}" for item in rows]
    return Witness(lines, frame, len(least))


def _readers(evidence: Evidence, name: str, focus: int, least: list[Delivery], row: Callable[..., None]) -> None:
    """What somebody sees who looks at the record then."""
    if name == "monotonic_reads" and evidence.journal.resets:
        at = evidence.journal.resets[0]
        row(at, "projector", "reset", "the projection is thrown away, to be built anew in place", focus, None, "fault")
        detail = f"whoever looks now finds nothing of {evidence.label(focus, False)}"
        row(at, "reader", "nothing", detail, focus, None, "wrong")
    elif name == "monotonic_reads" and least:
        detail = f"whoever looks again finds {evidence.label(focus)}, and had seen a later one"
        row(least[-1].visible_at, "reader", _short(evidence, focus), detail, focus, None, "wrong")
    elif name == "read_your_writes":
        entity = evidence.published.entities[int(evidence.published.entity_of[focus])]
        chosen, passed_at = evidence.passed_at(entity)
        at = max(float(passed_at[np.searchsorted(chosen, focus)]), float(evidence.published.committed_at[focus]))
        detail = f"who waited for position {focus + 1} is told that it is in, and doesn't find it"
        row(at, "reader", _short(evidence, focus), detail, focus, None, "wrong")
    elif name in ("no_loss", "no_skipped_gap", "checkpoint_sound"):
        at = max([float(evidence.published.committed_at[focus]), *(item.visible_at for item in least)])
        detail = f"{evidence.label(focus)} is never handed over{' again' if least else ''}"
        if name == "checkpoint_sound":
            detail = f"{evidence.label(focus)} is not there, and catch-up will not ask for it again"
        row(at, "projector", _short(evidence, focus), detail, focus, None, "wrong")


def _outcomes(replay: Replay, least: list[Delivery]) -> list[str]:
    """What the projector made of each delivery."""
    notes = iter(replay.after(least).journal.notes)
    found: list[str] = []
    note: Note | None = None
    batch: int | None = None
    for item in least:
        if item.batch != batch:
            note, batch = next(notes), item.batch
        assert note is not None
        place = int(replay.place[item.index])
        if place in note.applied.positions:
            found.append("writes it")
        elif place in note.applied.refused:
            found.append("refuses it")
        elif place in note.applied.parked:
            found.append("parks it: the store can't take it, or one before it")
        elif item.crash:
            found.append("is about to write it")
        else:
            found.append("holds it back")
    return found


def _by(item: Delivery) -> str:
    return "" if item.source == CHANNEL else "reads it from the feed and "


def _short(evidence: Evidence, index: int) -> str:
    return f"r{evidence.published.revision[index]}" + (" †" if evidence.published.deleted[index] else "")


def _tombstone(evidence: Evidence, index: int) -> str:
    return ", a tombstone" if evidence.published.deleted[index] else ""
