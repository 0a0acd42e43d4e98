"""The properties: each looks at what a projector showed in one trial, and says in plain words what is wrong.

Each is described in `lab.checks` under the function's name, and has a family of scripts that try it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.checks import OF_PROJECTORS
from lab.kit import families, keeping
from lab.kit.history import PLAIN, Change, Row, Shape, committed_late
from lab.kit.outcome import Seen
from lab.kit.property import Again, Property, tried_on
from lab.kit.reader import Observer, Violation, of, went_back
from lab.kit.script import Die
from lab.kit.views import BY_THE_END


@tried_on(families.in_order(), in_order=families.in_order(), polled=families.in_order(messages=0.0))
def converged(reader: Observer, again: Again) -> Violation | None:
    """After everything came once and in order, the live records are those of the source of truth."""
    outcome = reader.outcome
    if not outcome.seen or not (outcome.case.drain or outcome.complete()):
        return None
    seen = outcome.seen[-1]
    for key in reader.records():
        last = reader.changes(key)[-1]
        rows = reader.rows(seen, key)
        if last["deleted"] and rows:
            return reader.violation(seen, f"key {key!r} is deleted and still shown", key)
        if not last["deleted"] and not rows:
            return reader.violation(seen, f"key {key!r} is not shown", key, last)
        if len(rows) > 1:
            return reader.violation(seen, f"key {key!r} is shown {len(rows)} times", key, last)
        if rows and last["revision"] not in reader.matches(rows[0]):
            return reader.violation(seen, f"key {key!r} is not shown as it is", key, last)
    return _unknown_keys(reader, seen)


def _unknown_keys(reader: Observer, seen: Seen) -> Violation | None:
    for row in seen.rows:
        if not reader.changes(row["key"]):
            return reader.violation(
                seen, f"key {row['key']!r} is shown, and there has never been such a record", row["key"]
            )
    return None


def _missing(reader: Observer, wanted: Callable[[Change], bool]) -> Violation | None:
    """The first record whose last change is one of those wanted, and is not shown at the end."""
    outcome = reader.outcome
    if not outcome.seen or not (outcome.case.drain or outcome.complete()):
        return None
    seen = outcome.seen[-1]
    for key in reader.records():
        last = reader.changes(key)[-1]
        if wanted(last) and not reader.has(seen, last):
            text = f"revision {last['revision']} of key {key!r} (position {last['position']}) never became visible"
            return reader.violation(seen, text, key, last)
    return None


@tried_on(families.lossy())
def no_loss(reader: Observer, again: Again) -> Violation | None:
    """What a message didn't bring, catch-up does."""
    return _missing(reader, lambda _: True)


@tried_on(families.late_commits, polled=families.late_commits)
def no_skipped_gap(reader: Observer, again: Again) -> Violation | None:
    """What is committed late, behind the cursor, is seen all the same."""
    behind = committed_late(reader.outcome.committed)
    return _missing(reader, lambda change: change["position"] in behind)


@tried_on(families.after_tombstones)
def no_resurrection(reader: Observer, again: Again) -> Violation | None:
    """What is deleted stays deleted: it does not come back, and is not left at the end."""
    outcome = reader.outcome
    gone_at: dict[Any, int] = {}
    highest: dict[Any, int] = {}
    for seen in outcome.seen:
        for key in reader.records():
            shown = reader.revisions(seen, key)
            if shown is None:
                if key in highest and key not in gone_at:
                    dead = [item["revision"] for item in reader.told(seen, key) if item["deleted"]]
                    if after := [revision for revision in dead if revision > highest[key]]:
                        gone_at[key] = min(after)
                continue
            if key in gone_at and shown[1] < gone_at[key]:
                text = f"key {key!r} was deleted by revision {gone_at[key]}, and revision {shown[1]} is shown again"
                return reader.violation(seen, text, key)
            gone_at.pop(key, None)
            highest[key] = max(highest.get(key, 0), shown[0])
    if not outcome.seen or not outcome.complete():
        return None
    seen = outcome.seen[-1]
    for key in reader.records():
        last, shown = reader.changes(key)[-1], reader.revisions(seen, key)
        if last["deleted"] and shown is not None:
            text = (
                f"key {key!r} was deleted by revision {last['revision']}, and revision {shown[1]} is alive at the end"
            )
            return reader.violation(seen, text, key)
    return None


@tried_on(families.reordered)
def per_key_order(reader: Observer, again: Again) -> Violation | None:
    """The last revision stays, although an older one arrived after it."""
    outcome = reader.outcome
    if not outcome.seen or not outcome.complete():
        return None
    seen = outcome.seen[-1]
    for key in reader.records():
        last = reader.changes(key)[-1]
        arrived = outcome.handed.index(last["position"])
        later = {reader.history.at(place)["revision"] for place in of(reader, outcome.handed[arrived + 1 :], key)}
        shown = reader.revisions(seen, key)
        if shown is not None and shown[1] < last["revision"] and shown[1] in later:
            text = f"revision {shown[1]} of key {key!r} was written over revision {last['revision']}, and stays"
            return reader.violation(seen, text, key, last)
    return None


@tried_on(families.mixed(deletes=0.0))
def monotonic_reads(reader: Observer, again: Again) -> Violation | None:
    """Who looks twice never finds an older revision the second time."""
    for seen, key, before, now in went_back(reader):
        found = f"revision {now}" if now else "nothing"
        text = f"a reader saw revision {before} of key {key!r}, looked again and found {found}"
        return reader.violation(seen, text, key, reader.changes(key)[before - 1])
    return None


