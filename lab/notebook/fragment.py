"""A run as a piece of HTML for the output of a cell: verdict, grid, lag, and how it is run again."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from lab.formatting import microseconds
from lab.measure.temperatures import temperatures
from lab.measure.typical import typical
from lab.report.caveats import caveats
from lab.report.facts import Overview, headline, overviews
from lab.report.grid import GridCell, QueryGrid, query_grid
from lab.report.words import MARKS
from lab.runs import Run

# Readable on a light and on a dark page: colours are the page's own, but for the verdicts'.
_CELL = "padding:2px 10px 2px 0;text-align:left;white-space:nowrap"
_NUMBER = "padding:2px 10px 2px 0;text-align:right;white-space:nowrap"
_COLOURS = {"pass": "#1b7f3b", "fail": "#c0392b", "unknown": "#9a6700"}


def fragment(run: Run) -> str:
    """Return a run as HTML without anything loaded from outside; all data in it is escaped."""
    shown, found = typical(run), overviews(run)
    verdict = str(run.manifest["verdict"])
    parts = [Markup("<p><b>{}</b>: {}</p>").format(_verdict(verdict.upper(), verdict), headline(shown))]
    parts += [Markup("<p>! {}</p>").format(text) for text in caveats(shown)]
    grid = query_grid(shown, found)
    if grid.rows:
        parts.append(Markup(grid_table(grid, "".join(temperatures(shown)[:1]))))
    parts += [_lags(found), Markup("<p><small>replay: <code>{}</code></small></p>").format(run.manifest["replay"])]
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def grid_table(grid: QueryGrid, temperature: str) -> str:
    """Return the grid of query times as an HTML table."""
    heads = Markup("").join(Markup('<th style="{}">{}</th>').format(_NUMBER, name) for name in grid.queries)
    rows = Markup("").join(
        Markup('<tr><td style="{}">{} <small>{}</small></td>{}</tr>').format(
            _CELL, name, grid.stores.get(name, ""), Markup("").join(map(_cell, cells))
        )
        for name, cells in grid.rows.items()
    )
    notes = Markup("").join(Markup("<br>{}: {}").format(number, note) for number, note in enumerate(grid.notes, 1))
    head = Markup('<tr><th style="{}">p50{}</th>{}</tr>').format(_CELL, f", {temperature}" * bool(temperature), heads)
    return str(
        Markup(
            "<table>{}{}</table><p><small>× how many times the quickest's; the quickest is bold{}</small></p>"
        ).format(head, rows, notes)
    )


def _cell(one: GridCell) -> Markup:
    if one.wrong:
        said = _verdict("wrong", "fail")
    elif one.p50_us is None:
        said = Markup("{}<sup>{}</sup>").format(one.lack if one.note else "–", one.note or "")
    else:
        time = Markup("<b>{}</b>") if one.best else Markup("{}")
        said = Markup('<span title="{}">{} {}</span>').format(
            one.between, time.format(microseconds(one.p50_us)), one.times
        )
    return Markup('<td style="{}">{}</td>').format(_NUMBER, said)


def _lags(found: list[Overview]) -> Markup:
    heads = _row("th", ("projection", "verdict", "lag p50", "lag p99"))
    rows = Markup("").join(
        _row("td", (each.name, _verdict(each.verdict, each.verdict, each.odd), each.waited("p50"), each.waited("p99")))
        for each in found
    )
    return Markup("<table>{}{}</table>").format(heads, rows)


def _row(tag: str, cells: Sequence[str]) -> Markup:
    """A row of two texts and two numbers."""
    styled = zip(cells, (_CELL, _CELL, _NUMBER, _NUMBER), strict=True)
    inner = Markup("").join(Markup('<{0} style="{1}">{2}</{0}>').format(tag, style, cell) for cell, style in styled)
    return Markup("<tr>{}</tr>").format(inner)


def _verdict(said: str, verdict: str, odd: str = "") -> Markup:
    colour = _COLOURS.get(verdict, _COLOURS["unknown"])
    mark = MARKS.get(verdict, "?")
    return Markup('<span style="color:{}">{} {}</span>{}').format(colour, mark, said, f", {odd}" if odd else escape(""))
