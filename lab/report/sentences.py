"""The report's sentences: what was run, and what each figure shows.

Only projections that pass (`Overview.ranked`) are called the quickest, the slowest or the furthest behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lab.base import TRUTH
from lab.formatting import configured, count, duration, listed, microseconds, plural, ratio, share, size
from lab.measure.temperatures import HOT
from lab.report.facts import Overview, unaccounted
from lab.report.fault_texts import what_was_set

_NONE_PASSES = "No projection passes, so none is called the quickest."


def what_was_run(manifest: Mapping[str, Any]) -> str:
    """Describe the source of truth, the changes, the channel and the machine in a short paragraph."""
    truth, machine = manifest.get("truth", {}), manifest.get("machine", {})
    entries = manifest["projections"]
    stores = sorted({str(entry["store"]) for entry in entries})
    simulated = str(manifest.get("clocks", {}).get("lag", "simulated")).startswith("simulated")
    parts = [
        f"{plural(int(manifest['changes']), 'change')} committed over"
        f" {configured(manifest['duration_seconds'])}{' of simulated time' if simulated else ''}"
        f" at a source of truth with the {truth.get('model', '?')} write model in {truth.get('engine', '?')}"
        f" ({manifest.get('durability', '?')} durability)",
        f"projected into {plural(len(entries), 'projection')} over {listed(stores)}",
    ]
    ran = " ".join(filter(None, (f"{', '.join(parts)}.", channel_faults(manifest), what_was_set(manifest))))
    memory = size(machine.get("memory_bytes"))
    cores = plural(int(machine.get("cores", 0)), "core")
    took = duration(manifest.get("wall_seconds"))
    return f"{ran} The run took {took} on {machine.get('cpu', '?')}, {cores}, {memory} of memory."


def on_fan_out(fan_out: pl.DataFrame) -> str:
    """Describe the additional writes of documents that embed other records; empty if there are none."""
    told = [
        f"{row['projection']} wrote {plural(row['documents_written'], 'document')}"
        f" for {plural(row['changes'], 'change')},"
        f" {count(row['fanned_out'])} of them only because a record that they hold a part of had changed"
        for row in fan_out.to_dicts()
    ]
    return f"The price of documents that are joined in advance: {listed(told)}." if told else ""


def channel_faults(manifest: Mapping[str, Any]) -> str:
    """Describe the faults of the channel in a sentence."""
    options, outages = manifest.get("channel"), manifest.get("outages") or []
    if not options:
        return "There was no channel: catch-up alone carried the changes."
    told = []
    delay = options.get("delay")
    if isinstance(delay, Mapping) and delay.get("mean"):
        told.append(f"delayed messages by {configured(float(delay['mean']))} on average ({delay.get('kind', '?')})")
    elif isinstance(delay, Mapping) and delay.get("kind", "constant") not in ("constant", "exponential", "lognormal"):
        told.append(f"delayed messages ({delay['kind']})")
    reorder = options.get("reorder")
    reordered = reorder.get("share") if isinstance(reorder, Mapping) else reorder
    for rate, word in (
        (options.get("duplicate"), "duplicated"),
        (options.get("lose"), "lost"),
        (reordered, "reordered"),
    ):
        if isinstance(rate, int | float) and rate:
            told.append(f"{word} {share(float(rate))} of {'them' if told else 'the messages'}")
    if outages:
        lasting = sum(float(outage["lasts"]) for outage in outages)
        times = {1: "once", 2: "twice"}.get(len(outages), f"{len(outages)} times")
        told.append(f"was cut off {times}, for {configured(lasting)} in all")
    return f"The channel {listed(told)}." if told else "The channel did nothing wrong."


def on_lag(found: Sequence[Overview]) -> str:
    """Name the projection that shows changes soonest, and those that never showed some."""
    ranked = sorted(
        (each for each in found if each.ranked and each.lag.get("p50_seconds") is not None),
        key=lambda each: float(each.lag["p50_seconds"]),
    )
    told = _NONE_PASSES
    if ranked:
        first = ranked[0]
        tail = first.waited("p50")
        if first.lag.get("p99_seconds") is not None:
            tail += f", 99 % within {first.waited('p99')}"
        told = "The further left a curve, the sooner its changes are seen:"
        told += f" half of those in {first.name} within {tail}."
        if len(ranked) > 1:
            last = ranked[-1]
            told += " The longest wait among those that pass is in"
            told += f" {last.name}: half within {last.waited('p50')}."
    never = [each for each in found if each.lag.get("never_visible")]
    if never:
        each_one = [f"{each.name} never showed {count(each.lag['never_visible'])}" for each in never]
        told += f" A curve that ends below 100 % misses changes: {listed(each_one)}."
    return told


def on_visibility(visibility: pl.DataFrame, found: Sequence[Overview]) -> str:
    """Say after which time a change is visible with a probability of 0.99 and 0.999."""
    reached = (
        visibility.filter(pl.col("probability") >= 0.999).group_by("projection").agg(pl.col("after_seconds").min())
    )
    waits: dict[str, float] = dict(reached.iter_rows())
    told = [f"{duration(waits[each.name])} in {each.name}" for each in found if each.ranked and each.name in waits]
    how = "Read it from the left: follow the chance that you need to a curve;"
    how += " below is how long to wait after a commit."
    return f"{how} A reader sees 999 of 1,000 changes after {listed(told)}." if told else how


def on_staleness(staleness: pl.DataFrame, found: Sequence[Overview], outages: Sequence[Mapping[str, Any]]) -> str:
    """Name the projection that was furthest behind, by how much and when."""
    names = [each.name for each in found if each.ranked]
    worst = staleness.filter(pl.col("projection").is_in(names)).drop_nulls("seconds_behind")
    told = "A saw-tooth is the rhythm of polls and batches."
    if outages:
        told += " While the channel is cut off, only catch-up keeps a projection fresh."
    if len(worst) and names:
        row = worst.sort("seconds_behind", descending=True).row(0, named=True)
        behind, at = duration(row["seconds_behind"]), duration(row["at_seconds"])
        told += f" Among those that pass, {row['projection']} was the furthest behind: {behind} at {at}."
    return told


def on_rebuild(found: Sequence[Overview]) -> str:
    """Name the projection with the shortest rebuild."""
    ranked = sorted(
        (each for each in found if each.ranked and each.rebuild.get("seconds")),
        key=lambda each: float(each.rebuild["seconds"]),
    )
    if not ranked:
        return _NONE_PASSES
    first, last = ranked[0], ranked[-1]
    told = f"Thrown away and projected again, {first.name} is back after {duration(first.rebuild['seconds'])}"
    if last is not first:
        times = ratio(float(last.rebuild["seconds"]), float(first.rebuild["seconds"]))
        told += f"; {last.name} takes {times} as long"
    return f"{told}. This is the price of changing one's mind about a read model."


def on_queries(queries: pl.DataFrame, found: Sequence[Overview]) -> str:
    """Name the projection with the quickest correct answer for each kind of query."""
    names = [each.name for each in found if each.ranked]
    right = queries.filter(pl.col("projection").is_in(names), pl.col("answer_ok").fill_null(True)).drop_nulls("p50_us")
    told = []
    for (kind,), part in right.group_by("kind", maintain_order=True):
        best = part.sort("p50_us").row(0, named=True)
        told.append(f"{kind} in {best['projection']} ({microseconds(best['p50_us'])})")
    at = ", hot" if HOT in queries["temperature"] else ""
    text = f"The quickest right answers of projections that pass (p50{at}): {listed(told)}." if told else _NONE_PASSES
    text += _of_truth(queries, right)
    wrong = [f"{each.name} ({plural(each.wrong_answers, 'query', 'queries')})" for each in found if each.wrong_answers]
    return text + (f" Wrong answers have no time: {listed(wrong)}." if wrong else "")


def _of_truth(queries: pl.DataFrame, right: pl.DataFrame) -> str:
    """Name the queries that the source of truth answers as fast as any projection; `right`: the projections' rows."""
    own = queries.filter(pl.col("projection") == TRUTH, pl.col("answer_ok")).drop_nulls("p50_us")
    if own.is_empty():
        return ""
    best = right.group_by("query").agg(pl.col("p50_us").min().alias("best_us"))
    beside = own.join(best, on="query", how="left", maintain_order="left")
    quick = beside.filter(pl.col("best_us").is_null() | (pl.col("p50_us") <= pl.col("best_us")))["query"].to_list()
    text = f" The source of truth itself answered {len(own)} of {queries['query'].n_unique()} queries"
    if quick:
        return f"{text}, and {listed(quick)} as quickly as any projection that passes: for these none is needed."
    return f"{text}, each more slowly than the quickest projection that passes."