@tried_on(families.lossy(rewind=True))
def no_rewind(reader: Observer, again: Again) -> Violation | None:
    """Neither the checkpoint nor the content goes back, when catch-up goes through old pages once more."""
    last = 0
    for seen in reader.outcome.seen:
        if seen.checkpoint < last and seen.after != "rewind":
            text = f"the checkpoint went from {last} back to {seen.checkpoint}"
            return Violation(seen.step, text, None, [], "")
        last = seen.checkpoint
    for seen, key, before, now in went_back(reader):
        text = f"key {key!r} went from revision {before} back to {now or 'nothing'}"
        return reader.violation(seen, text, key, reader.changes(key)[before - 1])
    return None


def _promised(reader: Observer) -> Violation | None:
    """Where the checkpoint says that a change is in, and it is not."""
    for seen in reader.outcome.seen:
        committed = reader.outcome.committed[: seen.committed]
        last = reader.history.last(position for position in committed if position <= seen.checkpoint)
        for key, change in last.items():
            newest = reader.history.last(of(reader, committed, key))[key]
            if newest is not change and reader.outcome.case.snapshot:
                # It has been overwritten: a feed of last states brings the newer one when its turn comes.
                continue
            if not reader.has(seen, change):
                text = (
                    f"the checkpoint is at {seen.checkpoint},"
                    f" and revision {change['revision']} of key {key!r} (position {change['position']}) is not there"
                )
                return reader.violation(seen, text, key, change)
    return None


@tried_on(
    families.crashes(lost=0.4),
    in_order=families.crashes(),
    needs="reopen",
)
def checkpoint_sound(reader: Observer, again: Again) -> Violation | None:
    """Whatever the checkpoint promises is there, after a crash too."""
    return _promised(reader)


@tried_on(families.lossy(lose=0.0, deletes=0.1), in_order=families.in_order(messages=0.0))
def read_your_writes(reader: Observer, again: Again) -> Violation | None:
    """Who waits until the checkpoint has reached a write then reads it."""
    return _promised(reader)


@tried_on(families.mixed(deletes=0.15), in_order=families.in_order(), polled=families.in_order(messages=0.0))
def no_phantom(reader: Observer, again: Again) -> Violation | None:
    """Nothing is shown that the source of truth never had."""
    for seen in reader.outcome.seen:
        for row in seen.rows:
            if not reader.matches(row):
                told = reader.told(seen, row["key"])
                text = f"key {row['key']!r} is shown as it has never been"
                return reader.violation(seen, text, row["key"], told[-1] if told else None)
    return None


@tried_on(
    families.crashes(deletes=0.1, messages=0.5),
    in_order=families.crashes(deletes=0.1, messages=0.5),
    polled=families.crashes(deletes=0.1),
    needs="reopen",
)
def survives_crash(reader: Observer, again: Again) -> Violation | None:
    """What was acknowledged outlives a restart, and what was interrupted does no harm when it comes again."""
    outcome = reader.outcome
    before: Seen | None = None
    for seen in outcome.seen:
        if seen.after == "crash" and before is not None:
            for key in reader.records():
                was, shown = reader.revisions(before, key), reader.revisions(seen, key)
                if was and (shown[1] if shown else 0) < was[0] and not _interrupted_delete(reader, key, was[0]):
                    text = f"revision {was[0]} of key {key!r} was acknowledged and shown, and is gone after the restart"
                    return reader.violation(seen, text, key, reader.changes(key)[was[0] - 1])
        before = seen
    if not outcome.seen or not any(isinstance(step, Die) for step in outcome.case.script):
        return None
    calm = again(outcome.case.with_script([step for step in outcome.case.script if not isinstance(step, Die)]))
    if calm.raised or not calm.seen:
        return None
    one, other = _content(reader, outcome.seen[-1].rows), _content(reader, calm.seen[-1].rows)
    for key in sorted(one.keys() | other.keys(), key=str):
        mine, theirs = one.get(key, []), other.get(key, [])
        if sorted(mine) != sorted(theirs):
            text = f"key {key!r} is not what it is without the crash"
            should = "; ".join(theirs) or "nothing"
            rows = reader.rows(outcome.seen[-1], key)
            return Violation(outcome.seen[-1].step, text, key, rows, f"{should}, as without the crash")
    return None


def _interrupted_delete(reader: Observer, key: Any, revision: int) -> bool:
    """Whether a tombstone was handed over meanwhile, and landed before the crash."""
    handed = set(reader.outcome.handed)
    return any(
        item["deleted"] and item["revision"] > revision and item["position"] in handed for item in reader.changes(key)
    )


def _content(reader: Observer, rows: list[Row]) -> dict[Any, list[str]]:
    names = {name for name, _ in reader.history.shape.columns}
    found: dict[Any, list[str]] = {}
    for row in rows:
        text = ", ".join(f"{name} {row[name]!r}" for name in sorted(row) if name in names)
        found.setdefault(row["key"], []).append(text or "shown")
    return found


_MADE = [*globals().values(), *vars(keeping).values()]
_FOUND = {item.about.name: item for item in _MADE if isinstance(item, Property)}
# Every property by name, in the order of the registry. One that is described and not made is a KeyError here.
PROPERTIES: dict[str, Property] = {name: _FOUND[name] for name in OF_PROJECTORS}


def tried(delivery: str, shape: Shape = PLAIN) -> tuple[str, ...]:
    """Return the properties that are tried, unless others are named, where the feed promises this."""
    named = (name for name, made in PROPERTIES.items() if delivery in made.families and not made.asked)
    return tuple(name for name in named if name in BY_THE_END or not shape.view)
