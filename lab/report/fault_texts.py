"""Describe faults, gaps, readers and rebuilds: what their figures show, and what was configured.

Only projections that pass (`Overview.ranked`) are recommended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lab.formatting import count, duration, listed, plural, ratio, share, size
from lab.report.facts import Overview
from lab.report.shading import SOURCE, called

Row = dict[str, Any]


def fault_rows(faults: pl.DataFrame) -> list[Row]:
    """Count the faults: a row for each projection and kind, with its steps and an example; the source first."""
    rows = []
    ordered = faults.sort(pl.col("projection") != "", maintain_order=True)
    for (name, kind), part in ordered.group_by("projection", "kind", maintain_order=True):
        steps = part.filter(pl.col("step") != "").group_by("step", maintain_order=True).len().iter_rows()
        details = part.filter(pl.col("detail") != "")["detail"]
        lasted = (part["until_seconds"] - part["at_seconds"]).max()
        rows.append(
            {
                "projection": name or SOURCE,
                "kind": str(kind).replace("_", " "),
                "steps": ", ".join(f"{count(many)} {step}" for step, many in steps),
                "many": part.height,
                "first_seconds": part["at_seconds"].min(),
                "last_seconds": part["at_seconds"].max(),
                "longest_seconds": lasted or None,
                "detail": details[0] if len(details) else "",
            }
        )
    return rows


def first_reads(row: Mapping[str, Any]) -> int:
    """Return the number of first reads: each was answered or told "stale"."""
    return int(row["answered"] or 0) + int(row["stale"] or 0)


def parked_rows(parked: pl.DataFrame, rows_max: int) -> tuple[list[Row], int]:
    """Return the first `most` parked changes, and how many more there are."""
    return parked.head(rows_max).to_dicts(), max(0, parked.height - rows_max)


def set_up(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of writers, faults and readers by heading, without those that are off."""
    told = {key.capitalize(): _on(manifest.get(key)) for key in ("writers", "faults", "readers")}
    return {heading: settings for heading, settings in told.items() if settings}


