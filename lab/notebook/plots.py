"""The figures of a run as vector graphics, each by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from lab.base import TRUTH
from lab.measure.temperatures import queries, temperatures
from lab.measure.typical import typical
from lab.notebook.fragment import grid_table
from lab.report import bars, figures
from lab.report.facts import failures, overviews, truth_asked
from lab.report.grid import query_grid
from lab.report.style import Look, look_of, looks, svg, truth_look
from lab.report.timelines import timeline
from lab.runs import Run


@dataclass(frozen=True)
class ShownFigure:
    """One figure, shown as SVG; `figure` is matplotlib's, to be changed or saved in another form."""

    figure: Figure
    name: str
    spoken: str

    @property
    def svg(self) -> str:
        """The figure as a document of its own."""
        width, height = self.figure.get_size_inches()
        found = svg(self.figure, self.name, self.spoken)
        size = f'width="{width * 72:.0f}" height="{height * 72:.0f}" xmlns="http://www.w3.org/2000/svg" '
        found = found if "xmlns=" in found.split(">", 1)[0] else found.replace("<svg ", f"<svg {size}", 1)
        # On a dark page a figure without a ground would have dark texts on it.
        return f'<div style="background:#fff;color:#222;max-width:{width * 96:.0f}px">{found}</div>'

    def _repr_html_(self) -> str:
        return self.svg


@dataclass(frozen=True)
class HtmlTable:
    """A table, shown as HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True)
class RunPlots:
    """The figures of one run; of several repetitions, what its report shows."""

    run: Run

    @property
    def _shown(self) -> Run:
        return typical(self.run)

    @property
    def _looks(self) -> Mapping[str, Look]:
        return looks(self.run.manifest["projections"])

    def lag(self) -> ShownFigure:
        """Draw the lag of each projection as a cumulative distribution; seconds."""
        with self._shown.scanned("lag") as lag:
            quantiles = figures.lag_quantiles(lag, list(self._looks))
        spoken = "Consistency lag by projection, as a cumulative distribution."
        return ShownFigure(figures.lag_ecdf(quantiles, self._looks), "lag", spoken)

    def visibility(self) -> ShownFigure:
        """Draw the probability that a change is visible within a time after its commit."""
        spoken = "Probability that a change is visible within a time after its commit, by projection."
        return ShownFigure(figures.t_visibility(self._shown.table("visibility"), self._looks), "visibility", spoken)

    def staleness(self) -> ShownFigure:
        """Draw how far each projection is behind over the run; seconds and versions."""
        outages = self.run.manifest.get("outages") or []
        drawn = figures.staleness(self._shown.table("staleness"), self._looks, outages, self._shown.table("faults"))
        return ShownFigure(drawn, "staleness", "Seconds and versions that each projection is behind over the run.")

    def rebuild(self) -> ShownFigure:
        """Draw how long a rebuild of each projection takes; seconds."""
        drawn = bars.rebuild(self._shown.table("rebuild"), self._looks)
        return ShownFigure(drawn, "rebuild", "Seconds to rebuild each projection.")

    def queries(self) -> ShownFigure:
        """Draw p50 and p99 of each query in each projection, and at the source of truth where it can answer."""
        truth = truth_asked(self._shown)
        known = dict(self._looks) | ({TRUTH: truth_look(truth.store, truth.verdict)} if truth else {})
        return ShownFigure(
            bars.queries(queries(self._shown), known), "queries", "Time of each query in each projection."
        )

    def grid(self) -> HtmlTable:
        """Return the p50 of each query in each projection as a table; × is how many times the quickest's."""
        shown = self._shown
        found = query_grid(shown, overviews(self.run))
        return HtmlTable(grid_table(found, "".join(temperatures(shown)[:1])))

    def timeline(self, projection: str, check: str | None = None) -> ShownFigure:
        """Draw a witness of a failed check of a projection: commit, messages, applies and reads, step by step.

        Without `check`, the first that failed and has steps. Raises KeyError if there is none.
        """
        failed = [
            each
            for each in failures(self.run)
            if each.projection == projection and not each.steps.is_empty() and check in (None, each.check)
        ]
        if not failed:
            drawn = sorted({each.projection for each in failures(self.run) if not each.steps.is_empty()})
            which = f"; there is one of: {', '.join(drawn)}" if drawn else ""
            raise KeyError(f"no witness with steps of `{projection}`{'' if check is None else f', {check}'}{which}")
        one = failed[0]
        steps: pl.DataFrame = one.steps
        look = look_of(self._looks, projection)
        return ShownFigure(timeline(steps, look), f"timeline-{one.key}", f"Timeline of {one.anomaly} in {projection}.")