def on_channel(channel: pl.DataFrame) -> str:
    """Describe the fates of the messages."""
    told = [f"{share(row['share'])} {row['fate']}" for row in channel.to_dicts() if row["messages"]]
    if not told:
        return "No message was sent."
    among = " What was held or overtaken is counted where it ended up, too."
    late = channel["fate"].is_in(["held", "overtaken"]).any()
    return f"Of all copies that were sent: {listed(told)}.{among if late else ''}"


def on_accounting(accounting: pl.DataFrame) -> str:
    """Say whether every committed change is in exactly one part of the accounting."""
    bad = [f"{row['projection']} ({count(unaccounted(row))})" for row in accounting.to_dicts() if unaccounted(row)]
    rule = "Committed = applied + superseded + parked + skipped + pending;"
    rule += " duplicates come on top and change nothing."
    return f"{rule} It doesn't add up for {listed(bad)}." if bad else f"{rule} It adds up for every projection."


def on_writes(writes: pl.DataFrame) -> str:
    """Say how many commands the source of truth accepted and rejected, and how fast."""
    told = [
        f"{count(row['accepted'])} of {plural(row['commands'], 'command')} accepted,"
        f" {count(row['rejected'])} rejected and {count(row['conflicts'])} in conflict,"
        f" at {count(row['per_second'])} commands/s"
        for row in writes.to_dicts()
    ]
    return f"{listed(told)}." if told else "No command was timed."
