"""The checks: each looks at the evidence of one projection and says pass, fail or unknown, with a witness.

A witness names its anomaly first, then shows the smallest piece of evidence that a person can follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.measure.accounting import balances
from lab.verdict.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """What a check found. `count` is the number of violations; the witness explains one of them."""

    verdict: str
    count: int = 0
    witness: str = ""


def _found(count: int, witness: Callable[[], list[str]]) -> Finding:
    return Finding("fail", count, "\n".join(witness())) if count else Finding("pass")


def _ordered(evidence: Evidence) -> bool:
    """Whether the order of writes matters: not where each revision has a row of its own, or is just added."""
    if evidence.layout.keeps == "totals":
        return evidence.policy in ("ordered", "revision")
    return evidence.layout.keeps == "records"


DOES_NOT_APPLY = Finding("unknown", 0, "does not apply: writes of one record commute in this projection")


def converged(evidence: Evidence) -> Finding:
    """The projection's content is what the source of truth amounts to, row by row."""
    if evidence.dumps is None:
        return Finding("unknown", 0, "the store keeps nothing to look at")
    count = 0
    lines: list[str] = []
    for entity, expected, found in evidence.contents():
        if expected.equals(found.select(expected.columns)):
            continue
        identity = list(evidence.layout.totals.group_by) if evidence.layout.totals else list(evidence.layout.identity)
        missing = expected.join(found, on=expected.columns, how="anti", nulls_equal=True)
        extra = found.join(expected, on=expected.columns, how="anti", nulls_equal=True)
        either = pl.concat([missing.select(identity), extra.select(identity)]).unique(maintain_order=True)
        count += max(1, either.height)
        if not lines:
            lines = _difference(evidence, entity, either.head(1), expected, found)
    return _found(count, lambda: lines)


def _difference(
    evidence: Evidence, entity: str, identity: pl.DataFrame, expected: pl.DataFrame, found: pl.DataFrame
) -> list[str]:
    if not identity.height:
        return [f"diverged projection: rows of `{entity}` are there more than once"]
    on = identity.columns
    must = expected.join(identity, on=on, how="semi", nulls_equal=True).rows(named=True)
    shows = found.join(identity, on=on, how="semi", nulls_equal=True).rows(named=True)
    what = ", ".join(f"{name} {value}" for name, value in identity.row(0, named=True).items())
    lines = [f"diverged projection: {entity}, {what}"]
    differs = [name for name in expected.columns if not must or not shows or must[0][name] != shows[0][name]]
    for title, rows in (("must be", must), ("shows  ", shows)):
        text = ", ".join(f"{name}={rows[0][name]!r}" for name in differs) if rows else "nothing"
        lines.append(f"  {title}: {text}")
    if "key" in on:
        key = identity["key"][0]
        frame = evidence.published.frames[entity]
        position = frame.filter(pl.col("key") == key)["position"].tail(1)
        if position.len():
            lines += evidence.story(int(position[0]) - 1)
    return lines


def no_loss(evidence: Evidence) -> Finding:
    """Every committed change became visible, itself or by a later revision."""
    lost = evidence.chosen[~np.isfinite(evidence.visible[evidence.chosen])]

    def witness() -> list[str]:
        index = int(lost[0])
        return [
            f"lost change: {evidence.label(index)} (position {index + 1}) never became visible",
            *evidence.story(index),
        ]

    return _found(lost.size, witness)


def no_double_effect(evidence: Evidence) -> Finding:
    """Nothing counts twice: no row is there twice, no increment was added twice."""
    if evidence.dumps is None:
        return Finding("unknown", 0, "the store keeps nothing to look at")
    if evidence.layout.keeps == "totals":
        if evidence.policy == "revision":
            again = pl.DataFrame(schema={"index": pl.Int64, "len": pl.UInt32})
        else:
            again = evidence.writes.group_by("index", maintain_order=True).len().filter(pl.col("len") > 1)

        def witness() -> list[str]:
            index = int(again["index"][0])
            return [
                f"double effect: {evidence.label(index)} was added {again['len'][0]} times",
                *evidence.story(index),
            ]

        return _found(again.height, witness)
    twice = {
        entity: found.filter(pl.struct(evidence.layout.identity).is_duplicated())
        for entity, _, found in evidence.contents()
    }
    count = sum(frame.height for frame in twice.values())
    first = [
        f"double effect: {name} {frame['key'][0]} is there more than once"
        for name, frame in twice.items()
        if frame.height
    ]
    return _found(count, lambda: first[:1])