def _on(settings: object) -> dict[str, Any]:
    """Return the settings that are not off."""
    if not isinstance(settings, Mapping):
        return {}
    kept = {str(name): _on(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
    return {name: value for name, value in kept.items() if value not in (None, 0, "", [], (), {})}


def what_was_set(manifest: Mapping[str, Any]) -> str:
    """Describe the writers and the faults in a sentence each; empty if there are none."""
    told = set_up(manifest)
    writers, faults = told.get("Writers", {}), told.get("Faults", {})
    parts = []
    if "count" in writers:
        slept = writers.get("sleep", {}).get("share")
        rates = [
            f"{share(float(rate))} {what}"
            for rate, what in ((slept, "slept before the commit"), (writers.get("abort"), "were rolled back"))
            if rate
        ]
        rest = f"; of their transactions {listed(rates)}" if rates else ""
        parts.append(f"{plural(int(writers['count']), 'writer')} worked at once ({writers.get('how', '?')}){rest}.")
    at = [f"{name} ({listed(kinds)})" for name, item in faults.items() if (kinds := _kinds(item))]
    if at:
        parts.append(f"Faults were planted at {listed(at)}.")
    return " ".join(parts)


# The report's words for a scenario's keys.
_PLANTED = {
    "crashes": "crashes",
    "crash": "crashes",
    "refuse": "refused applies",
    "poison": "poison",
    "slow": "slowness",
}


def _kinds(item: object) -> list[str]:
    return list(dict.fromkeys(_PLANTED[name] for name in item if name in _PLANTED)) if isinstance(item, Mapping) else []


def in_staleness(faults: pl.DataFrame) -> str:
    """Explain how faults are drawn in the figure of staleness; empty if there are none."""
    if faults.is_empty():
        return ""
    told = "The rug below has every fault, a row for each projection"
    lines = ["thin lines are crashes"] if (faults["kind"] == "crash").any() else []
    spans = ["tinted spans are slow times and rebuilds"] if faults["kind"].is_in(["slow", "rebuild"]).any() else []
    return f"{told}; in the curves, {listed(lines + spans)}, where they are few." if lines or spans else f"{told}."


def on_faults(faults: pl.DataFrame) -> str:
    """Count the faults of each kind, and say where they are drawn."""
    told = [
        called(str(kind), int(many)) for kind, many in faults.group_by("kind", maintain_order=True).len().iter_rows()
    ]
    return f"In all there were {listed(told)}. When, and what staleness followed, is in the figure above."


def on_gaps(gaps: pl.DataFrame, found: Sequence[Overview]) -> str:
    """Name the strategies that lose changes, that stall readers, and that slow the writers down."""
    rows = gaps.to_dicts()
    told = "Read a row from left to right: what is not lost is paid for, in waiting or in writes."
    lossy = [f"{count(row['lost'])} of {count(row['changes'])} with {_of(row)}" for row in rows if row["lost"]]
    if lossy:
        told += f" Changes were lost: {listed(lossy)}."
    gave = [f"{count(row['given_up'])} with {_of(row)}" for row in rows if row["given_up"]]
    if gave:
        told += f" Gaps that were given up at the time limit, and reported: {listed(gave)}."
    # A row that loses nothing may still have failed for another reason, and is then not recommended.
    ranked = {each.name for each in found if each.ranked}
    sound = [row for row in rows if not row["lost"] and row["projection"] in ranked]
    if sound:
        costs = [
            f"{_of(row)} stalls {duration(row['stall_p99_seconds'])} (p99) at {share(row['throughput'])} of the writes"
            for row in sound
        ]
        told += f" Without a loss: {listed(costs)}."
    return told


def _of(row: Mapping[str, Any]) -> str:
    return _both(row["strategy"], row["projection"])


def _both(first: str, second: str) -> str:
    """Return `first (second)`; only once if both are equal, as for a projection named after its strategy."""
    return first if first == second else f"{first} ({second})"


def on_readers(readers: pl.DataFrame) -> str:
    """Name the projections whose sessions read stale data, and how long the others waited."""
    rows = readers.to_dicts()
    told = 'A session that waits too long is told "stale", never in silence; hatched is what should not be.'
    unread = [_rate(row, "unread") for row in rows if row["unread"]]
    backward = [_rate(row, "backward") for row in rows if row["backward"]]
    if unread:
        told += f" An own write was answered without it in {listed(unread)}."
    if backward:
        told += f" Time went backward in {listed(backward)}."
    if not unread and not backward:
        told += " No session missed its own write, and none went backward."
    waits = [row for row in rows if row["token"] != "none" and row["wait_p99_seconds"] is not None]
    if waits:
        worst = max(waits, key=lambda row: float(row["wait_p99_seconds"]))
        told += (
            f" The longest wait for a token, p99, is {duration(worst['wait_p99_seconds'])} in {worst['projection']}."
        )
    return told


def _rate(row: Mapping[str, Any], column: str) -> str:
    of = row["reads"] if column == "backward" else first_reads(row)
    rate = share(row[column] / of) if of else count(row[column])
    return f"{row['projection']} ({row['token']}: {rate})"


def on_rebuilds(rebuilds: pl.DataFrame) -> str:
    """Describe what readers saw during each rebuild, and its cost."""
    rows = rebuilds.to_dicts()
    seen = [
        f"of {plural(int(row['reads'] or 0), 'read')} of {_both(row['projection'], row['mode'])}"
        f" {count(row['partial_reads'])} didn't find the record and"
        f" {count(row['backward_reads'])} found an older revision"
        for row in rows
    ]
    told = f"Above is what readers saw meanwhile, below what it took: {'; '.join(seen)}."
    beside = [row for row in rows if row["mode"] == "blue-green" and row["peak_bytes"] and row["resting_bytes"]]
    if beside:
        costs = [
            f"{size(row['peak_bytes'])} for {row['projection']}, {ratio(row['peak_bytes'], row['resting_bytes'])}"
            for row in beside
        ]
        told += f" Building beside costs disk at the peak: {listed(costs)} what it takes at rest."
    return told


def on_parked(parked: pl.DataFrame) -> str:
    """Count the parked changes by reason."""
    reasons = parked.group_by("reason", maintain_order=True).len().sort("len", descending=True).head(3)
    told = [f"{count(many)} because of “{reason}”" for reason, many in reasons.iter_rows()]
    records = parked.select(pl.struct("projection", "entity", "key").n_unique()).item()
    many = f"{plural(parked.height, 'change')} of {plural(int(records), 'record')}"
    return f"Set aside, so that the others could go on: {many}; {listed(told)}."
