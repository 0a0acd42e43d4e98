"""Checks of a projection's content, against the expected content and against its rebuild."""

from __future__ import annotations

import polars as pl

from lab.formatting import printable
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding, found, or_seen
from lab.verdict.midrun import PHANTOM, WRONG
from lab.verdict.runcheck import has_content, run_check
from lab.verdict.story import Story


@run_check(has_content, story=Story(same_row=True))
def converged(evidence: Evidence) -> Finding:
    """The projection's content equals what the oracle expects, row by row."""
    count, focus = 0, None
    lines: list[str] = []
    for entity, expected, shows in evidence.contents():
        if _same(expected, shows):
            continue
        identity = list(evidence.layout.totals.group_by) if evidence.layout.totals else list(evidence.layout.identity)
        missing = expected.join(shows, on=expected.columns, how="anti", nulls_equal=True, maintain_order="left")
        extra = shows.join(expected, on=expected.columns, how="anti", nulls_equal=True, maintain_order="left")
        either = pl.concat([missing.select(identity), extra.select(identity)]).unique(maintain_order=True)
        count += max(1, either.height)
        if not lines:
            either, focus = _simplest(evidence, entity, either)
            lines = _difference(evidence, entity, either, expected, shows)
    return found(count, lambda: lines, focus)


def _same(expected: pl.DataFrame, shows: pl.DataFrame) -> bool:
    return shows is expected or expected.equals(shows.select(expected.columns))


def _simplest(evidence: Evidence, entity: str, either: pl.DataFrame) -> tuple[pl.DataFrame, int | None]:
    """Return the differing row whose record had the fewest deliveries, and the last change of that record."""
    if "key" not in either.columns or not either.height:
        return either.head(1), None
    frame = evidence.published.frames[entity].select("key", "position")
    mine = frame.join(either.select("key"), on="key", how="semi", maintain_order="left")
    # In one order: of equals the first is shown, whatever order the groups come in.
    last = mine.group_by("key").agg(pl.col("position").max()).sort("position")
    if not last.height:
        return either.head(1), None
    focus = evidence.simplest(last["position"].to_numpy() - 1)
    key = last.filter(pl.col("position") == focus + 1)["key"][0]
    return either.filter(pl.col("key") == key).head(1), focus


def _difference(
    evidence: Evidence, entity: str, identity: pl.DataFrame, expected: pl.DataFrame, found: pl.DataFrame
) -> list[str]:
    if not identity.height:
        return [f"rows of `{entity}` are there more than once"]
    on = identity.columns
    must, shows = (
        [
            evidence.layout.readable(entity, row)
            for row in frame.join(identity, on=on, how="semi", nulls_equal=True, maintain_order="left").rows(named=True)
        ]
        for frame in (expected, found)
    )
    named = evidence.layout.readable(entity, identity.row(0, named=True))
    what = ", ".join(f"{name} {printable(str(value))}" for name, value in named.items())
    lines = [f"{entity}, {what}"]
    differs = [name for name in expected.columns if not must or not shows or must[0][name] != shows[0][name]]
    for title, rows in (("must be", must), ("shows  ", shows)):
        text = ", ".join(f"{name}={rows[0][name]!r}" for name in differs) if rows else "nothing"
        lines.append(f"  {title}: {text}")
    if "key" in on:
        mine = evidence.published.frames[entity].filter(pl.col("key") == identity["key"][0])["position"]
        lines += [
            f"  parked: {evidence.label(position - 1)} (position {position}): {evidence.parked[position]}"
            for position in mine.to_list()
            if position in evidence.parked
        ][:4]
    return lines


@run_check(has_content)
def no_phantom(evidence: Evidence) -> Finding:
    """Every row that the projection shows is one that the source of truth had at some time."""
    count = 0
    first: list[str] = []
    for entity, expected, shows in evidence.contents():
        if _same(expected, shows):
            continue
        history = evidence.oracle.revisions[entity]
        # A row of a running aggregate has had no content of its own: its group must have existed.
        on = list(evidence.layout.totals.group_by) if evidence.layout.totals else expected.columns
        phantom = shows.join(history, on=on, how="anti", nulls_equal=True, maintain_order="left")
        count += phantom.height
        if phantom.height and not first:
            row = evidence.layout.readable(entity, phantom.row(0, named=True))
            first = [f"{entity} has never been like this", f"  shows: {row}"]
    return or_seen(found(count, lambda: first), evidence, PHANTOM)


def was_looked_at(evidence: Evidence) -> str | None:
    """Needs: the projection was asked while it was fed."""
    if evidence.dumps is None:
        return "the store keeps nothing to look at"
    if not evidence.looks:
        return "it was not asked while it was fed"
    return None if any(evidence.answered.asked.values()) else "nothing could be asked of it while it was fed"


@run_check(was_looked_at)
def midrun_reads(evidence: Evidence) -> Finding:
    """Every answer given while changes kept coming is that of all that had been written by then."""
    return or_seen(Finding("pass"), evidence, WRONG)


def was_rebuilt(evidence: Evidence) -> str | None:
    """Needs: the contents of the projection, and those of its rebuild."""
    if evidence.dumps is None:
        return "the store keeps nothing"
    return "not rebuilt" if evidence.rebuilt is None else None


@run_check(was_rebuilt)
def rebuild_equals_live(evidence: Evidence) -> Finding:
    """Rebuilt from position 0, the projection has the content that it had."""
    assert evidence.dumps is not None
    assert evidence.rebuilt is not None
    count = 0
    lines: list[str] = []
    for entity, dumped in evidence.dumps.items():
        if dumped is evidence.rebuilt[entity]:
            continue
        live, again = evidence.layout.shown(dumped), evidence.layout.shown(evidence.rebuilt[entity])
        if live.equals(again):
            continue
        only = [
            frame.join(other, on=live.columns, how="anti", nulls_equal=True, maintain_order="left")
            for frame, other in ((live, again), (again, live))
        ]
        count += max(1, sum(frame.height for frame in only))
        for title, frame in zip(("live   ", "rebuilt"), only, strict=True):
            if frame.height:
                lines.append(f"  {title}: {evidence.layout.readable(entity, frame.row(0, named=True))}")
    return found(count, lambda: ["rows that only one of them has", *lines])
