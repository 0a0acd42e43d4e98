"""What the owners of partitions left: their journals as one of the whole projection, and a table of their assignments.

Each assignment has a journal of its own. An owner claims its partition before it begins one, and from then on the store
refuses the owner before it: so whatever the former has written was there by that moment, also where it was killed, or
stopped, before it could write that down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.measure import lag
from lab.ports import Assignment, KeySlice
from lab.projection.applied import NONE, NOTHING
from lab.running.journal import CATCH_UP, Journal, Note
from lab.running.notes import APPLIED, CHECKPOINT, NOTE, REFUSED, STARTED, read_given_up, read_notes
from lab.running.records import read_records
from lab.running.spans import DOWN, SPANS_SUFFIX, Lanes, Spans, read_spans
from lab.running.worklog import HEARD, READ, WORK_SUFFIX, read_work
from lab.service.member import BEGAN
from lab.service.partition import GroupFiles
from lab.tables import TABLES
from lab.wiring import Plan, ProjectionPlan


def journals_of(item: ProjectionPlan, folder: Path) -> list[Path]:
    """The journals of a projection: one, or one for each assignment of its partitions, by partition and generation."""
    if not item.layout.partitions:
        return [folder / f"{item.name}.journal"]
    files = GroupFiles(folder, item.name)
    return [files.journal(one) for one in files.assignments()]


def work_of(item: ProjectionPlan, folder: Path, began: float) -> np.ndarray:
    """What its processes spent their time on, by the time at which it began."""
    found = np.concatenate([read_work(path.with_suffix(WORK_SUFFIX), began) for path in journals_of(item, folder)])
    ordered: np.ndarray = found[np.argsort(found["began"], kind="stable")]
    return ordered


def given_up(item: ProjectionPlan, folder: Path, began: float) -> list[tuple[float, int]]:
    """When its readers gave up which positions; each counts once."""
    first: dict[int, float] = {}
    for at, position in sorted(one for path in journals_of(item, folder) for one in read_given_up(path, began)):
        first.setdefault(position, at)
    return [(at, position) for position, at in first.items()]


@dataclass(frozen=True)
class _Life:
    """One assignment's journal: when its owner had claimed it, from where it went on, and what it did."""

    assignment: Assignment
    began_at: float
    start: Mapping[str, int]
    journal: Journal
    # When what it had was thrown away; None where the next one went on with it.
    emptied_at: float | None = None


def shared_journal(item: ProjectionPlan, changes: Published, folder: Path, began: float) -> Journal:
    """The journals of all owners as one. Its checkpoint is that of the partition that is furthest behind."""
    found, lives = Journal(), list(_told_apart(_lives(item, changes, folder, began), len(item.layout.entities)))
    ends_of = sorted((one.emptied_at, one.assignment.partition) for one in lives if one.emptied_at is not None)
    found.resets, found.epoch = [at for at, _ in ends_of], len(ends_of)
    moved: list[tuple[float, str, int, int]] = []
    lanes = Lanes([Spans() for _ in range(item.layout.partitions)], np.zeros(changes.committed_at.size, np.int8))
    found.lanes = lanes
    for number in range(item.layout.partitions):
        mine = [one for one in lives if one.assignment.partition == number]
        positions = _positions(item, changes, number)
        for at, partition in ends_of:
            if partition == number:
                found.emptied[at] = np.unique(changes.record[np.concatenate([NONE, *positions.values()]) - 1])
        seen = NONE
        for each in positions.values():
            lanes.lane_of[each - 1] = number
        _merge(lanes.spans[number], mine, folder, item.name, began)
        for place, life in enumerate(mine):
            ends = mine[place + 1].began_at if place + 1 < len(mine) else np.inf
            until = [one.emptied_at for one in mine[place:] if one.emptied_at is not None]
            epoch = ends_of.index((until[0], number)) if until else found.epoch
            told = [*_unwritten(life, positions, seen), *(_ended(note, ends) for note in life.journal.notes)]
            found.notes += (replace(note, epoch=epoch) for note in told)
            moved += [(min(at, ends), name, number, to) for at, name, to in life.journal.checkpoints if to]
            seen = np.concatenate([seen, *(note.handed for note in life.journal.notes), *_upto(life, positions)])
            if life.emptied_at is not None:
                moved += [(life.emptied_at, name, number, 0) for name in positions]
                seen = NONE
            found.batches += life.journal.batches
            found.forgotten += life.journal.forgotten
        if mine:
            found.held = np.concatenate([found.held, mine[-1].journal.held])
    found.notes.sort(key=lambda note: float(np.max(note.visible_at)))
    found.notes = [*found.notes, *_refused_unwritten(item, changes, found)]
    found.notes.sort(key=lambda note: float(np.max(note.visible_at)))
    found.checkpoints = list(_furthest_behind(item, moved))
    return found


