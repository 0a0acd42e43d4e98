"""Checks of a projection's journal against what was committed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lab.formatting import printable
from lab.measure.accounting import balances
from lab.measure.asked import Wrong
from lab.statistics.grouped import blocks
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding, about, found, or_seen
from lab.verdict.midrun import APART, BACK_ALIVE, BACKWARD, UNREAD
from lab.verdict.runcheck import has_checkpoint, has_content, run_check
from lab.verdict.story import (
    Story,
    looks_again,
    lost_message,
    never_handed_over,
    not_asked_again,
    taken_early,
    waits_in_vain,
)


def has_order(evidence: Evidence) -> str | None:
    """Needs: the order of writes matters. It doesn't if each revision has a row of its own, or is only added up."""
    kept = evidence.layout.kept
    if kept.replaces or (kept.adds and evidence.guard.orders_totals):
        return None
    return "does not apply: writes of one record commute in this projection"


@run_check(story=Story(replayed=False, cause=lost_message, ending=never_handed_over))
def no_loss(evidence: Evidence) -> Finding:
    """Every change has become visible, by itself or by a later revision; or it is parked, and known to be."""
    lost: list[np.ndarray] = [np.empty(0, np.int64)]
    for block in blocks(evidence.chosen.size):
        chosen = evidence.chosen[block]
        lost.append(chosen[~np.isfinite(evidence.visible[chosen]) & ~evidence.parked_marks[chosen]])
    return about(
        evidence,
        np.concatenate(lost),
        lambda index: [f"{evidence.label(index)} (position {index + 1}) never became visible"],
    )


@run_check(has_content)
def no_double_effect(evidence: Evidence) -> Finding:
    """Nothing counts twice: no row is there twice, no increment was added twice."""
    if evidence.layout.kept.adds:
        if evidence.guard.remembers_contributions:
            return Finding("pass")
        last = evidence.writes.filter(pl.col("epoch") == pl.col("epoch").max())
        again = last.group_by("index", maintain_order=True).len().filter(pl.col("len") > 1)
        times = dict(again.iter_rows())
        return about(
            evidence,
            again["index"].to_numpy(),
            lambda index: [f"{evidence.label(index)} was added {times[index]} times"],
        )
    twice = {entity: _twice(found, evidence.layout.identity) for entity, _, found in evidence.contents()}
    count = sum(frame.height for frame in twice.values())
    first = [(name, printable(str(frame["key"][0]))) for name, frame in twice.items() if frame.height]
    return found(count, lambda: [f"{name} {key} is there more than once" for name, key in first[:1]])


