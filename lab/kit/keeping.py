"""Properties of what is kept: awkward values, what comes again or comes back, batches, transactions, who may write."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from lab.kit import families, sharing
from lab.kit.history import Change
from lab.kit.outcome import Seen, TrialOutcome
from lab.kit.property import Again, tried_on
from lab.kit.reader import Observer, Violation, same
from lab.kit.script import Commit, Deliver, Step
from lab.kit.telling import shown


def _settled(reader: Observer) -> Seen | None:
    """What is shown at the end, if everything has come by then."""
    outcome = reader.outcome
    return outcome.seen[-1] if outcome.seen and (outcome.case.drain or outcome.complete()) else None


@tried_on(families.wild_values(), in_order=families.wild_values(), polled=families.wild_values(messages=0.0))
def values_preserved(reader: Observer, again: Again) -> Violation | None:
    """Values and keys that are awkward to keep are shown as they were written."""
    seen = _settled(reader)
    if seen is None:
        return None
    for key in reader.records():
        last, rows = reader.changes(key)[-1], reader.rows(seen, key)
        if last["deleted"] and rows:
            return reader.violation(seen, f"key {shown(key)} is deleted and still shown", key)
        if not last["deleted"] and len(rows) != 1:
            times = "not shown" if not rows else f"shown {len(rows)} times"
            return reader.violation(seen, f"key {shown(key)} is {times}", key, last)
        for name in rows[0] if rows else ():
            if name in last and not same(rows[0][name], last[name]):
                text = f"{name} {shown(last[name])} of key {shown(key)} is shown as {shown(rows[0][name])}"
                return reader.violation(seen, text, key, last)
    for row in seen.rows:
        if not reader.changes(row["key"]):
            text = f"key {shown(row['key'])} is shown, and there has never been such a record"
            return reader.violation(seen, text, row["key"])
    return None


@tried_on(
    sharing.reborn(ordered=False),
    in_order=sharing.reborn(ordered=True),
    polled=sharing.reborn(ordered=True, messages=0.0),
)
def created_again(reader: Observer, again: Again) -> Violation | None:
    """A record that is deleted and created again is shown again, and an earlier delete doesn't remove it."""
    seen = _settled(reader)
    if seen is None:
        return None
    for key in reader.records():
        changes = reader.changes(key)
        deletes = [change["revision"] for change in changes if change["deleted"]]
        if deletes and not changes[-1]["deleted"] and not reader.rows(seen, key):
            text = f"key {key!r} was deleted by revision {deletes[-1]} and created again, and is not shown"
            return reader.violation(seen, text, key, changes[-1])
    return None


@tried_on(families.duplicates, at_least_once=families.duplicates)
def no_double_effect(reader: Observer, again: Again) -> Violation | None:
    """What comes again changes nothing: compared with the same batches without what came again in them."""
    outcome = reader.outcome
    if not outcome.seen or not outcome.complete():
        return None
    seen = outcome.seen[-1]
    repeated = {reader.history.at(position)["key"] for position, times in Counter(outcome.handed).items() if times > 1}
    base: TrialOutcome | None = None
    for key in reader.records():
        rows = reader.rows(seen, key)
        if key not in repeated or (len(rows) <= 1 and all(reader.matches(row) for row in rows)):
            continue
        base = base or again(replace(outcome.case.with_script(_once(outcome)), drain=False))
        if base.raised or not base.seen:
            return None
        other = [row for row in base.seen[-1].rows if row["key"] == key]
        if len(rows) > len(other):
            text = f"key {key!r} is shown {_times(len(rows))}, and {_times(len(other))} when each change comes once"
            return reader.violation(seen, text, key, reader.changes(key)[-1])
        if any(not reader.matches(row) for row in rows) and all(reader.matches(row) for row in other):
            return reader.violation(seen, f"key {key!r} counts a change twice", key, reader.changes(key)[-1])
    return None


