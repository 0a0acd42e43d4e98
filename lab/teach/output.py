"""Show results in a cell: sentences, claims that must hold, tables, and figures as pictures.

Without IPython the plain text is printed, so the same lines work in a plain interpreter.
"""

from __future__ import annotations

import io
import sys
from html import escape
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from PIL import Image

from lab.base import BadInput
from lab.claims import REFUTED, VERIFIED, Names, judge, wrong
from lab.claims.telling import sides
from lab.formatting import number
from lab.measure.figures import figures
from lab.report.style import drawing
from lab.runs import Run
from lab.scenario import ClaimTable

DPI = 96
COLOURS = 160


class ClaimFailed(AssertionError):
    """A claim of the course does not hold in this run."""


def say(text: str) -> None:
    """Show Markdown text. Numbers in it are computed from the run, never typed."""
    display({"text/markdown": text, "text/plain": text})


def claim(text: str, holds: bool | str, run: Run | None = None) -> None:
    """Show a statement with a tick if it holds; raise ClaimFailed otherwise.

    For figures that a run measured, `holds` is a claim as a scenario makes it, `"lag_p50(a) < 0.5 * lag_p50(b)"`, and
    is judged by its interval: what the run is too short to tell is shown with a question mark and the reason. Raises
    BadInput for a claim that can't be read, or that names what the run doesn't have.
    """
    if isinstance(holds, str):
        assert run is not None, "a claim about figures needs the run that has them"
        mark, told = _judged(text, holds, run)
        display({"text/markdown": f"{mark} *{text}*: {told}", "text/plain": f"{mark} {text}: {told}"})
        return
    if not holds:
        raise ClaimFailed(f"not so: {text}")
    display({"text/markdown": f"✓ *{text}*", "text/plain": f"✓ {text}"})


def _judged(text: str, that: str, run: Run) -> tuple[str, str]:
    """The mark of a claim about figures, and what its two sides came to."""
    if problems := wrong(that, Names.of(run), f"claim `{that}`"):
        raise BadInput(problems)
    (row,) = judge([ClaimTable(that=that)], run, figures).to_dicts()
    if row["verdict"] == REFUTED:
        raise ClaimFailed(": ".join(filter(None, ("not so", text, that, sides(row), row["reason"]))))
    if row["verdict"] == VERIFIED:
        return "✓", sides(row)
    return "?", f"not certain: {row['reason']}"


def table(frame: pl.DataFrame, **named: str) -> None:
    """Show a frame as a table with numbers of three digits; `named` renames columns."""
    heads = [named.get(name, name.replace("_", " ")) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.iter_rows()]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    style = ['style="text-align:right"' if at_right else 'style="text-align:left"' for at_right in right]
    html = ["<table><thead><tr>", *(f"<th {s}>{escape(h)}</th>" for h, s in zip(heads, style, strict=True))]
    html.append("</tr></thead><tbody>")
    for row in rows:
        cells = "".join(f"<td {s}>{escape(cell)}</td>" for cell, s in zip(row, style, strict=True))
        html.append(f"<tr>{cells}</tr>")
    html.append("</tbody></table>")
    plain = "\n".join("  ".join(cells) for cells in [heads, *rows])
    display({"text/html": "".join(html), "text/plain": plain})


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG in the style of the report."""
    out = io.BytesIO()
    with drawing():
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    # A drawing has few colours, so a palette makes it a third as large without a visible difference.
    small = io.BytesIO()
    drawn = Image.open(out).convert("RGB")
    drawn.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def show(figure: Figure, spoken: str = "") -> None:
    """Show a figure; `spoken` is its alternative text."""
    display({"image/png": png(figure), "text/plain": spoken or "a figure"})


def picture(data: bytes, spoken: str = "a figure") -> dict[str, Any]:
    """Return a picture as a bundle for `display`."""
    return {"image/png": data, "text/plain": spoken}


def display(bundle: dict[str, Any]) -> None:
    """Display a bundle in the notebook, or print its plain text outside of one."""
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython
        from IPython.display import display as publish

        if get_ipython() is not None:
            publish(bundle, raw=True)
            return
    print(bundle["text/plain"])
