"""Find witnesses: the fewest deliveries with which a check still fails, as lines of text and as a table.

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
from lab.tables import TABLES
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding
from lab.verdict.replay import Handover, Rerun, deliveries
from lab.verdict.story import Story, WitnessStep, short

# Deliveries of one record to begin with; of a record with more, those before the last of its violations.
DELIVERIES_MAX = 60

Look = Callable[[Evidence], Finding]


@dataclass(frozen=True)
class Witness:
    """The steps of a witness in order, and its number of deliveries."""

    steps: list[WitnessStep]
    deliveries: int

    @property
    def lines(self) -> list[str]:
        """Return a line of text for each step."""
        return [f"  {step.at_seconds:>9.3f} s  {step.line:<9}  {step.detail}" for step in self.steps]

    def frame(self, projection: str, check: str) -> pl.DataFrame:
        """Return the steps as rows of the table `witnesses`."""
        return TABLES["witnesses"].frame(
            {"projection": projection, "check": check, "step": number, "position": step.change + 1}
            | {name: value for name, value in step._asdict().items() if name != "change"}
            for number, step in enumerate(self.steps)
        )


def witness(evidence: Evidence, look: Look, story: Story, finding: Finding) -> Witness | None:
    """The smallest witness of a finding of the check `look`, told by its story.

    None if the finding is about no change, or does not come from the deliveries of that change's record alone.
    """
    focus = finding.focus
    if focus is None:
        return None
    own = np.zeros(evidence.published.record.size, bool)
    own[focus] = True
    if not story.replayed:
        # No delivery brought it, or it was in the projector's hands when the process died.
        return _told(evidence, story, focus, deliveries(evidence, own)[-3:], None)
    if story.thrown_away and evidence.journal.resets:
        # A rebuild in place: the last delivery before it, and that the record is gone.
        return _told(evidence, story, focus, deliveries(evidence, own, 0)[-1:], None)
    record = evidence.published.record
    wanted = record == record[focus]
    if story.by_checkpoint and (mover := _mover(evidence, focus)) is not None:
        wanted[mover] = True
    script = deliveries(evidence, wanted)[-DELIVERIES_MAX:]
    rerun = Rerun(evidence, np.flatnonzero(wanted))
    shows = _row(evidence, focus, evidence.dumps)
    newest = any(item.index == focus for item in script)

    def fails(chosen: list[Handover]) -> bool:
        if story.same_row and newest and all(item.index != focus for item in chosen):
            # Nothing is shown by keeping the newest revision away, when in truth it came.
            return False
        after = rerun.after(chosen)
        again = look(after)
        if again.verdict != "fail":
            return False
        if story.same_row:
            return _row(evidence, focus, after.dumps) == shows
        about = rerun.indices[again.indices] if again.indices is not None else np.empty(0, np.int64)
        return bool(np.any(about == focus) if story.by_checkpoint else np.any(record[about] == record[focus]))

    return _told(evidence, story, focus, ddmin(script, fails), rerun) if fails(script) else None


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


def _told(evidence: Evidence, story: Story, focus: int, least: list[Handover], rerun: Rerun | None) -> Witness:
    """The commits, the cause, the deliveries and the ending as steps in order of time."""
    published = evidence.published
    shown = {focus, *(item.index for item in least)}
    if story.same_row:
        shown.add(int(np.flatnonzero(published.record == published.record[focus])[-1]))
    steps = []
    for index in sorted(shown):
        tombstone = ", a tombstone" if published.deleted[index] else ""
        detail = f"{evidence.label(index)} is committed (position {index + 1}{tombstone})"
        steps.append(WitnessStep(float(published.committed_at[index]), "source", short(evidence, index), detail, index))
    steps += story.cause(evidence, focus, least)
    became = _outcomes(rerun, least) if rerun else ["is about to write it" if it.crash else "writes it" for it in least]
    last = max((number for number, item in enumerate(least) if item.index == focus), default=-1)
    if story.by_checkpoint or evidence.journal.resets:
        last = -1
    for number, item in enumerate(least):
        moves = number + 1 == len(least) or least[number + 1].batch != item.batch
        steps += _delivered(evidence, item, number, became[number], moves, number == last)
    steps += story.ending(evidence, focus, least)
    return Witness(sorted(steps, key=lambda step: step.at_seconds), len(least))


def _delivered(
    evidence: Evidence, item: Handover, number: int, became: str, moves: bool, blamed: bool
) -> list[WitnessStep]:
    """One delivery: its message, what the projector makes of it, the checkpoint that it `moves`, and the crash."""
    label, mark = short(evidence, item.index), "fault" if item.crash else "wrong" if blamed else ""
    messages, by = [], "reads it from the feed and "
    if item.source == CHANNEL:
        by = ""
        brings = f"a message brings {evidence.label(item.index)}"
        messages.append(WitnessStep(item.began_at, "channel", label, brings, item.index, number))
    steps = [WitnessStep(item.visible_at, "projector", label, f"{by}{became}", item.index, number, mark)]
    if item.checkpoint is not None and moves:
        detail = f"the checkpoint is moved to {item.checkpoint}"
        moved = WitnessStep(item.visible_at, "projector", f"cp {item.checkpoint}", detail, item.index, mark="read")
        if evidence.order == "before-data":
            steps.insert(0, moved)
        elif not item.crash:
            steps.append(moved)
    if item.crash:
        dies = f"the projector dies: {STEPS[item.crash]}"
        steps.append(WitnessStep(item.visible_at, "projector", "crash", dies, item.index, mark="fault"))
    return [*messages, *steps]


def _outcomes(rerun: Rerun, least: list[Handover]) -> list[str]:
    """What the projector made of each delivery."""
    notes = iter(rerun.after(least).journal.notes)
    found: list[str] = []
    note: Note | None = None
    batch: int | None = None
    for item in least:
        if item.batch != batch:
            note, batch = next(notes), item.batch
        assert note is not None
        place = int(rerun.place[item.index])
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