def _merge(into: Spans, lives: Sequence[_Life], folder: Path, name: str, began: float) -> None:
    """Add what the owners of a partition did, one after the other; between two of them it was down."""
    files, until = GroupFiles(folder, name), 0.0
    for life, later in zip(lives, [*lives[1:], None], strict=False):
        # What was due meanwhile was put off.
        put_off = until if life.began_at > until else np.inf
        if life.began_at > until:
            into.note(DOWN, until, until, life.began_at)
        until, ends = max(until, life.began_at), np.inf if later is None else later.began_at
        spans = read_spans(files.journal(life.assignment).with_suffix(SPANS_SUFFIX), began)
        for kind, (due, start, end) in zip(spans.kinds.tolist(), spans.times.tolist(), strict=True):
            # What a former owner does once it has a successor keeps up nothing.
            if max(start, until) < min(end, ends):
                into.note(kind, min(due, put_off), max(start, until), min(end, ends))
                until, put_off = min(end, ends), np.inf


def _lives(item: ProjectionPlan, changes: Published, folder: Path, began: float) -> list[_Life]:
    files, entities = GroupFiles(folder, item.name), tuple(item.layout.entities)
    found = []
    for one in files.assignments():
        notes = read_records(files.journal(one), NOTE)
        started = notes["at"][notes["kind"] == STARTED]
        if not started.size:
            continue
        journal = read_notes(files.journal(one), changes, began, entities)
        first = notes[notes["kind"] >= CHECKPOINT][: len(entities)]
        start = {entities[kind - CHECKPOINT]: int(position) for kind, position, _ in first.tolist()}
        found.append(_Life(one, float(started[0]) - began, start, journal))
    return found


def _told_apart(lives: Sequence[_Life], entities: int) -> Iterator[_Life]:
    """The same, with the time at which what an owner had was thrown away: by its journal, or as the next one found.

    An owner that was killed before it could write that down has left an empty partition, which had a checkpoint. One
    that was killed before it could write from where it goes on says nothing of what it found.
    """
    for place, life in enumerate(lives):
        rest = (one for one in lives[place + 1 :] if one.assignment.partition == life.assignment.partition)
        later = next((one for one in rest if len(one.start) == entities), None)
        if life.journal.resets:
            yield replace(life, emptied_at=life.journal.resets[0])
        elif later is not None and _reached(life) and not any(later.start.values()):
            yield replace(life, emptied_at=later.began_at)
        else:
            yield life


def _reached(life: _Life) -> int:
    return max([*life.start.values(), *(to for _, _, to in life.journal.checkpoints)], default=0)


def _positions(item: ProjectionPlan, changes: Published, number: int) -> dict[str, np.ndarray]:
    """The positions of a partition's changes, in order, for each entity."""
    wanted = KeySlice(number, item.layout.partitions)
    return {name: wanted.of(changes.frames[name])["position"].to_numpy() for name in item.layout.entities}