def no_resurrection(evidence: Evidence) -> Finding:
    """What was deleted stays deleted: no older live revision is written over a tombstone, and none is left live."""
    if not _ordered(evidence):
        return DOES_NOT_APPLY
    if evidence.in_order:
        return Finding("pass")
    back = evidence.writes.filter(~pl.col("deleted") & (pl.col("tombstone") > pl.col("revision")))

    def witness() -> list[str]:
        index, tombstone = back.row(0, named=True)["index"], back["tombstone"][0]
        return [
            f"resurrection: {evidence.label(index)} was written over the tombstone of revision {tombstone}",
            *evidence.story(index),
        ]

    return _found(back.height, witness)


def per_key_order(evidence: Evidence) -> Finding:
    """The revisions of one record are written in rising order."""
    if not _ordered(evidence):
        return DOES_NOT_APPLY
    if evidence.in_order:
        return Finding("pass")
    stale = evidence.writes.filter(pl.col("revision") < pl.col("before"))

    def witness() -> list[str]:
        row = stale.row(0, named=True)
        return [
            f"stale overwrite: {evidence.label(row['index'])} was written over revision {row['before']}",
            *evidence.story(int(row["index"])),
        ]

    return _found(stale.height, witness)


def checkpoint_sound(evidence: Evidence) -> Finding:
    """Whenever the checkpoint says "everything up to here", everything up to there was visible."""
    if not evidence.journal.checkpoints:
        return Finding("unknown", 0, "fed by messages alone: there is no checkpoint")
    worst: list[tuple[float, str, int, int]] = []
    for entity in evidence.layout.entities:
        chosen = evidence.published.of_entities((entity,))
        reached = np.maximum.accumulate(evidence.visible[chosen]) if chosen.size else np.empty(0)
        noted = [(at, checkpoint) for at, name, checkpoint in evidence.journal.checkpoints if name == entity]
        for at, checkpoint in noted:
            covered = int(np.searchsorted(chosen + 1, checkpoint, side="right"))
            if covered and reached[covered - 1] > at:
                missing = int(chosen[np.flatnonzero(evidence.visible[chosen[:covered]] > at)[0]])
                worst.append((at, entity, checkpoint, missing))
        if noted and evidence.checkpoints.get(entity, 0) != noted[-1][1]:
            stored = evidence.checkpoints.get(entity, 0)
            text = f"torn checkpoint: {entity} is kept at {stored}, and was last moved to {noted[-1][1]}"
            return Finding("fail", 1, text)

    def witness() -> list[str]:
        at, entity, checkpoint, missing = worst[0]
        return [
            f"checkpoint ahead of the data: at {at:.3f} s {entity} was at {checkpoint}, without",
            f"  {evidence.label(missing)} (position {missing + 1})",
            *evidence.story(missing),
        ]

    return _found(len(worst), witness)


def monotonic_reads(evidence: Evidence) -> Finding:
    """A reader who looks twice never sees an older revision the second time."""
    if not _ordered(evidence):
        return DOES_NOT_APPLY
    if evidence.in_order:
        return Finding("pass")
    # What a batch leaves behind is what readers see: the last write of a record in it.
    shown = evidence.writes.group_by("record", "at", maintain_order=True).agg(
        pl.col("revision").last(), pl.col("index").last()
    )
    shown = shown.with_columns(pl.col("revision").shift(1).over("record").fill_null(0).alias("former"))
    back = shown.filter(pl.col("revision") < pl.col("former"))

    def witness() -> list[str]:
        row = back.row(0, named=True)
        return [
            f"non-monotonic read: from {row['at']:.3f} s readers saw {evidence.label(row['index'])}",
            f"  after they had seen revision {row['former']}",
            *evidence.story(int(row["index"])),
        ]

    return _found(back.height, witness)