def _once(outcome: TrialOutcome) -> list[Step]:
    """The same batches without what was delivered before; pages of catch-up as messages, one change at a time."""
    known: set[int] = set()
    kept: list[Step] = []
    if outcome.case.drain:
        for position in sorted(outcome.committed):
            kept += [Commit((position,)), Deliver((position,))]
        return kept
    for step in outcome.case.script:
        if isinstance(step, Deliver):
            fresh = tuple(dict.fromkeys(position for position in step.positions if position not in known))
            known |= set(fresh)
            kept += [Deliver(fresh)] if fresh else []
        else:
            kept.append(step)
    return kept


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")


@tried_on(sharing.unlike_batches, in_order=sharing.unlike_batches)
def batch_independent(reader: Observer, again: Again) -> Violation | None:
    """What is shown at the end is the same as when each change comes in a batch of its own."""
    outcome = reader.outcome
    if not outcome.seen or not outcome.complete() or len(outcome.handed) != len(set(outcome.handed)):
        return None
    alone: list[Step] = []
    for position in outcome.handed:
        alone += [Commit((position,)), Deliver((position,))]
    other = again(outcome.case.with_script(alone))
    if other.raised or not other.seen:
        return None
    seen, calm = outcome.seen[-1], Observer(other)
    for key in reader.records():
        mine, theirs = reader.rows(seen, key), calm.rows(other.seen[-1], key)
        if len(mine) != len(theirs) or not all(map(_alike, mine, theirs, [reader.changes(key)[-1]] * len(mine))):
            text = f"key {key!r} is not what it is when each change comes in a batch of its own"
            return reader.violation(seen, text, key, reader.changes(key)[-1])
    return None


def _alike(one: dict[str, Any], other: dict[str, Any], change: Change) -> bool:
    """Whether two rows show the same of a record; columns of the projector's own may differ."""
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one if name in change)


@tried_on(sharing.two_owners, needs="twin")
def one_owner(reader: Observer, again: Again) -> Violation | None:
    """What a frozen owner writes when it goes on doesn't replace what its successor has written."""
    outcome = reader.outcome
    for seen in outcome.seen:
        if seen.after != "wake":
            continue
        for key in reader.records():
            told = reader.told(seen, key)
            if told and not reader.has(seen, told[-1]):
                text = f"a former owner went on, and revision {told[-1]['revision']} of key {key!r} is there no more"
                return reader.violation(seen, text, key, told[-1])
    return None


@tried_on(sharing.transactions, in_order=sharing.transactions, asked=True)
def no_torn_transaction(reader: Observer, again: Again) -> Violation | None:
    """At no moment does a reader see some changes of a transaction and not the others."""
    groups: dict[int, list[Change]] = {}
    for position in reader.outcome.committed:
        change = reader.history.at(position)
        groups.setdefault(change["transaction"], []).append(change)
    for seen in reader.outcome.seen:
        by_then = reader.told_by(seen)
        for changes in groups.values():
            inside = [item for item in changes if item["position"] in by_then and _visible(reader, seen, item) is True]
            out = next((item for item in changes if _visible(reader, seen, item) is False), None)
            if inside and out:
                text = (
                    f"a reader sees position {inside[0]['position']} of a transaction, and not position"
                    f" {out['position']} of the same one"
                )
                return reader.violation(seen, text, out["key"], out)
    return None


def _visible(reader: Observer, seen: Seen, change: Change) -> bool | None:
    """Whether a change can be seen, or one of its record that came after it; None if that can't be known."""
    found = reader.revisions(seen, change["key"])
    if found is not None:
        return bool(found[1] > change["revision"] or (found[1] == change["revision"] and not change["deleted"]))
    if change["deleted"]:
        return True
    later = (item for item in reader.told(seen, change["key"]) if item["revision"] > change["revision"])
    return None if any(item["deleted"] for item in later) else False
