"""Judge what a projection answered while it was fed, against what had been written by then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from lab.base import NotAnswered
from lab.formatting import printable
from lab.measure.asked import Wrong
from lab.measure.midrun import Glance, MidrunRead
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.readable import answered
from lab.verdict.moments import Moment, WrittenHistory, equal, same_content

# What is asked, in the words of a witness; in this order one is chosen to be told, since a record is easy to follow.
RECORDS, CONTENTS, QUERIES = "records by key", "whole contents", "other queries"
# Kinds of violation, each with the check that reports it.
WRONG, BACKWARD, UNREAD, PHANTOM, BACK_ALIVE, APART = range(6)
# What a reader finds just after these.
AFTER = {"crash": ", just after a crash", "reset": ", just emptied for a rebuild", "swap": ", just swapped in"}


@dataclass
class Violations:
    """How many violations of one kind there were, and the lines that tell the first."""

    count: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, lines: Callable[[], list[str]]) -> None:
        """Count one more; its lines are only made if it is the first."""
        if not self.count:
            self.lines = lines()
        self.count += 1


class MidrunAnswers:
    """What came of all looks at one projection. `asked` and `wrong` are numbers of answers by what was asked."""

    def __init__(self, history: WrittenHistory, looks: Sequence[Glance], parked: np.ndarray) -> None:
        self.history, self.parked, self.looks = history, parked, len(looks)
        self.asked: dict[str, int] = dict.fromkeys((RECORDS, CONTENTS, QUERIES), 0)
        self.wrong: dict[str, Violations] = {name: Violations() for name in self.asked}
        self.tallies: dict[int, Violations] = {kind: Violations() for kind in range(6)}
        # Of each record: the revision that was seen last, the one that was in then, and when that was.
        self._seen: dict[int, tuple[int, int, float]] = {}
        # Of each question the right answers so far: an outdated answer is one of them.
        self._right: dict[tuple[str, Row], list[tuple[float, list[Row]]]] = defaultdict(list)
        self._unanswered: set[str] = set()
        self._moment = Moment(history)
        for look in looks:
            self._moment.move(look)
            self._checkpoints(look)
            for read in look.reads:
                self._read(look, read)
            for entity, shows in look.contents.items():
                self._content(look, entity, shows)

    def row(self, name: str) -> dict[str, int | str]:
        """Return the projection's row of the table `midrun`."""
        found: dict[str, int | str] = {"projection": name, "looks": self.looks}
        for column, what in (("records", RECORDS), ("contents", CONTENTS), ("queries", QUERIES)):
            found |= {column: self.asked[what], f"{column}_wrong": self.wrong[what].count}
        return found

    def told(self, kind: int) -> tuple[int, list[str]]:
        """How many violations of this kind there are, and the lines of one."""
        if kind != WRONG:
            return self.tallies[kind].count, self.tallies[kind].lines
        first = next((tally for tally in self.wrong.values() if tally.count), Violations())
        counts = [f"{self.wrong[name].count} of {asked} {name}" for name, asked in self.asked.items() if asked]
        return sum(tally.count for tally in self.wrong.values()), [*first.lines, f"  wrong: {', '.join(counts)}"]

    def _checkpoints(self, look: Glance) -> None:
        for entity, stored in look.stored.items():
            if stored != look.moved[entity]:
                text = f"{when(look)}, {entity} is kept at {stored}, and was last moved to {look.moved[entity]}"
                self.tallies[APART].add(lambda: [text])  # noqa: B023 (made at once, or never)

    def _read(self, look: Glance, read: MidrunRead) -> None:
        what = QUERIES if read.record is None else RECORDS
        if what == QUERIES and read.query.name in self._unanswered:
            return
        try:
            expected = self._moment.answer(read)
        except NotAnswered:
            # A statement that can't be worked out over the data, or takes too long: that is judged in the end.
            self._unanswered.add(read.query.name)
            return
        right = equal(read, expected)
        self.asked[what] += 1
        if not right:
            self.wrong[what].add(lambda: self._told(look, read, expected))
        if read.record is None:
            self._right[read.query.name, read.parameters].append((look.at, expected))
        elif read.record >= 0:
            self._of_record(look, read, read.record, expected, right)
        if read.record is not None and not right and read.rows:
            self._phantom(look, read)

    def _of_record(self, look: Glance, read: MidrunRead, record: int, expected: list[Row], right: bool) -> None:
        """What sessions see of one record: never an older revision than before, or than the checkpoint promises."""
        revision = self.history.published.revision
        index = int(self._moment.last[record])
        must = int(revision[index]) if index >= 0 else 0
        seen = int(read.rows[0][1]) if read.rows else 0 if expected else must

        def told(more: str) -> Callable[[], list[str]]:
            return lambda: [*self._told(look, read, expected), more]

        former = self._seen.get(record)
        if former is not None and seen < former[0] and must >= former[1]:
            self.tallies[BACKWARD].add(told(f"  a reader had seen revision {former[0]} at {former[2]:.3f} s"))
        self._seen[record] = seen, must, look.at
        name = read.query.entity.name
        promised = self._promised(record, look.stored[name], look.at)
        # What the journal says was written late is judged by the journal.
        blamed = look.stored[name] != look.moved[name] or (not right and must >= int(revision[promised]))
        if promised >= 0 and blamed and seen < revision[promised]:
            stood = f"the checkpoint was at {look.stored[name]}"
            self.tallies[UNREAD].add(told(f"  {stood}, and {self._label(promised)} has position {promised + 1}"))
        if read.rows and not expected and index >= 0 and seen < must:
            self.tallies[BACK_ALIVE].add(told(f"  it was deleted by revision {must}"))

    def _promised(self, record: int, checkpoint: int, at: float) -> int:
        """The newest change of a record that this checkpoint promises, by index; -1 for none, or one set aside."""
        published = self.history.published
        own = self.history.of_record(record)
        own = own[(own < checkpoint) & (published.committed_at[own] <= at)]
        return -1 if not own.size or self.parked[own].any() else int(own[-1])

    def _phantom(self, look: Glance, read: MidrunRead) -> None:
        """Count an answer that shows what the source of truth didn't have by then."""
        published, row = self.history.published, read.rows[0]
        own = self.history.of_record(-1 if read.record is None else read.record)
        own = own[published.revision[own] == row[1]]
        if not own.size or self.history.row(int(own[0])) != row:
            had = "the source of truth has never had this"
        elif published.committed_at[own[0]] > look.at:
            had = f"it is committed at {published.committed_at[own[0]]:.3f} s only"
        else:
            return
        key = printable(str(read.parameters[0]))
        told = f"{when(look)}, {read.query.entity.name} {key} is shown, and {had}"
        lines = [told, f"  answers: {answered(read.query, row)}"]
        self.tallies[PHANTOM].add(lambda: lines)

    def _content(self, look: Glance, entity: str, dumped: pl.DataFrame) -> None:
        layout, expected = self.history.layout, self._moment.content(entity)
        shows = layout.shown(dumped)
        self.asked[CONTENTS] += 1
        if same_content(expected, shows, layout):
            return
        self.wrong[CONTENTS].add(lambda: self._difference(look, entity, expected, shows))
        if layout.kept.adds:
            return
        known = self.history.frames[entity]
        late = self.history.published.committed_at[known["position"].to_numpy() - 1] > look.at
        by_then = known.filter(~pl.Series(late, dtype=pl.Boolean))
        phantom = shows.join(by_then, on=expected.columns, how="anti", nulls_equal=True, maintain_order="left").sort(
            layout.order()
        )
        for row in phantom.iter_rows(named=True):
            text = f"{when(look)}, the source of truth had never had this {entity}"
            self.tallies[PHANTOM].add(lambda: [text, f"  shows: {layout.readable(entity, row)}"])  # noqa: B023

    def _told(self, look: Glance, read: MidrunRead, expected: list[Row]) -> list[str]:
        """The lines that tell a wrong answer."""
        if read.record is None:
            first, *rest = Wrong(read.query, read.parameters, expected, read.rows).lines()
            lines = [f"{when(look)}, {first}", *rest, f"  {self._so_far()}"]
            agrees = KINDS[read.query.kind].agrees
            for at, right in reversed(self._right[read.query.name, read.parameters]):
                if agrees(read.query, right, read.rows):
                    return [*lines, f"  the answer was right at {at:.3f} s"]
            return lines
        entity, key = read.query.entity.name, printable(str(read.parameters[0]))
        index = int(self._moment.last[read.record]) if read.record >= 0 else -1
        lines = [
            f"{when(look)}, {entity} {key} is asked for",
            f"  must be: {answered(read.query, expected[0]) if expected else 'nothing'}",
            f"  answers: {', '.join(str(answered(read.query, row)) for row in read.rows[:3]) or 'nothing'}",
        ]
        return [*lines, f"  {self._in_since(index) if index >= 0 else self._so_far()}"]

    def _difference(self, look: Glance, entity: str, expected: pl.DataFrame, shows: pl.DataFrame) -> list[str]:
        """The lines that tell the first row in which a whole content differs."""
        layout = self.history.layout
        on = list(layout.totals.group_by) if layout.totals else list(layout.identity)
        missing = expected.join(shows, on=expected.columns, how="anti", nulls_equal=True, maintain_order="left")
        extra = shows.select(expected.columns).join(
            expected, on=expected.columns, how="anti", nulls_equal=True, maintain_order="left"
        )
        either = pl.concat([missing.select(on), extra.select(on)]).unique().sort(on, nulls_last=True)
        lines = [f"{when(look)}, {entity} as a whole: {shows.height} rows, must be {expected.height}"]
        if not either.height:
            return [*lines, "  rows are there more than once"]
        one = either.head(1)
        lines.append(f"  {either.height} differ, the first: {layout.readable(entity, one.row(0, named=True))}")
        for title, frame in (("must be", missing), ("shows  ", extra)):
            rows = frame.join(one, on=on, how="semi", nulls_equal=True, maintain_order="left").sort(on).rows(named=True)
            lines.append(f"  {title}: {layout.readable(entity, rows[0]) if rows else 'nothing'}")
        mine = missing.join(one, on=on, how="semi", nulls_equal=True, maintain_order="left")
        known = "position" in expected.columns and mine.height
        return [*lines, f"  {self._in_since(int(mine['position'][0]) - 1) if known else self._so_far()}"]

    def _in_since(self, index: int) -> str:
        at, later = self._moment.since(index)
        return f"in since {at:.3f} s: {self._label(index)}; {later} writes have followed"

    def _so_far(self) -> str:
        return f"{self._moment.writes} writes were in, the last since {self._moment.last_at:.3f} s"

    def _label(self, index: int) -> str:
        entity, row = self.history.published.change(index)
        return f"{entity} {printable(str(row['key']))} revision {row['revision']}"


def when(look: Glance) -> str:
    """The moment of a look, in words."""
    return f"at {look.at:.3f} s{AFTER.get(look.event, '')}"
