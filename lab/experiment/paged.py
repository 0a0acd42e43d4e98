"""The step of pages: each `[[page]]` of the scenario is visited at moments of the run, under each policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lab.claims import POLICIES
from lab.experiment.emulated import emulated
from lab.experiment.project import Live
from lab.feed.published import Published
from lab.formatting import count, plural, printable
from lab.measure import lag
from lab.measure.cuts import NOTHING, RecordsShown, ShownCut, Tokens
from lab.measure.pages import PagePart, PageReads, PageVisits
from lab.measure.windows import windows
from lab.scenario.pages import PageTable
from lab.tables import TABLES
from lab.wiring import Plan
from lab.wiring.pages import looks_up

# Of a page with a part in an emulator they are left out, as all its times are.
_TIMES = ("wait_p50_seconds", "wait_p99_seconds", "age_p50_seconds", "age_p99_seconds")


def page_tables(plan: Plan, lives: list[Live]) -> dict[str, pl.DataFrame]:
    """Make the tables `pages` and `page_times`; none without a page, or without a change."""
    by_name = {live.plan.name: live for live in lives}
    rows, times = list[dict[str, Any]](), list[dict[str, Any]]()
    for page in plan.scenario.page:
        chosen = [by_name[step.projection] for step in page.step]
        if not all(live.chosen.size for live in chosen):
            continue
        timed = not emulated(plan) & {live.plan.name for live in chosen}
        visits = PageVisits(page, parts_of(plan, page, chosen), chosen[0].published, plan.scenario.seed)
        for policy in POLICIES:
            reads = visits.follow(policy)
            told = witness(visits, reads, chosen[0].published) if isinstance(reads, PageReads) else ""
            row = visits.row(policy, reads, told)
            rows.append(row if timed else row | dict.fromkeys(_TIMES))
            times += visits.over_time(policy, reads)
    return {"pages": TABLES["pages"].frame(rows), "page_times": TABLES["page_times"].frame(times)} if rows else {}


def parts_of(plan: Plan, page: PageTable, lives: list[Live]) -> list[PagePart]:
    """Return what each part of a page showed when; `lives` are the projections of its steps."""
    queries = {query.name: query for query in plan.queries}
    entity = queries[page.step[0].query].entity.name
    found = []
    for number, (step, live) in enumerate(zip(page.step, lives, strict=True)):
        kept = live.plan.layout.kept
        ids = not kept.adds and (not number or looks_up(queries[step.query], entity))
        past = kept.every_revision
        entities = tuple(live.plan.layout.entities)
        told = Tokens(live.journal, entities) if live.plan.table.subscribe != "channel" else None
        found.append(
            PagePart(step.projection, step.query, _cut(live), told, _records(live, entity) if ids else None, past)
        )
    return found


def _cut(live: Live) -> ShownCut:
    spans = windows(live.published, live.journal, live.visible, live.plan.subsumes)
    again = live.plan.layout.kept.replaces and live.plan.table.guard == "none"
    return ShownCut(spans, live.chosen, lag.shown(live.published, live.journal) if again else None)


def _records(live: Live, entity: str) -> RecordsShown:
    published, journal = live.published, live.journal
    mine = np.unique(published.record[published.of_entities((entity,))])
    if live.plan.layout.kept.replaces:
        return RecordsShown(lag.shown(published, journal, True, mine), published)
    shown = lag.shown(published, journal, False, mine)
    # Until it is thrown away, the latest revision that is kept is the one that is shown.
    life = (pl.col("index") == NOTHING).cast(pl.Int64).cum_sum().over("record")
    shown = shown.with_columns(life=life).with_columns(pl.col("index").cum_max().over("record", "life")).drop("life")
    index = journal.all("positions") - 1
    writes = pl.DataFrame({"record": published.record[index], "index": index, "at": journal.written_at})
    writes = writes.filter(pl.col("record").is_in(mine.tolist())).sort("record", "index", "at")
    return RecordsShown(shown, published, writes.unique(["record", "index"], keep="first", maintain_order=True))


def witness(visits: PageVisits, reads: PageReads, published: Published) -> str:
    """Tell one visit whose parts show no one cut; one with an id that dangles, or else with other revisions, if any."""
    mixed = np.flatnonzero(reads.mixed)
    if not mixed.size:
        return ""
    revision = np.append(published.revision, 0)
    apart = np.zeros(reads.begun_at.size, np.int64)
    for shown in reads.shown.values():
        differs = (reads.found >= 0) & (revision[reads.found] != revision[shown])
        apart += differs.sum(axis=1) + 1_000 * (differs & (shown < 0)).sum(axis=1)
    one = int(mixed[np.argmax(apart[mixed])])
    lines = [f"a visit that began at {reads.begun_at[one]:.3f} s"]
    for number, part in enumerate(visits.parts):
        up_to, beyond = int(reads.missing[one, number]), int(reads.highest[one, number])
        ahead = f", and of those behind it changes up to {count(beyond + 1)}" if beyond >= up_to else ""
        at = reads.read_at[one, number]
        lines.append(f"  {part.projection} ({part.query}), read at {at:.3f} s: all up to position {up_to:,}{ahead}")
    return "\n".join([*lines, *_records_told(visits, reads, one, published)])


def _records_told(visits: PageVisits, reads: PageReads, one: int, published: Published) -> list[str]:
    """Tell the first record of a visit that two parts show unlike."""
    finder = visits.parts[0].projection
    for number, shown in reads.shown.items():
        for found, other in zip(reads.found[one].tolist(), shown[one].tolist(), strict=True):
            if found < 0 or (other >= 0 and published.revision[found] == published.revision[other]):
                continue
            entity, row = published.change(found)
            seen = "not there" if other < 0 else f"at revision {published.revision[other]}"
            named = f"{entity} {printable(str(row['key']))}"
            where = visits.parts[number].projection
            return [f"  {named} is at revision {row['revision']} in {finder}, and {seen} in {where}"]
    ends = reads.missing[one]
    many = int(np.sum(published.entity_of[int(ends.min()) : int(ends.max())] >= 0))
    return [f"  {plural(many, 'change')} {'is' if many == 1 else 'are'} in one part and not in another"] if many else []
