"""How a witness is presented: which deliveries belong to it, which events precede them, and how it ends.

A check names its story beside its function (`run_check`); `lab.verdict.witness` reduces and tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lab.verdict.evidence import Evidence
from lab.verdict.replay import Handover


class WitnessStep(NamedTuple):
    """One step of a witness: when and on which line it happened, in brief and in a sentence, and to which change.

    `change` is an index; `delivery` numbers the delivery that it is part of, if any; `mark` is that of the table
    `witnesses`.
    """

    at_seconds: float
    line: str
    label: str
    detail: str
    change: int
    delivery: int | None = None
    mark: str = ""


Tell = Callable[[Evidence, int, Sequence[Handover]], list[WitnessStep]]


def nothing(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """No event of its own: the deliveries tell it all."""
    return []


@dataclass(frozen=True)
class Story:
    """How a witness is reduced and told, for the checks that differ from the usual.

    `replayed`: deliveries are left out for as long as the check still fails over the same record. If false, nothing was
    delivered that could be left out, and the last deliveries of the change are told as they were.
    `by_checkpoint`: the violation is about one change, and the change that moved the checkpoint past it is part of it.
    `thrown_away`: a rebuild in place explains it, if there was one: only the last delivery before it is told.
    `same_row`: the replay must leave the same row behind, and not just any difference.
    `cause` and `ending` tell the events before and after the deliveries, about the change in question (by index).
    """

    replayed: bool = True
    by_checkpoint: bool = False
    thrown_away: bool = False
    same_row: bool = False
    cause: Tell = nothing
    ending: Tell = nothing


def short(evidence: Evidence, index: int) -> str:
    """A change in brief: `r3`, `r4 †` for a tombstone."""
    return f"r{evidence.published.revision[index]}" + (" †" if evidence.published.deleted[index] else "")


def lost_message(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """The channel lost the change's message."""
    at = evidence.lost_messages.get(focus + 1)
    if at is None:
        return []
    return [WitnessStep(at, "channel", short(evidence, focus), "its message is lost on the way", focus, mark="lost")]


def taken_early(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """A concurrent writer took the position and had not committed yet."""
    if evidence.taken_at is None:
        return []
    detail = f"a writer takes position {focus + 1} for {evidence.label(focus)}, and does not commit yet"
    return [WitnessStep(float(evidence.taken_at[focus]), "source", "begin", detail, focus)]


def never_handed_over(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """The change did not come, or did not come again."""
    detail = f"{evidence.label(focus)} is never handed over{' again' if least else ''}"
    return [_missing(evidence, focus, least, detail)]


def not_asked_again(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """The change is missing behind the checkpoint."""
    detail = f"{evidence.label(focus)} is not there, and catch-up will not ask for it again"
    return [_missing(evidence, focus, least, detail)]


def _missing(evidence: Evidence, focus: int, least: Sequence[Handover], detail: str) -> WitnessStep:
    at = max([float(evidence.published.committed_at[focus]), *(item.visible_at for item in least)])
    return WitnessStep(at, "projector", short(evidence, focus), detail, focus, mark="wrong")


def looks_again(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """A reader looks at the record again: it is gone since a rebuild in place began, or shown as it was earlier."""
    if evidence.journal.resets:
        at = evidence.journal.resets[0]
        thrown = "the projection is thrown away, to be built anew in place"
        gone = f"whoever looks now finds nothing of {evidence.label(focus, False)}"
        return [
            WitnessStep(at, "projector", "reset", thrown, focus, mark="fault"),
            WitnessStep(at, "reader", "nothing", gone, focus, mark="wrong"),
        ]
    if not least:
        return []
    detail = f"whoever looks again finds {evidence.label(focus)}, and had seen a later one"
    return [WitnessStep(least[-1].visible_at, "reader", short(evidence, focus), detail, focus, mark="wrong")]


def waits_in_vain(evidence: Evidence, focus: int, least: Sequence[Handover]) -> list[WitnessStep]:
    """A writer waited for the position of the write, was told that it is in, and reads it."""
    entity = evidence.published.entities[int(evidence.published.entity_of[focus])]
    at = max(float(evidence.passing(entity).at(np.array([focus]))[0]), float(evidence.published.committed_at[focus]))
    detail = f"who waited for position {focus + 1} is told that it is in, and doesn't find it"
    return [WitnessStep(at, "reader", short(evidence, focus), detail, focus, mark="wrong")]
