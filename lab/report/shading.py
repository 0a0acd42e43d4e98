"""Draw faults into the figure of staleness: outages shaded, faults as a rug below the curves.

Hundreds of crashes stay readable: each slice of time is marked once, and their number is written beside the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lab.formatting import configured, plural, short_count
from lab.report.style import FAINT, INK, Look, elided, look_of

SOURCE = "source of truth"
# Each kind of fault: its marker, singular and plural.
KINDS: dict[str, tuple[str, str, str]] = {
    "crash": ("|", "crash", "crashes"),
    "refused_apply": ("x", "refused apply", "refused applies"),
    "poison": ("D", "poison", "poison"),
    "slow": ("_", "slow time", "slow times"),
    "late_commit": ("^", "late commit", "late commits"),
    "rebuild": ("s", "rebuild", "rebuilds"),
}
_LASTING = ("slow", "rebuild")
_SLICES = 300
_LINES_MAX = 12
_SPANS_MAX = 12
_ROW_INCHES, _KEY_INCHES = 0.4, 0.36


@dataclass(frozen=True)
class Strip:
    """One row of the rug: the faults of a projection, or of the source of truth if `projection` is empty."""

    projection: str
    faults: pl.DataFrame
    remark: str

    @property
    def name(self) -> str:
        """Return the name of the projection, or that it is the source of truth."""
        return self.projection or SOURCE


def called(kind: str, many: int) -> str:
    """Return the count in words: `1 crash`, `312 crashes`; an unknown kind by its own name."""
    one, more = KINDS.get(kind, ("", kind.replace("_", " "), kind.replace("_", " ")))[1:]
    return f"{short_count(many)} {one if many == 1 else more}"


def strips(faults: pl.DataFrame | None, end_seconds: float) -> list[Strip]:
    """Return a row for each projection that had faults; of marks that would overlap, one is kept."""
    if faults is None or faults.is_empty():
        return []
    slice_seconds = max(end_seconds, 1e-9) / _SLICES
    found = []
    for (name,), part in faults.group_by("projection", maintain_order=True):
        counted = part.group_by("kind", maintain_order=True).len()
        told = [called(str(kind), int(many)) for kind, many in counted.sort("len").iter_rows()]
        thin = (
            part.filter(pl.col("at_seconds").is_finite())
            .with_columns(
                (pl.col("at_seconds") / slice_seconds).floor().alias("slice"),
                pl.max_horizontal("at_seconds", "until_seconds").alias("until_seconds"),
            )
            .group_by("kind", "slice", maintain_order=True)
            .agg(pl.col("at_seconds").first(), pl.col("until_seconds").max())
        )
        found.append(Strip(str(name or ""), thin, elided(" · ".join(told), 46)))
    return sorted(found, key=lambda strip: strip.projection != "")


def inches(rug: Sequence[Strip]) -> float:
    """Return the height of the rug with its key, in inches."""
    return _KEY_INCHES + _ROW_INCHES * len(rug) if rug else 0.0


def draw(axes: Axes, rug: Sequence[Strip], looks: Mapping[str, Look]) -> None:
    """Draw the rug: marks in the projection's colour, names and counts in the right margin, the key above."""
    many = len(rug)
    head = _KEY_INCHES / _ROW_INCHES
    axes.set_ylim(many - 0.5, -0.5 - head)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    for place, strip in enumerate(rug):
        colour = _colour(strip, looks)
        axes.axhline(place, color="#dddddd", linewidth=0.6, zorder=1)
        for (kind,), part in strip.faults.group_by("kind", maintain_order=True):
            _marks(axes, place, str(kind), part, colour)
        for text, size, ink, offset in ((elided(strip.name, 24), 8.5, INK, 5), (strip.remark, 7.2, FAINT, -5.5)):
            axes.annotate(
                text, (1, place), xycoords=axes.get_yaxis_transform(), xytext=(8.6, offset),
                textcoords="offset points", va="center", fontsize=size, color=ink,
            )  # fmt: skip
    kinds = pl.concat([strip.faults for strip in rug])["kind"].unique(maintain_order=True).to_list()
    handles = [_handle(str(kind)) for kind in kinds]
    axes.legend(
        handles=handles, ncols=len(handles), frameon=False, fontsize=7.5, loc="upper left", handletextpad=0.3,
        columnspacing=1.2, bbox_to_anchor=(-0.01, 1.04), borderpad=0.2, handlelength=1.2,
    )  # fmt: skip


