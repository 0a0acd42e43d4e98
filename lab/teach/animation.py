"""Animate changes on their way: commits above, arrivals below, and beside it what two projections show.

Crossing lines are messages that overtake each other. A guarded projection never goes back to an older revision; an
unguarded one does, and these cells are marked.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.report.style import BAD, FAINT, GRID, INK, WIDTH_INCHES, drawing
from lab.teach.ride import Ride, Shown
from lab.teach.widgets import explore, film

LETTERS = "ABCDEFGH"
TITLES = {"revision": "guard: revision", "none": "no guard", "dedupe": "guard: dedupe", "ordered": "guard: ordered"}
_ROW_INCHES = 2.35
_LOST_AT = 0.55


def animate(taken: Ride, steps: int = 40) -> None:
    """Show a slider through time with a button that plays it, at its beginning; without widgets, two moments.

    How it ends is shown by `moments(taken, taken.end)`, once the reader has predicted it.
    """
    times = [taken.end * (step + 1) / steps for step in range(steps)]
    on_the_way = [taken.end * part for part in (0.3, 0.6)]
    explore(
        lambda moment: (moments(taken, times[moment]), _said(taken, times[moment])),
        still=lambda: (moments(taken, *on_the_way), _said(taken, on_the_way[-1])),
        moment=film(0, 0, steps - 1, said="moment"),
    )


def _said(taken: Ride, at: float) -> str:
    wrong = {
        guard: sum(taken.at(guard, at).get(key) != state for key, state in taken.truth_at(at).items())
        for guard in taken.shown
    }
    told = " and ".join(f"{count} with {TITLES[guard]}" for guard, count in wrong.items())
    return f"At {at:.2f} s, of {len(taken.truth_at(at))} records are not as at the source of truth: {told}."


def moments(taken: Ride, *times: float) -> Figure:
    """Draw a row for each moment (in simulated seconds): the messages so far, and what each projection shows."""
    with drawing():
        figure = Figure(figsize=(WIDTH_INCHES, _ROW_INCHES * len(times) + 0.15))
        grid = figure.subplots(len(times), 2, squeeze=False, width_ratios=[1.75, 1])
        figure.subplots_adjust(
            left=0.075, right=0.99, bottom=0.5 / figure.get_figheight(), top=0.985, wspace=0.03, hspace=0.22
        )
        for (left, right), at in zip(grid, times, strict=True):
            _messages(left, taken, at)
            _states(right, taken, at)
        for left, _ in grid[:-1]:
            left.set_xticklabels([])
        grid[-1][0].set_xlabel("simulated time (seconds)")
    return figure


def _messages(axes: Axes, taken: Ride, at: float) -> None:
    names = _names(taken)
    for row in taken.journal.iter_rows(named=True):
        sent, arrives = row["sent_at"], row["arrives_at"]
        if sent > at:
            continue
        late = row["overtaken"]
        style: dict[str, Any] = {"color": BAD if late else "#8c8c8c", "linewidth": 1.6 if late else 1.0}
        line = "dashed" if row["copy"] else "solid"
        if arrives is None:
            axes.plot([sent, sent + 0.08], [1, 1 - _LOST_AT], linestyle=line, **style)
            axes.plot([sent + 0.08], [1 - _LOST_AT], "x", color=BAD, markersize=6, markeredgewidth=1.6)
            continue
        part = min(1.0, (at - sent) / (arrives - sent)) if arrives > sent else 1.0
        axes.plot([sent, sent + part * (arrives - sent)], [1, 1 - part], linestyle=line, **style)
        axes.plot([sent + part * (arrives - sent)], [1 - part], "o", markersize=3.5, color=style["color"])
    for place, row in enumerate(taken.changes.iter_rows(named=True)):
        if row["committed_at"] <= at:
            label = f"{names[row['key']]}{row['revision']}{'†' if row['deleted'] else ''}"
            y = 1.1 + 0.16 * (place % 2)
            axes.text(row["committed_at"], y, label, ha="center", va="bottom", fontsize=7.5)
            axes.plot([row["committed_at"]], [1], "o", color=INK, markersize=4.5)
    axes.axvline(at, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.set_yticks([1, 0], ["commit", "arrival"])
    axes.set_ylim(-0.12, 1.5)
    axes.set_xlim(0, taken.end * 1.03)
    axes.grid(visible=False, axis="x")


def _states(axes: Axes, taken: Ride, at: float) -> None:
    """Draw a cell for each record in the source of truth and in each projection."""
    names = _names(taken)
    right = taken.truth_at(at)
    columns: list[tuple[str, Shown, Shown]] = [("source\nof truth", right, {})]
    for guard in taken.shown:
        columns.append((TITLES[guard].replace(" ", "\n"), taken.at(guard, at), right))
    axes.set_xlim(0, len(columns) + 0.6)
    axes.set_ylim(len(names) + 0.05, -1.0)
    axes.axis("off")
    for x, (title, shown, truth) in enumerate(columns):
        axes.text(x + 1.05, -0.5, title, ha="center", va="center", fontsize=7.5, color=INK)
        for y, (key, name) in enumerate(names.items()):
            if x == 0:
                axes.text(0.42, y + 0.5, name, ha="right", va="center", fontsize=9, fontweight="bold")
            _cell(axes, x + 0.6, y, shown.get(key), truth.get(key), _best(taken, columns, x, key, at))


def _best(taken: Ride, columns: list[tuple[str, Shown, Shown]], x: int, key: int, at: float) -> int:
    """Return the highest revision that this projection has shown so far."""
    if x == 0:
        return 0
    steps = zip(taken.shown[list(taken.shown)[x - 1]][1:], taken.times, strict=True)
    return max((state[key][0] for state, time in steps if time <= at and key in state), default=0)


def _cell(
    axes: Axes, x: float, y: int, shown: tuple[int, bool] | None, truth: tuple[int, bool] | None, best: int
) -> None:
    """Draw a cell: white if it equals the source of truth, grey if behind, vermilion if back at an older revision."""
    back = shown is not None and shown[0] < best
    behind = truth is not None and shown != truth
    face, ink = (BAD, "white") if back else ("#d9d9d9", INK) if behind else ("white", INK)
    text = "–" if shown is None else f"{shown[0]}" + ("" if shown[1] else "†")
    xs, ys = [x + 0.03, x + 0.9, x + 0.9, x + 0.03], [y + 0.08, y + 0.08, y + 0.92, y + 0.92]
    axes.fill(xs, ys, facecolor=face, edgecolor=GRID)
    weight = "bold" if back else "normal"
    axes.text(x + 0.465, y + 0.5, text, ha="center", va="center", fontsize=9, color=ink, fontweight=weight)


def _names(taken: Ride) -> dict[int, str]:
    keys = taken.changes["key"].unique(maintain_order=True).to_list()
    return {key: LETTERS[place % len(LETTERS)] for place, key in enumerate(sorted(keys))}
