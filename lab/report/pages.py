"""Draw and describe pages whose parts are read from several projections: mixed cuts, what mends them, and its costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from lab.formatting import NOTHING, count, duration, listed, share
from lab.report.panels import Panel, side_by_side
from lab.report.style import REST, Look, drawing, elided, key, margin_inches, sheet

_NAME_CHARACTERS = 24
# The end of the axis if nothing was found.
_SMALL = 0.01
_COLOURS = {"none": REST[1], "slowest": REST[0], "each": REST[4]}
# What a policy does, in words.
POLICIES = {"none": "read at once", "slowest": "as of the lowest", "each": "again until the same"}

Row = Mapping[str, Any]


def pages(table: pl.DataFrame) -> Figure:
    """Draw for each page and policy the share of mixed cuts and of ids that dangle; below, waiting and age."""
    rows = table.filter(pl.col("reason").is_null()).to_dicts()
    names = [(elided(row["page"], _NAME_CHARACTERS), POLICIES.get(row["policy"], row["policy"])) for row in rows]
    dangling = [_part(row["dangling"], row["ids"]) for row in rows]
    unanswered = [_part(row["visits"] - row["answered"], row["visits"]) for row in rows]
    shown = [
        _shares("mixed cuts", "of answered visits (%)", [row["mixed_share"] for row in rows], bad=True),
        _shares("ids that dangle", "of ids found (%)", dangling, bad=True),
        _shares("not answered", "of visits (%)", unanswered),
    ]
    costs = [
        _times("waiting, p99", "by the policy", [row["wait_p99_seconds"] for row in rows]),
        _times("age, p50", "of the oldest change missing", [row["age_p50_seconds"] for row in rows]),
        _times("age, p99", "of the oldest change missing", [row["age_p99_seconds"] for row in rows]),
    ]
    return side_by_side(names, [_COLOURS.get(row["policy"], REST[2]) for row in rows], [shown, costs])


def _shares(title: str, unit: str, values: list[float | None], bad: bool = False) -> Panel:
    marks = [bad and bool(value) for value in values]
    return Panel(title, unit, values, [share(value) for value in values], _per_cent, bad=marks, top=_SMALL)


def _times(title: str, unit: str, values: list[float | None]) -> Panel:
    return Panel(title, unit, values, [duration(value) for value in values], lambda value: duration(value, digits=1))


def _per_cent(value: float) -> str:
    return f"{value * 100:.3g} %"


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def over_time(table: pl.DataFrame) -> Figure:
    """Draw the share of mixed cuts and the ids that dangle over the run, of pages that are read without a policy."""
    groups = list(table.filter(policy="none").group_by("page", maintain_order=True))
    looks = [Look(str(name), "", REST[place % len(REST)], "solid", "pass") for place, ((name,), _) in enumerate(groups)]
    with drawing():
        figure, panels = sheet(3.6, 0.75, 0.35 + margin_inches([look.label for look in looks]), 2, top_inches=0.2)
        for look, (_, part) in zip(looks, groups, strict=True):
            for axes, column in zip(panels, ("mixed", "dangling"), strict=True):
                values = 100 * part[column] / part["answered"] if column == "mixed" else part[column] / part["answered"]
                axes.step(part["at_seconds"], values.fill_nan(None), where="post", color=look.colour, linewidth=1.2)
        panels[0].set_ylabel("mixed cuts (%)")
        panels[1].set_ylabel("dangling ids a visit")
        for axes in panels:
            axes.set_ylim(bottom=0)
        panels[-1].set_xlabel("time since the start (seconds)")
        key(panels[0], [(look, "") for look in looks])
    return figure


def on_pages(table: pl.DataFrame) -> str:
    """Say of each page how often its parts show no one cut, what the policies make of it, and what they cost."""
    told = []
    for name, rows in table.group_by("page", maintain_order=True):
        policies = {row["policy"]: row for row in rows.iter_rows(named=True)}
        said = [_said(policy, row) for policy, row in policies.items() if row["reason"] is None]
        refused = [
            f"`{policy}` can't be followed: {row['reason']}" for policy, row in policies.items() if row["reason"]
        ]
        told.append(f"{name[0]}: {'; '.join([*said, *refused])}.")
    return "Hatched is what no page should show. " + " ".join(told)


def _said(policy: str, row: Row) -> str:
    if not row["answered"]:
        return f"`{policy}` answers no visit in time"
    found = [f"`{policy}` shows mixed cuts in {share(row['mixed_share'])} of the visits"]
    if row["dangling"]:
        found.append(f"{count(row['dangling'])} of {count(row['ids'])} ids dangle")
    if row["wait_p50_seconds"]:
        found.append(f"half of them wait {duration(row['wait_p50_seconds'])} at most")
    if row["answered"] < row["visits"]:
        found.append(f"{share(1 - row['answered'] / row['visits'])} are not answered in time")
    return listed(found)


def on_times(table: pl.DataFrame) -> str:
    """Say when most ids dangled, of pages that are read without a policy."""
    rows = table.filter((pl.col("policy") == "none") & (pl.col("dangling") > 0))
    if rows.is_empty():
        return "No id dangled."
    worst = rows.sort(pl.col("dangling") / pl.col("answered"), descending=True).row(0, named=True)
    return f"Most ids dangled on {worst['page']} from {duration(worst['at_seconds'])} on."


def witnesses(table: pl.DataFrame) -> list[tuple[str, list[str]]]:
    """Return of each page and policy with mixed cuts its title, and the lines of one such visit."""
    return [
        (f"{row['page']}, policy {row['policy']}", str(row["witness"]).splitlines())
        for row in table.filter(pl.col("witness").is_not_null()).iter_rows(named=True)
    ]


def cells(row: Row) -> list[str]:
    """Return a row's figures as texts: visits answered, mixed, dangling, versions apart, waiting and age."""
    if row["reason"] is not None:
        return [NOTHING] * 7
    apart = NOTHING if row["versions_apart"] is None else f"{row['versions_apart']:.2g}"
    times = [duration(row[f"{name}_seconds"]) for name in ("wait_p50", "wait_p99", "age_p50")]
    return [count(row["answered"]), share(row["mixed_share"]), count(row["dangling"]), apart, *times]
