"""Draw a witness as a timeline with a line each for source of truth, channel, projector and reader.

Steps are evenly spaced in their order, whether microseconds or hours lie between them; the times are written below.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lab.formatting import duration
from lab.report.style import BAD, CHARACTER_INCHES, FAINT, INK, WIDTH_INCHES, Look, blank, drawing, elided
from lab.report.words import LINES

_LEFT_INCHES, _RIGHT_INCHES, _TOP_INCHES, _LINE_INCHES = 1.2, 0.15, 0.36, 0.66
_LABEL_CHARACTERS = 16
# At 7.5 points a character is narrower than at the style's 8.5.
_SMALL_INCHES = CHARACTER_INCHES * 7.5 / 8.5
_STEP_INCHES_MIN, _STEP_INCHES_MAX = 0.3, 1.3
# Colour and shape of each mark; either identifies it.
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.4}
_WRONG: dict[str, Any] = {"marker": "D", "color": BAD, "markersize": 7.5}
_LOST = _HOLLOW | {"marker": "X", "color": BAD, "markersize": 9}
_READ = _HOLLOW | {"marker": "v", "color": INK, "markersize": 7.5}
_SENT = _HOLLOW | {"marker": "o", "color": INK, "markersize": 6}
_CHECKPOINT = _HOLLOW | {"marker": "s", "color": INK, "markersize": 6}
_MARKS = {"wrong": _WRONG, "lost": _LOST, "read": _READ}

Row = dict[str, Any]


def timeline(witness: pl.DataFrame, look: Look) -> Figure:
    """Draw the rows of one witness. Many steps make the figure wide, and the page lets it scroll."""
    rows = [row for row in witness.sort("step", maintain_order=True).to_dicts() if row["line"] in LINES]
    if not rows:
        return blank("There is nothing to draw.")
    for column, row in enumerate(rows):
        row["column"] = column
        row["label"] = elided(row["label"] or "", _LABEL_CHARACTERS)
        row["mark"] = row["mark"] or ""
    shown = [line for line in LINES if line != "reader" or any(row["line"] == "reader" for row in rows)]
    step = _step_inches(rows)
    ticks = _ticks([float(row["at_seconds"]) for row in rows])
    turned = any((b - a) * step < _width((said, more)) for (a, said), (b, more) in pairwise(ticks))
    wide = max(WIDTH_INCHES, _LEFT_INCHES + _RIGHT_INCHES + step * len(rows))
    below = 0.95 if turned else 0.6
    handles = _key(rows, look)
    many = _in_one_row(handles, wide)
    above = _TOP_INCHES + (0 if many == len(handles) else 0.2)
    tall = above + _LINE_INCHES * len(shown) + below
    with drawing():
        figure = Figure(figsize=(wide, tall))
        axes = figure.add_axes((
            _LEFT_INCHES / wide,
            below / tall,
            1 - (_LEFT_INCHES + _RIGHT_INCHES) / wide,
            _LINE_INCHES * len(shown) / tall,
        ))  # fmt: skip
        axes.set_xlim(-0.5, (wide - _LEFT_INCHES - _RIGHT_INCHES) / step - 0.5)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        places = {line: place for place, line in enumerate(shown)}
        _frame(axes, shown, rows, ticks, turned)
        passed = [row["column"] for row in rows if row["line"] == "channel"]
        for start, end, by_catch_up in _arrows(rows):
            _arrow(axes, places, start, end, by_catch_up, passed)
        for row in rows:
            _step(axes, places[row["line"]], row, look)
        figure.legend(
            handles=handles, ncols=many, frameon=False, fontsize=7.5, loc="upper left",
            bbox_to_anchor=(0.08 / wide, 1.0), handletextpad=0.5, columnspacing=1.4, borderpad=0.3,
        )  # fmt: skip
    return figure


def _in_one_row(handles: Sequence[Line2D], wide_inches: float) -> int:
    """Return how many entries the key has in a row: all, or half if they don't fit."""
    needed = sum(0.45 + len(str(handle.get_label())) * _SMALL_INCHES for handle in handles)
    return max(1, len(handles) if needed < wide_inches - 0.2 else (len(handles) + 1) // 2)


def _width(texts: Sequence[str]) -> float:
    """Return the distance of two neighbouring texts at which they don't touch, in inches."""
    return sum(len(text) for text in texts) / 2 * _SMALL_INCHES + 0.09


def _step_inches(rows: Sequence[Row]) -> float:
    """Return the distance between steps in inches: labels don't touch, and few steps fill the whole width."""
    needed = _STEP_INCHES_MIN
    for line in LINES:
        on_it = [row for row in rows if row["line"] == line]
        for left, right in pairwise(on_it):
            needed = max(needed, _width((left["label"], right["label"])) / (right["column"] - left["column"]))
    # A label at either end must not be cut off.
    needed = max(needed, _width((rows[0]["label"],) * 2), _width((rows[-1]["label"],) * 2))
    return max(needed, min((WIDTH_INCHES - _LEFT_INCHES - _RIGHT_INCHES) / len(rows), _STEP_INCHES_MAX))


def _ticks(times: Sequence[float]) -> list[tuple[float, str]]:
    """Return the middle and the label of each group of steps at one time; `+` is relative to the label on the left."""
    ticks: list[tuple[float, str]] = []
    before: float | None = None
    for at, group in groupby(range(len(times)), key=lambda column: times[column]):
        columns = list(group)
        close = before is not None and 0 < at - before < 0.01 * at
        said = f"+{duration(at - before)}" if close and before is not None else duration(at)
        ticks.append(((columns[0] + columns[-1]) / 2, said))
        before = at
    return ticks


def _frame(axes: Axes, shown: list[str], rows: list[Row], ticks: list[tuple[float, str]], turned: bool) -> None:
    """Draw the lines with their names and the times below; a bar connects steps at the same time."""
    for place in range(len(shown)):
        axes.axhline(place, color="#bbbbbb", linewidth=1.0, zorder=1)
    axes.set_yticks(range(len(shown)), [LINES[line] for line in shown])
    axes.tick_params(axis="both", length=0)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xticks([middle for middle, _ in ticks], [said for _, said in ticks], fontsize=7.5)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    for _, group in groupby(rows, key=lambda row: row["at_seconds"]):
        columns = [row["column"] for row in group]
        ends = [columns[0] - 0.25, columns[-1] + 0.25]
        axes.plot(ends, [0, 0], color="#999999", linewidth=1.2, transform=axes.get_xaxis_transform(), clip_on=False)
    relative = "; + counts from the time to its left" if any(said.startswith("+") for _, said in ticks) else ""
    figure = axes.get_figure(root=True)
    assert figure is not None
    where = (_LEFT_INCHES / figure.get_figwidth(), 0.08 / figure.get_figheight())
    figure.text(*where, f"simulated time (in order, evenly spaced{relative})", fontsize=8.5, va="bottom")


def _arrows(rows: list[Row]) -> list[tuple[Row, Row, bool]]:
    """Draw arrows from the commit over the channel to the projector; directly for catch-up."""
    found: list[tuple[Row, Row, bool]] = []
    for row in rows:
        # A message that the channel lost has a commit and no delivery.
        if row["line"] not in ("channel", "projector") or (row["line"] == "projector" and row["delivery"] is None):
            continue
        earlier = [other for other in rows if other["delivery"] == row["delivery"] and other["line"] == "channel"]
        if row["line"] == "projector" and earlier:
            found.append((earlier[-1], row, False))
        elif (commit := _commit(rows, row)) is not None:
            found.append((commit, row, row["line"] == "projector"))
    return found


def _commit(rows: list[Row], row: Row) -> Row | None:
    """Return the last step of this change at the source of truth before its delivery."""
    same = [other for other in rows if other["line"] == "source" and other["position"] == row["position"]]
    before = [other for other in same if other["column"] < row["column"]]
    return before[-1] if before else None


def _arrow(axes: Axes, places: dict[str, int], start: Row, end: Row, by_catch_up: bool, passed: Sequence[int]) -> None:
    bad = end["mark"] in ("wrong", "lost")
    # An arrow of catch-up is bent around messages on the channel's line.
    middle = (start["column"] + end["column"]) / 2
    round_it = by_catch_up and any(abs(column - middle) < 0.5 for column in passed)
    axes.annotate(
        "",
        (end["column"], places[end["line"]]),
        (start["column"], places[start["line"]]),
        arrowprops={
            "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
            "color": BAD if bad else FAINT,
            "linewidth": 1.3 if bad else 1.0,
            "linestyle": (0, (4, 2.2)) if by_catch_up else "solid",
            "connectionstyle": f"arc3,rad={-0.16 if round_it else 0}",
            "shrinkA": 4.5,
            "shrinkB": 5.5,
        },
        zorder=2,
    )


def _style(row: Row, look: Look) -> dict[str, Any]:
    if row["line"] == "projector" and row["mark"] in ("", "fault"):
        # A step that a crash interrupted is hollow.
        inside = "white" if row["mark"] else look.colour
        return _HOLLOW | {"marker": "o", "color": look.colour, "markersize": 7, "markerfacecolor": inside}
    if row["line"] == "projector" and row["mark"] == "read":
        return _CHECKPOINT
    if row["mark"] in _MARKS:
        return _MARKS[row["mark"]]
    if row["line"] == "reader":
        return _READ
    return _SENT if row["line"] == "channel" else {"marker": "o", "color": INK, "markersize": 7}


def _is_bar(row: Row) -> bool:
    """Return whether the step is a fault by itself, and not a delivery with a fault."""
    return bool(row["mark"] == "fault") and row["delivery"] is None


def _step(axes: Axes, place: int, row: Row, look: Look) -> None:
    """Draw one step's mark, and its label on the side with fewer arrows. A fault is a bar across its line."""
    x = row["column"]
    if _is_bar(row):
        axes.plot([x, x], [place - 0.3, place + 0.22], color=INK, linewidth=4, solid_capstyle="butt", zorder=4)
    else:
        axes.plot([x], [place], linestyle="none", zorder=4, **_style(row, look))
    bad = row["mark"] in ("wrong", "lost")
    below = row["line"] in ("projector", "reader")
    axes.annotate(
        row["label"],
        (x, place),
        xytext=(0, -7.5 if below else 7.5),
        textcoords="offset points",
        ha="center",
        va="top" if below else "bottom",
        fontsize=7.5,
        weight="bold" if bad else "normal",
        color=BAD if bad else INK,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        zorder=5,
    )


def _key(rows: list[Row], look: Look) -> list[Line2D]:
    """Explain the marks that occur."""
    arrows = _arrows(rows)
    name = elided(look.name, 24)
    said = {
        ("projector", ""): f"handed to {name}",
        ("projector", "fault"): "cut off by a fault",
        ("projector", "read"): "checkpoint",
        ("reader", "read"): "read",
    }
    found: dict[str, Line2D] = {}
    for row in rows:
        text = {"wrong": "where it goes wrong", "lost": "lost"}.get(row["mark"]) or said.get((row["line"], row["mark"]))
        style = _style(row, look)
        if _is_bar(row):
            text, style = "fault", {"marker": "|", "markersize": 10, "markeredgewidth": 3.5, "color": INK}
        if text and text not in found:
            found[text] = Line2D([], [], linestyle="none", label=text, **style)
    if any(not by_catch_up for *_, by_catch_up in arrows):
        found["message"] = Line2D([], [], color=FAINT, linewidth=1.0, label="by message")
    if any(by_catch_up for *_, by_catch_up in arrows):
        found["catch-up"] = Line2D([], [], color=FAINT, linewidth=1.0, linestyle=(0, (4, 2.2)), label="by catch-up")
    return list(found.values())
