"""Read models that are no copy of records: groups with their count and sums, and two entities joined.

What such a row showed in between can't be told from the row alone, so a trial is judged by what is shown at its end: it
must be what the source of truth amounts to. A property is blamed only if the same changes, each once and in order, lead
to the right rows; `no_resurrection` only if the rows are right without revisions that come after a delete, and
`created_again` only if they are right where what is created again is another record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from lab.kit.history import META, Change, Row, Shape, build
from lab.kit.outcome import TrialOutcome
from lab.kit.property import Again
from lab.kit.reader import Observer, Violation, same
from lab.kit.script import Commit, Deliver, Each, Step, TrialCase
from lab.kit.telling import shown

# The properties that can be told by what is shown at the end.
BY_THE_END = (
    "converged", "no_loss", "no_double_effect", "no_resurrection", "per_key_order", "no_skipped_gap", "survives_crash",
    "created_again", "batch_independent",
)  # fmt: skip
# Added to the number of a record each time that it is created again: an order stays an order by it.
_APART = 600


def expected(shape: Shape, changes: Iterable[Change]) -> dict[Any, Row]:
    """The rows that these changes amount to, by key."""
    last: dict[Any, Change] = {}
    for change in changes:
        if change["key"] not in last or change["revision"] > last[change["key"]]["revision"]:
            last[change["key"]] = change
    live = [change for change in last.values() if not change["deleted"]]
    return _groups(shape, live) if shape.by else _joined(live)


def _groups(shape: Shape, live: Iterable[Change]) -> dict[Any, Row]:
    found: dict[Any, Row] = {}
    for change in live:
        row = found.setdefault(change[shape.by], {"key": change[shape.by], "count": 0} | dict.fromkeys(shape.sums, 0))
        row["count"] += 1
        for name in shape.sums:
            row[name] += change[name]
    return found


def _joined(live: Iterable[Change]) -> dict[Any, Row]:
    """A row for each order whose customer is there."""
    records = list(live)
    names = {change["key"]: change["name"] for change in records if change["entity"] == "customer"}
    return {
        change["key"]: {"key": change["key"]}
        | {"customer": change["customer"], "amount": change["amount"], "name": names[change["customer"]]}
        for change in records
        if change["entity"] == "order" and change["customer"] in names
    }


def look(reader: Observer, again: Again, prop: str) -> Violation | None:
    """The first row that is not what the source of truth amounts to, if the same once and in order is right."""
    outcome = reader.outcome
    if not outcome.seen or not (outcome.case.drain or outcome.complete()):
        return None
    committed = [reader.history.at(position) for position in sorted(outcome.committed)]
    must = expected(reader.history.shape, committed)
    seen = outcome.seen[-1]
    for key, text in _differences(must, seen.rows):
        if not _blamed(outcome, committed, again, prop):
            return None
        rows = [row for row in seen.rows if row["key"] == key]
        return Violation(seen.step, text, key, rows, _words(must[key]) if key in must else "nothing")
    return None


def _blamed(outcome: TrialOutcome, committed: list[Change], again: Again, prop: str) -> bool:
    """Whether wrong rows are what this property is about: without it, the projector gets them right."""
    case = outcome.case
    if prop == "converged":
        return True
    if prop == "created_again":
        return (other := _under_new_keys(case, committed)) is not None and _right(again(other))
    if prop == "no_resurrection":
        kept = _without_what_came_back(outcome)
        commits = Commit(tuple(outcome.committed))
        fresh = replace(case.with_script([commits, Each(tuple(kept))]), drain=False)
        if len(kept) == len(outcome.handed) or not _right(again(fresh)):
            return False
    calm: list[Step] = []
    for change in committed:
        calm += [Commit((change["position"],)), Deliver((change["position"],))]
    return _right(again(replace(case.with_script(calm), drain=False)))


def _under_new_keys(case: TrialCase, committed: list[Change]) -> TrialCase | None:
    """The same case, in which what is created after its delete is a record of its own; None if nothing is."""
    history = case.history
    lives: dict[Any, int] = {}
    plan = list(history.plan)
    for change in committed:
        place, life = change["position"] - 1, lives.get(change["key"], 0)
        state = tuple((name, value) for name, value in change.items() if name not in META)
        plan[place] = plan[place]._replace(record=plan[place].record + life * _APART, values=state)
        lives[change["key"]] = life + change["deleted"]
    if all(one.record == other.record for one, other in zip(plan, history.plan, strict=True)):
        return None
    return replace(case, history=build(plan, history.shape, history.commits))


def _without_what_came_back(outcome: TrialOutcome) -> list[int]:
    """The positions that were handed over, without revisions that came after a later delete of their record."""
    deleted: dict[Any, int] = {}
    kept = []
    for change in map(outcome.case.history.at, outcome.handed):
        if change["revision"] >= deleted.get(change["key"], 0):
            kept.append(change["position"])
        if change["deleted"]:
            deleted[change["key"]] = max(change["revision"], deleted.get(change["key"], 0))
    return kept


def _right(outcome: TrialOutcome) -> bool:
    """Whether the rows at the end are what the changes amount to that were committed."""
    if outcome.raised or not outcome.seen:
        return False
    committed = [outcome.case.history.at(position) for position in sorted(outcome.committed)]
    return not any(_differences(expected(outcome.case.history.shape, committed), outcome.seen[-1].rows))


def _differences(must: dict[Any, Row], rows: list[Row]) -> Iterator[tuple[Any, str]]:
    """Each key whose rows are wrong, with what is wrong. A group that is shown with a count of 0 is none."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        if row.get("count") != 0:
            found.setdefault(row["key"], []).append(row)
    for key, row in must.items():
        those = found.get(key, [])
        if len(those) != 1:
            yield key, f"row {shown(key)} is {'not shown' if not those else f'shown {len(those)} times'}"
        elif absent := [name for name in row if name not in those[0]]:
            yield key, f"row {shown(key)} has no {absent[0]}"
        elif wrong := [name for name in row if not same(those[0][name], row[name])]:
            first = wrong[0]
            yield key, f"{first} of row {shown(key)} is {shown(those[0][first])}, and should be {shown(row[first])}"
    for key in found:
        if key not in must:
            yield key, f"row {shown(key)} is shown, and there should be none"


def _words(row: Row) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in row.items() if name != "key")