def _colour(strip: Strip, looks: Mapping[str, Look]) -> str:
    return look_of(looks, strip.projection).colour if strip.projection else INK


def _marks(axes: Axes, place: int, kind: str, part: pl.DataFrame, colour: str) -> None:
    start, until = part["at_seconds"], part["until_seconds"]
    if kind in _LASTING:
        # Faults with a duration are bars: filled for a rebuild, hollow for a slow store.
        axes.barh(
            [place] * len(part), until - start, left=start, height=0.5, zorder=2, edgecolor=colour, linewidth=0.9,
            facecolor=colour if kind == "rebuild" else "white", hatch=None if kind == "rebuild" else "//////",
            alpha=0.6 if kind == "rebuild" else 1.0,
        )  # fmt: skip
        return
    if kind == "crash":
        # A thin tail for as long as the process was down.
        axes.hlines([place] * len(part), start, until, color=colour, linewidth=2.2, alpha=0.45, zorder=2)
    marker = KINDS.get(kind, ("o", "", ""))[0]
    size = {"|": 9.0, "D": 3.6, "x": 4.5, "^": 4.2}.get(marker, 4.0)
    axes.plot(
        start, [place] * len(part), linestyle="none", marker=marker, color=colour, markersize=size,
        markeredgewidth=1.0 if len(part) < 100 else 0.6, zorder=3,
    )  # fmt: skip


def _handle(kind: str) -> Line2D:
    marker, one, _ = KINDS.get(kind, ("o", kind.replace("_", " "), ""))
    size = 8 if marker == "|" else 5
    hollow: dict[str, Any] = {"markerfacecolor": "white"} if kind == "slow" else {}
    shape = "s" if kind in _LASTING else marker
    return Line2D([], [], linestyle="none", marker=shape, color=FAINT, markersize=size, label=one, **hollow)


def lines(axes: Axes, rug: Sequence[Strip], looks: Mapping[str, Look]) -> None:
    """Draw crashes through the curves and shade faults with a duration, if there are few of them."""
    for strip in rug:
        colour = _colour(strip, looks)
        crashes = strip.faults.filter(pl.col("kind") == "crash")["at_seconds"]
        if len(crashes) <= _LINES_MAX:
            for at in crashes:
                axes.axvline(at, color=colour, linewidth=0.8, alpha=0.6, zorder=1)
        lasting = strip.faults.filter(pl.col("kind").is_in(_LASTING))
        if lasting.height <= _SPANS_MAX:
            for start, until in lasting.select("at_seconds", "until_seconds").iter_rows():
                axes.axvspan(start, until, color=colour, alpha=0.09, linewidth=0, zorder=0)


def outages(axes: Axes, outages: Sequence[Mapping[str, Any]]) -> None:
    """Shade the channel's outages in grey."""
    for outage in outages:
        start, lasts = float(outage["at"]), float(outage["lasts"])
        axes.axvspan(start, start + lasts, color="#000000", alpha=0.08, linewidth=0)


def name_outages(axes: Axes, outages: Sequence[Mapping[str, Any]]) -> None:
    """Write a name above each outage; above the first one only if there are many."""
    for place, outage in enumerate(outages):
        start, lasts = float(outage["at"]), float(outage["lasts"])
        # Many outages leave no room for a name above each.
        if place and len(outages) > 4:
            break
        text = f"{plural(len(outages), 'outage')} shaded" if len(outages) > 4 else f"outage {configured(lasts)}"
        above, middle = axes.get_xaxis_transform(), start + lasts / 2
        axes.text(middle, 1.02, text, transform=above, ha="center", va="bottom", fontsize=7.5, color=FAINT)
