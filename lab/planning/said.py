"""A plan in lines of text, and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.formatting import duration, listed, number, plural, short_count, size
from lab.planning.laws import Foretold
from lab.planning.needs import BROKEN, KEPT, PARTITIONS, PlannedFeed, PlannedPart
from lab.planning.planning import FoundPlan

# The figures in the order of a reader's questions, with what they are called.
NAMES = {
    "busy_share": "at work",
    "write_seconds": "a command",
    "lag_p50": "lag p50",
    "lag_p99": "lag p99",
    "rebuild": "rebuild",
    "size": "disk",
    "peak_rss": "memory of a rebuild",
}


def lines(found: FoundPlan) -> Iterator[str]:
    """Yield the lines of a plan; each figure with its interval, and marked where it is extrapolated."""
    needs = found.needs
    records = needs.demand.changes * found.evidence[0].records_per_change
    yield (
        f"{number(needs.demand.rate)} changes a second, {short_count(needs.demand.changes)} changes kept, "
        f"of about {short_count(records)} records"
    )
    if found.change_bytes is not None:
        each = found.change_bytes * needs.demand.wider
        note = "" if needs.demand.wider == 1 else f"; {size(found.change_bytes)} as measured: disk is in proportion"
        yield f"a change has {size(each)} as columns{note}"
    yield from (f"from {each.said}" for each in found.evidence)
    for part in needs.parts:
        yield from _part(part)
        if part is needs.truth:
            yield from _feed(needs.feed)
    for name in found.unmeasured:
        yield f"\n{name}: not measured; {found.first}"
    told = [needs.feed.busy, *(each for part in needs.parts for each in part.figures.values())]
    if any(each.value is None or each.extrapolated for each in told):
        yield f"\nruns that are nearer tell more: lab grow {found.scenario}, with larger --sizes or --set workload.rate"


def _part(part: PlannedPart) -> Iterator[str]:
    number_of = part.partitions or 1
    each = f", each of {number_of:,} partitions" if number_of > 1 else ""
    yield f"\n{part.name} ({part.store}){each}"
    width = max(map(len, NAMES.values()))
    reasons = {told.reason for told in part.figures.values() if told.value is None}
    if len(reasons) == 1 and all(told.value is None for told in part.figures.values()):
        yield f"  {shown(next(iter(part.figures.values())))}"
        yield f"  {enough(part)}"
        return
    for quantity, told in part.figures.items():
        level = part.kept.get(quantity)
        all_of_it = " in all" if quantity == "size" and number_of > 1 else ""
        note = "" if level is None else f"; its level is {'not sure to be kept' if level == 'unknown' else level}"
        yield f"  {NAMES[quantity]:<{width}}  {shown(told)}{all_of_it}{note}"
    yield f"  {'enough':<{width}}  {enough(part)}"


def enough(part: PlannedPart) -> str:
    """Return in words what is enough for a part."""
    if part.enough == PARTITIONS:
        note = f"; {part.reason}" if part.reason else ""
        return f"{PARTITIONS}: {part.partitions:,}, if keys are spread evenly and each has a server of its own{note}"
    if not part.enough:
        missed = [NAMES[name] for name, state in part.kept.items() if state != KEPT and name != "size"]
        why = part.reason or f"not surely, for {listed(missed)}"
        return f"unknown: {why}" if BROKEN not in part.kept.values() else f"none is: {why}"
    return f"{part.enough}{f' ({part.server})' if part.server else ''}"


def _feed(feed: PlannedFeed) -> Iterator[str]:
    yield "\nfeed"
    sent = "" if feed.bytes_per_second is None else f", {size(feed.bytes_per_second)}/s"
    yield f"  {number(feed.rate)} changes a second{sent}, for each of its readers"
    if feed.polls_per_second:
        yield (
            f"  {number(feed.polls_per_second)} polls a second in all; one finds {feed.changes_per_poll:,.0f} changes, "
            f"{plural(feed.pages_per_poll, 'page')}"
        )
    yield f"  a reader takes at the most {shown(feed.busy)} of its time" if feed.busy.value else f"  {shown(feed.busy)}"


def shown(told: Foretold) -> str:
    """Return a figure with its interval, or why there is none."""
    if told.value is None:
        return f"{'refused' if told.extrapolated else 'unknown'}: {told.reason}"
    ends = [_value(each, told.unit) for each in (told.low, told.high)]
    interval = f" ({ends[0]} to {ends[1]})" if told.high is not None else f" (from {ends[0]}; {told.reason})"
    mark = "EXTRAPOLATED: " if told.extrapolated else ""
    return f"{mark}{_value(told.value, told.unit)}{interval if told.low is not None else f' ({told.reason})'}"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    if unit == "share":
        return f"{number(100 * value)} %"
    return duration(value) if unit == "seconds" else size(value)


def document(found: FoundPlan) -> dict[str, Any]:
    """Return the JSON document of a plan."""
    needs = found.needs
    return {
        "scenario": found.name,
        "demand": {
            "changes_per_second": needs.demand.rate,
            "changes": needs.demand.changes,
            "records": needs.demand.changes * found.evidence[0].records_per_change,
            "change_bytes": None if found.change_bytes is None else found.change_bytes * needs.demand.wider,
            "busiest": needs.demand.busiest,
            "levels": needs.demand.levels,
        },
        "evidence": [
            {"sweep": each.folder, "runs": [run.name for run in each.runs], "change_bytes": each.change_bytes}
            for each in found.evidence
        ],
        "truth": _part_document(needs.truth),
        "feed": _feed_document(needs.feed),
        "projections": [_part_document(each) for each in needs.projections],
        "unmeasured": list(found.unmeasured),
        "verdict": needs.verdict,
    }


def _part_document(part: PlannedPart) -> dict[str, Any]:
    return {
        "name": part.name,
        "store": part.store,
        "sweep": part.source,
        "figures": [
            _figure(told) | {"quantity": name, "level": part.kept.get(name)} for name, told in part.figures.items()
        ],
        "partitions": part.partitions,
        "enough": part.enough or None,
        "reason": part.reason or None,
    }


def _feed_document(feed: PlannedFeed) -> dict[str, Any]:
    return {
        "changes_per_second": feed.rate,
        "bytes_per_second": feed.bytes_per_second,
        "polls_per_second": feed.polls_per_second,
        "changes_per_poll": feed.changes_per_poll,
        "pages_per_poll": feed.pages_per_poll,
        "busy": _figure(feed.busy),
        "from": feed.source or None,
    }


def _figure(told: Foretold) -> dict[str, Any]:
    return {
        "quantity": told.quantity,
        "unit": told.unit,
        "value": told.value,
        "low": told.low,
        "high": told.high,
        "extrapolated": told.extrapolated,
        "reason": told.reason or None,
    }
