"""What to see in the figures of a sweep, in a sentence each; and what was run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from lab.formatting import listed, plural
from lab.sweeps.drawn import shown
from lab.sweeps.folder import Sweep
from lab.sweeps.response import TITLES, Response, label
from lab.sweeps.sensitivity import KeyEffect

_NAMES_MAX = 4


def what_was_run(sweep: Sweep) -> str:
    """Return what was varied, how often, and on which clock."""
    document = sweep.document
    keys = [f"{each['key']} ({_values(each)})" for each in document["vary"]]
    clock = "Times are modelled." if document["clock"] == "modelled" else "Runs measured wall time, one at a time."
    often = "once" if document["repeat"] == 1 else f"{document['repeat']} times, with other seeds"
    return f"{plural(len(document['points']), 'point')} of {listed(keys)}, each run {often}. {clock}"


def _values(each: dict[str, Any]) -> str:
    if each["values"]:
        return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in each["values"][:8])
    return f"{each['low']:g} to {each['high']:g}"


def on_heat(found: Response, quantity: str) -> str:
    """Say in which regions a figure is 0, and where it is worst."""
    rows = found.of(quantity)
    what = TITLES.get(quantity, quantity)
    never, some = [], []
    for name in found.projections:
        mine = rows.filter(pl.col("projection") == name)
        if mine.is_empty():
            continue
        above = mine.filter(pl.col("value") > 0)
        if above.is_empty():
            never.append(name)
            continue
        worst = above.sort("value", descending=True).row(0, named=True)
        at = ", ".join(label(key, worst[key]) for key in found.keys)
        some.append((worst["value"], f"{name} has {above.height} of {mine.height} points above 0, "
                                     f"the worst {shown(worst['value'], worst['unit'])} at {at}"))  # fmt: skip
    said = [text for _, text in sorted(some, reverse=True)[:_NAMES_MAX]]
    parts = [f"{listed(never)} never {'has' if len(never) == 1 else 'have'} {what}"] if never else []
    cells = [] if str(rows["unit"][0]) != "share" else ["Cells are in per cent"]
    return ". ".join([*parts, *said, *cells]) + "." if parts or said else f"No projection has {what}."


def on_curves(found: Response, along: str, quantity: str) -> str:
    """Say by how much a figure differs between the ends of a key, and which projection changes most."""
    rows = found.of(quantity)
    values = found.values(along)
    said = []
    for name in found.projections:
        mine = rows.filter(pl.col("projection") == name)
        ends = [mine.filter(pl.col(along) == end) for end in (values[0], values[-1])]
        if any(end.is_empty() for end in ends):
            continue
        first, last = (float(end["value"].mean()) for end in ends)  # type: ignore[arg-type]
        said.append((abs(last - first), name, first, last))
    if not said:
        return "There is nothing to see."
    unit = str(rows["unit"][0])
    moved = [each for each in sorted(said, reverse=True) if each[0] > 0][:_NAMES_MAX]
    ends_said = f"from {label(along, values[0])} to {label(along, values[-1])}"
    if not moved:
        return f"{TITLES.get(quantity, quantity).capitalize()} is the same {ends_said} in every projection."
    parts = [f"{name} goes from {shown(first, unit)} to {shown(last, unit)}" for _, name, first, last in moved]
    still = len(said) - len(moved)
    rest = f"; {plural(still, 'other')} not shown here or unmoved" if still > 0 else ""
    bands = "" if rows["low"].null_count() == rows.height else " Bands are 95 % intervals between repetitions."
    return f"{TITLES.get(quantity, quantity).capitalize()} {ends_said}: {'; '.join(parts)}{rest}.{bands}"


def on_untold(found: Response, quantity: str) -> str:
    """Say where a figure is left out since some repetitions don't know it; empty if it is known everywhere."""
    if found.untold.is_empty():
        return ""
    counts = found.untold.filter(pl.col("quantity") == quantity).group_by("projection", maintain_order=True).len()
    named = [f"{plural(many, 'point')} of {name}" for name, many in counts.iter_rows()]
    return f" Not drawn, since some repetitions don't know it: {listed(named)}." if named else ""


def on_effects(found: Sequence[KeyEffect], quantity: str, morris: bool) -> str:
    """Say which key has most to do with a figure, with its interval."""
    what = TITLES.get(quantity, quantity)
    said = []
    for name in dict.fromkeys(each.projection for each in found):
        mine = sorted((each for each in found if each.projection == name), key=lambda each: each.total, reverse=True)
        best = mine[0]
        if best.p is None:
            said.append(f"of {name}, one repetition can't tell what a key does from chance: --repeat 2 or more")
        elif not best.shown:
            said.append(f"of {name}, these samples don't show which key moves {what}: take more")
        elif morris:
            size = f"{best.total:.3g} (± {best.total_half:.2g})"
            said.append(f"{best.key} moves {what} of {name} most, by {size} over its range")
        else:
            low, high = (max(best.total - best.total_half, 0.0), min(best.total + best.total_half, 1.0))
            said.append(f"{best.total:.0%} ({low:.0%} to {high:.0%}) of the variance of {what} of {name} is {best.key}")
    return ("; ".join(said) + ".").replace("%", " %") if said else f"{what.capitalize()} is the same at every point."