def _twice(shows: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """Return the rows of which there is another with the same identity."""
    return shows.clear() if _apart(shows, identity) else shows.filter(pl.struct(identity).is_duplicated())


def _apart(shows: pl.DataFrame, identity: Sequence[str]) -> bool:
    """Return whether rows are sorted by their identity and none is there twice; a block of them at a time."""
    for block in blocks(shows.height):
        some = shows.select(identity)[max(0, block.start - 1) : block.stop]
        before, after = some[:-1], some[1:]
        rises = pl.Series([False]).new_from_index(0, after.height)
        for name in reversed(identity):
            rises = (after[name] > before[name]) | ((after[name] == before[name]) & rises)
        # Where a part of an identity is null, nothing is said.
        if not rises.fill_null(False).all():
            return False
    return True


@run_check(has_order)
def no_resurrection(evidence: Evidence) -> Finding:
    """What was deleted stays deleted: no older live revision is written over a tombstone, and none is left live."""
    return or_seen(_written_alive(evidence), evidence, BACK_ALIVE)


def _written_alive(evidence: Evidence) -> Finding:
    """A live revision was written over a tombstone of its record that is newer."""
    if evidence.in_order:
        return Finding("pass")
    back = evidence.writes.filter(~pl.col("deleted") & (pl.col("tombstone") > pl.col("revision")))
    over = dict(back.select("index", "tombstone").iter_rows())
    return about(
        evidence,
        back["index"].to_numpy(),
        lambda index: [f"{evidence.label(index)} was written over the tombstone of revision {over[index]}"],
    )


@run_check(has_order)
def per_key_order(evidence: Evidence) -> Finding:
    """The revisions of one record are written in rising order."""
    if evidence.in_order:
        return Finding("pass")
    stale = evidence.writes.filter(pl.col("revision") < pl.col("before"))
    over = dict(stale.select("index", "before").iter_rows())
    return about(
        evidence,
        stale["index"].to_numpy(),
        lambda index: [f"{evidence.label(index)} was written over revision {over[index]}"],
    )


@run_check(has_checkpoint)
def no_rewind(evidence: Evidence) -> Finding:
    """The checkpoint never goes back, but for a projection that is thrown away to be built anew."""
    back: list[str] = []
    for entity in evidence.layout.entities:
        last = 0
        for at, name, position in evidence.journal.checkpoints:
            if name != entity:
                continue
            if position < last and not (position == 0 and at in evidence.journal.resets):
                back.append(f"at {at:.3f} s the checkpoint of {entity} went from {last} back to {position}")
            last = position
    return found(len(back), lambda: back[:1])


@run_check(has_checkpoint, story=Story(by_checkpoint=True, ending=not_asked_again))
def checkpoint_sound(evidence: Evidence) -> Finding:
    """Whenever the checkpoint says "everything up to here", everything committed up to there was visible."""
    torn: list[np.ndarray] = [np.empty(0, np.int64)]
    for entity in evidence.layout.entities:
        noted = [position for _, name, position in evidence.journal.checkpoints if name == entity]
        stored = evidence.checkpoints.get(entity, 0)
        if noted and stored != noted[-1]:
            text = f"{entity} is kept at {stored}, and was last moved to {noted[-1]}"
            return Finding("fail", 1, text)
        for chosen, passed_at in evidence.changes(entity):
            there = evidence.published.committed_at[chosen] <= evidence.asked_at(passed_at)
            late = there & (evidence.visible[chosen] > passed_at)
            torn.append(chosen[late & ~evidence.ever_parked[chosen]])

    def witness(index: int) -> list[str]:
        entity = evidence.published.entities[int(evidence.published.entity_of[index])]
        at = float(evidence.passing(entity).at(np.array([index]))[0])
        return [
            f"at {at:.3f} s {entity} was at or beyond {index + 1},"
            f" without {evidence.label(index)} (position {index + 1})"
        ]

    return or_seen(about(evidence, np.concatenate(torn), witness), evidence, APART)


@run_check(has_checkpoint, story=Story(by_checkpoint=True, cause=taken_early, ending=never_handed_over))
def no_skipped_gap(evidence: Evidence) -> Finding:
    """A change that is committed late, behind the reader's cursor, becomes visible nevertheless."""
    skipped: list[np.ndarray] = [np.empty(0, np.int64)]
    for entity in evidence.layout.entities:
        for chosen, passed_at in evidence.changes(entity):
            behind = evidence.published.committed_at[chosen] > evidence.asked_at(passed_at)
            skipped.append(chosen[behind & ~np.isfinite(evidence.visible[chosen])])

    def witness(index: int) -> list[str]:
        told = evidence.given_up.get(index + 1)
        how = "passed it" if told is None else f"given it up at {told:.3f} s, and said so"
        return [
            f"{evidence.label(index)} took position {index + 1} and was committed at"
            f" {evidence.published.committed_at[index]:.3f} s, after the reader had {how}"
        ]

    return about(evidence, np.concatenate(skipped), witness)


@run_check(has_order, story=Story(thrown_away=True, ending=looks_again))
def monotonic_reads(evidence: Evidence) -> Finding:
    """A reader who looks twice never sees an older revision the second time."""
    return or_seen(_written_back(evidence), evidence, BACKWARD)


def _written_back(evidence: Evidence) -> Finding:
    """An older revision was written when readers had seen a newer one."""
    if evidence.in_order and not evidence.journal.resets:
        return Finding("pass")
    former = pl.col("revision").shift(1).over("record").fill_null(0).alias("former")
    back = evidence.shown.with_columns(former).filter(pl.col("revision") < pl.col("former"))
    gone = back.filter(pl.col("index") < 0)
    if gone.height:
        row = gone.row(0, named=True)
        mine = evidence.published.record == row["record"]
        seen = int(np.flatnonzero(mine & (evidence.published.revision == row["former"]))[0])
        text = f"from {row['at']:.3f} s readers found nothing of {evidence.label(seen, False)}"
        return Finding("fail", back.height, f"{text}, after they had seen revision {row['former']}", seen)
    rows = {row["index"]: row for row in back.iter_rows(named=True)}
    return about(
        evidence,
        back["index"].to_numpy(),
        lambda index: [
            f"from {rows[index]['at']:.3f} s readers saw {evidence.label(index)}"
            f" after they had seen revision {rows[index]['former']}"
        ],
    )


def has_token(evidence: Evidence) -> str | None:
    """Needs: the projection has a checkpoint that a writer can wait for."""
    return None if evidence.journal.checkpoints else "fed by messages alone: there is no checkpoint to wait for"


@run_check(has_token, story=Story(by_checkpoint=True, ending=waits_in_vain))
def read_your_writes(evidence: Evidence) -> Finding:
    """A writer who waits until the checkpoint has reached the position of the outcome then reads the write."""
    unread: list[np.ndarray] = [np.empty(0, np.int64)]
    for entity in evidence.layout.entities:
        for chosen, passed_at in evidence.changes(entity):
            # There is no token before the commit; and the projection reports a parked change as missing.
            asked_at = np.maximum(passed_at, evidence.published.committed_at[chosen])
            late = np.isfinite(passed_at) & (evidence.visible[chosen] > asked_at)
            unread.append(chosen[late & ~evidence.ever_parked[chosen]])
    finding = about(
        evidence,
        np.concatenate(unread),
        lambda index: [f"the checkpoint had reached {index + 1}, and {evidence.label(index)} was not there"],
    )
    return or_seen(finding, evidence, UNREAD)


@run_check()
def accounting(evidence: Evidence) -> Finding:
    """committed = applied + superseded + parked + skipped + pending."""
    missing = balances(evidence.accounting)
    text = ", ".join(f"{name} {value:,}" for name, value in evidence.accounting.items() if name != "projection")
    return found(abs(missing), lambda: [f"{missing:,} changes are nowhere", f"  {text}"])


def was_asked(evidence: Evidence) -> str | None:
    """Needs: the projection was asked a query."""
    return None if any(one.answers for one in evidence.asked) else "no query of the scenario is for this projection"


def was_answered(evidence: Evidence) -> str | None:
    """Needs: an answer to every query, or a wrong one."""
    if any(one.wrong for one in evidence.asked):
        return None
    return next((one.unanswered for one in evidence.asked if one.refused), None)


@run_check(was_answered, was_asked)
def answers_right(evidence: Evidence) -> Finding:
    """Every answer that was given while measuring is the oracle's."""
    return all_right([wrong for one in evidence.asked for wrong in one.wrong])


def all_right(wrong: Sequence[Wrong]) -> Finding:
    """Fail if there is a wrong answer; the first one is the witness.

    Counted are those to questions that every run of the scenario asks: how many more there are depends on time.
    """
    always = [one for one in wrong if one.always]
    if always or not wrong:
        return found(len(always), lambda: always[0].lines())
    return found(
        1, lambda: [*wrong[0].lines(), "  asked because time was left; what every run asks was answered correctly"]
    )
