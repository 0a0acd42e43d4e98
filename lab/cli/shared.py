"""Shared by all commands: options, error messages, JSON output and exit statuses."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.ending import INTERNAL, at_work_in, complain, last, output, stopping, told
from lab.errors import BadInput, Problem

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal
    from lab.progress import Bars
    from lab.runs import Run

EXIT = {"pass": 0, "fail": 1, "unknown": 3}
RUNS = Path("runs")

# Set in the context of a command once it has printed its document: there is never a second.
_PRINTED = "lab.printed"

Function = Callable[..., Any]


def common(function: Function) -> Function:
    """Add the options that every command has, report errors as messages, and exit with the status that it returns."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error; or the variable LAB_DEBUG."),
        click.option("--seed", type=click.IntRange(min=0), help="Another seed than the scenario's."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any key of the scenario."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else."),
    ):
        function = option(function)

    @functools.wraps(function)
    def wrapped(*args: Any, debug: bool, **kwargs: Any) -> None:
        stopping.begin()
        with _debugging(debug):
            try:
                status = function(*args, **kwargs) or 0
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # An engine that was interrupted raises an error of its own.
                if stopping.received() is not None:
                    raise KeyboardInterrupt from error
                printed = _PRINTED in click.get_current_context().meta
                status = complain(error, kwargs.get("as_json", False) and not printed)
            # What is printed may fail as late as this, and is told with a traceback too.
            status = last.flushed(status)
        sys.exit(status)

    return wrapped


@contextmanager
def _debugging(debug: bool) -> Iterator[None]:
    """Set the variable LAB_DEBUG while the block runs, if so asked: child processes show their tracebacks, too."""
    former = os.environ.get("LAB_DEBUG")
    if debug:
        os.environ["LAB_DEBUG"] = "1"
    try:
        yield
    finally:
        if debug and former is None:
            del os.environ["LAB_DEBUG"]
        elif debug and former is not None:
            os.environ["LAB_DEBUG"] = former


class FiniteFloat(click.FloatRange):
    """A number in a range; without an upper end, infinity is refused too, and NaN always."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises click.BadParameter."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


def print_json(data: Any) -> None:
    text = last.document(data) + "\n"
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta[_PRINTED] = True
    with at_work_in("standard output"):
        output.send(text)


def answer(as_json: bool, data: Callable[[], Any], text: Callable[[Terminal], None]) -> None:
    """Print a command's result: its JSON document, or what `text` prints."""
    if as_json:
        print_json(data())
        return
    with at_work_in("standard output"):
        from lab.cli.terminal import Terminal

        text(Terminal())


def progress_bar() -> AbstractContextManager[Bars]:
    """Show how far a command has come on standard error."""
    from lab.cli.terminal import Terminal
    from lab.progress import bar

    return bar(Terminal(stderr=True))


def printing_apart(as_json: bool) -> AbstractContextManager[Any]:
    """With `as_json`, send what domains, stores and projectors print to standard error while the block runs."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


JUNIT = click.Path(dir_okay=False, path_type=Path)


def junit_place(path: Path | None, option: str = "--junit") -> None:
    """Refuse a file of JUnit XML, or of another option, whose folder isn't there, before anything runs."""
    if path is not None and not path.absolute().parent.is_dir():
        what = f"the folder {path.parent} isn't there, so {path.name} can't be written"
        raise BadInput([Problem(option, what, "name a file in a folder that exists")])


def status(run: Run) -> int:
    """Return the exit status of a finished run: verdicts go first, then what is refuted, unknown, inconclusive."""
    verdict, claims = run.manifest["verdict"], run.manifest.get("claims") or {}
    if verdict == "fail" or claims.get("refuted"):
        return EXIT["fail"]
    return EXIT["unknown"] if verdict == "unknown" or claims.get("inconclusive") else EXIT["pass"]


def unreported(run: Run) -> int:
    """Say why a finished run has no report, if it has none, and return the exit status for that; else 0."""
    if run.unreported is None:
        return 0
    way_out = f"the run is kept; write it later: lab report {run.path}"
    problems = [f"{item.where}: {item.what}; {way_out}" for item in told(run.unreported)]
    complain(run.unreported, problems=[Problem("report.html", text) for text in problems])
    return INTERNAL


def planned(scenario: str, overrides: Sequence[str], seed: int | None) -> Any:
    from lab.scenario import Source
    from lab.shipped import scenario_file
    from lab.wiring import plan

    return plan(Source(scenario_file(scenario), overrides, seed))


def no_scenario(overrides: Sequence[str], seed: int | None) -> None:
    """Refuse `--set` and `--seed` for a command that has no scenario, rather than ignore them."""
    if overrides or seed is not None:
        raise BadInput([Problem("--set, --seed", "there is no scenario here to set them in", "give them to `lab run`")])


def repeated(scenario: str, overrides: Sequence[str], seed: int | None) -> list[str]:
    """Return the arguments with which a child process plans the same scenario."""
    from lab.shipped import scenario_file

    arguments = [str(scenario_file(scenario)), *(part for item in overrides for part in ("--set", item))]
    return arguments + ([] if seed is None else ["--seed", str(seed)])