def read_your_writes(evidence: Evidence) -> Finding:
    """A writer who waits until the checkpoint has reached the position of the outcome then reads the write."""
    if not evidence.journal.checkpoints:
        return Finding("unknown", 0, "fed by messages alone: there is no checkpoint to wait for")
    unread: list[int] = []
    for entity in evidence.layout.entities:
        chosen = evidence.published.of_entities((entity,))
        noted = [(checkpoint, at) for at, name, checkpoint in evidence.journal.checkpoints if name == entity]
        if not noted:
            continue
        reached, at = (np.array(values) for values in zip(*noted, strict=True))
        token = np.searchsorted(reached, chosen + 1, side="left")
        answered = token < reached.size
        late = evidence.visible[chosen[answered]] > at[token[answered]]
        unread += (chosen[answered][late]).tolist()

    def witness() -> list[str]:
        index = unread[0]
        return [
            f"unread own write: the checkpoint had reached {index + 1}, and {evidence.label(index)} was not there",
            *evidence.story(index),
        ]

    return _found(len(unread), witness)


def rebuild_equals_live(evidence: Evidence) -> Finding:
    """Thrown away and projected again from position 0, the projection is what it was."""
    if evidence.dumps is None or evidence.rebuilt is None:
        return Finding("unknown", 0, "not rebuilt" if evidence.dumps is not None else "the store keeps nothing")
    count = 0
    lines: list[str] = []
    for entity, live in evidence.dumps.items():
        again = evidence.rebuilt[entity]
        if evidence.layout.keeps == "totals":
            measured = pl.any_horizontal(pl.col(evidence.layout.totals.measures) != 0)  # type: ignore[union-attr]
            live, again = live.filter(measured), again.filter(measured)
        if live.equals(again):
            continue
        only = [
            frame.join(other, on=live.columns, how="anti", nulls_equal=True)
            for frame, other in ((live, again), (again, live))
        ]
        count += max(1, sum(frame.height for frame in only))
        for title, frame in zip(("live   ", "rebuilt"), only, strict=True):
            if frame.height:
                lines.append(f"  {title}: {frame.row(0, named=True)}")
    return _found(count, lambda: ["rebuild differs from live: rows that only one of them has", *lines])


def accounting(evidence: Evidence) -> Finding:
    """committed = applied + superseded + parked + skipped + pending."""
    missing = balances(evidence.accounting)
    text = ", ".join(f"{name} {value:,}" for name, value in evidence.accounting.items() if name != "projection")
    return _found(abs(missing), lambda: [f"unaccounted change: {missing:,} changes are nowhere", f"  {text}"])


def answers_right(evidence: Evidence) -> Finding:
    """Every answer that was given while measuring is the oracle's."""
    if not evidence.asked:
        return Finding("unknown", 0, "no query of the scenario is for this projection")
    return _found(len(evidence.wrong), lambda: evidence.wrong[0].lines())


CHECKS: dict[str, Callable[[Evidence], Finding]] = {
    check.__name__: check
    for check in (
        converged,
        no_loss,
        no_double_effect,
        no_resurrection,
        per_key_order,
        checkpoint_sound,
        monotonic_reads,
        read_your_writes,
        rebuild_equals_live,
        accounting,
        answers_right,
    )
}


def judge(evidence: Evidence) -> tuple[str, pl.DataFrame]:
    """The projection's verdict, and its rows of the table `verdicts`.

    Fail if any check fails; else what `converged` says, since without content nothing has been shown.
    """
    found = {name: check(evidence) for name, check in CHECKS.items()}
    failed = any(finding.verdict == "fail" for finding in found.values())
    rows = [
        {
            "projection": evidence.name,
            "check": name,
            "verdict": item.verdict,
            "count": item.count,
            "witness": item.witness,
        }
        for name, item in found.items()
    ]
    return "fail" if failed else found["converged"].verdict, pl.DataFrame(rows)
