"""Results that show themselves in a notebook, as text anywhere else."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import escape
from rich.console import Console

from lab.advice import Advice
from lab.kit.check import Result
from lab.notebook.fragment import fragment
from lab.notebook.plots import RunPlots
from lab.report.facts import failures
from lab.runs import Run
from lab.tables import TABLES

WIDTH = 110


def printed(print_into: Callable[[Console], None]) -> str:
    """Return what a function prints, as plain text of 110 columns."""
    console = Console(file=io.StringIO(), width=WIDTH, no_color=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        print_into(console)
    return captured.get().rstrip()


class ShownText:
    """A result that is shown as the text that the command prints."""

    def text(self) -> str:
        """Return what the command prints."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return f'<pre style="line-height:1.3">{escape(self.text())}</pre>'


@dataclass(frozen=True, repr=False)
class ShownComparison(ShownText):
    """What differs between two runs; `document` has it in JSON types."""

    document: Mapping[str, Any]

    def text(self) -> str:
        """Return what `lab compare` prints."""
        from lab.report import print_compare

        return printed(lambda console: print_compare(dict(self.document), console))


@dataclass(frozen=True, repr=False)
class ShownAdvice(ShownText):
    """Which projections to keep; `advice` has every figure, `run` is what it was worked out from."""

    advice: Advice
    run: Run

    def text(self) -> str:
        """Return what `lab advise` prints."""
        from lab.report.advice import print_advice

        return printed(lambda console: print_advice(self.advice, console))

    def record(self) -> str:
        """Return the decision record (ADR) in Markdown."""
        from lab.report.advice import record

        return record(self.advice, self.run)


@dataclass(frozen=True, repr=False)
class ShownCheck(ShownText):
    """The verdicts on a projector of your own; `result` has them with their witnesses."""

    result: Result

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `unknown`."""
        return self.result.verdict

    def text(self) -> str:
        """Return what `lab check` prints."""
        return self.result.text()


@dataclass(frozen=True, repr=False)
class ShownRun(Run):
    """A finished run with its tables (`run.lag`, `run.queries`), its figures (`run.plot.lag()`), its witnesses."""

    @classmethod
    def of(cls, run: Run) -> ShownRun:
        """Take a run of `lab.runs`."""
        return cls(run.path, run.unreported, run.alone)

    @property
    def verdict(self) -> str:
        """The verdict on all projections: `pass`, `fail` or `unknown`."""
        return str(self.manifest["verdict"])

    @property
    def plot(self) -> RunPlots:
        """The figures: `lag`, `grid`, `queries`, `staleness`, `rebuild`, `timeline`."""
        return RunPlots(self)

    def explain(self, projection: str) -> str:
        """Return what each failed check of a projection saw: its witness, step by step; or that nothing failed.

        Raises KeyError for a projection that the run doesn't have.
        """
        names = [str(entry["name"]) for entry in self.manifest["projections"]]
        if projection not in names:
            raise KeyError(f"no projection `{projection}`: {', '.join(names)}")
        told = [
            f"{each.check}: {each.anomaly}\n{each.explanation}\n{each.witness}".rstrip()
            for each in failures(self)
            if each.projection == projection
        ]
        return "\n\n".join(told) if told else f"{projection}: no check failed"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in TABLES if self.has(name))})

    def __repr__(self) -> str:
        from lab.report import print_run

        return printed(lambda console: print_run(self, console))

    def _repr_html_(self) -> str:
        return fragment(self)