def _upto(life: _Life, positions: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
    for name, to in life.start.items():
        yield positions[name][positions[name] <= to]


def _unwritten(life: _Life, positions: Mapping[str, np.ndarray], seen: np.ndarray) -> Iterator[Note]:
    """What is below the checkpoint at which an owner began, and in no journal before: it was visible by then."""
    for name, below in zip(life.start, _upto(life, positions), strict=True):
        missing = np.setdiff1d(below, seen)
        if missing.size:
            applied = replace(NOTHING, positions=missing)
            yield Note(name, 0, missing, CATCH_UP, life.began_at, life.began_at, applied)


def _refused_unwritten(item: ProjectionPlan, changes: Published, journal: Journal) -> list[Note]:
    """What a guard refused as known although no journal says that it was written: it was visible by then."""
    visible, found = lag.visible_at(changes, journal, item.subsumes), list[Note]()
    for note in journal.notes:
        refused, at = note.applied.refused, float(np.max(note.visible_at))
        late = refused[visible[refused - 1] > at]
        if late.size:
            applied = replace(NOTHING, positions=late)
            found.append(Note(note.entity, note.epoch, late, note.source, note.began_at, at, applied))
            visible[late - 1] = at
    return found


def _ended(note: Note, ends: float) -> Note:
    """What an owner wrote was visible before the next one had claimed its partition.

    What it only read may be the work of that one: no fence keeps a frozen owner from finding it known once it goes on.
    """
    at, began_at = float(np.max(note.visible_at)), float(np.max(note.began_at))
    return (
        note
        if at <= ends or not note.applied.positions.size
        else replace(note, visible_at=ends, began_at=min(began_at, ends))
    )


def _furthest_behind(
    item: ProjectionPlan, moved: Sequence[tuple[float, str, int, int]]
) -> Iterator[tuple[float, str, int]]:
    places = {name: [0] * item.layout.partitions for name in item.layout.entities}
    last = dict.fromkeys(places, 0)
    for at, name, number, to in sorted(moved):
        # Only what is emptied goes back.
        places[name][number] = max(places[name][number], to) if to else 0
        if min(places[name]) != last[name]:
            last[name] = min(places[name])
            yield at, name, last[name]


def polled_at(item: ProjectionPlan, folder: Path, began: float) -> list[float]:
    """When its polls began, those of all partitions."""
    records = work_of(item, folder, began)
    found: list[float] = records["began"][records["kind"] == READ].tolist()
    return found


def heard(item: ProjectionPlan, folder: Path, began: float) -> np.ndarray:
    """The messages that came to its inboxes."""
    records = work_of(item, folder, began)
    found: np.ndarray = records[records["kind"] == HEARD]
    return found


def assignments_table(plan: Plan, folder: Path, began: float) -> pl.DataFrame:
    """The table `assignments`: which member had which partition, from when to when, and what came of it."""
    return TABLES["assignments"].frame(row for item in plan.projections for row in _rows(item, folder, began))


def _rows(item: ProjectionPlan, folder: Path, began: float) -> Iterator[dict[str, Any]]:
    files = GroupFiles(folder, item.name)
    begun, ended = dict[Assignment, tuple[str, float]](), dict[Assignment, tuple[str, float, int]]()
    for member in item.processes if item.layout.partitions else ():
        path = files.told(member)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            partition, generation, what, at, stale = json.loads(line)
            one = Assignment(partition, generation)
            if what == BEGAN:
                begun[one] = member, at - began
            else:
                ended[one] = what, at - began, stale
    listed = sorted(begun)
    for one, later in zip(listed, [*listed[1:], None], strict=False):
        followed = begun[later][1] if later is not None and later.partition == one.partition else None
        how, until, stale = ended.get(one, ("killed", followed, 0))
        kinds = read_records(files.journal(one), NOTE)["kind"]
        yield {
            "projection": item.name, "partition": one.partition, "generation": one.generation,
            "member": begun[one][0], "from_seconds": begun[one][1], "to_seconds": until, "ended": how,
            "applied": int((kinds == APPLIED).sum()), "refused": int((kinds == REFUSED).sum()), "stale": stale,
        }  # fmt: skip
