"""Progress bars with the time that is left, if standard error is a terminal; and where a run is told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from lab.ending import stopping
from lab.formatting import printable


class TimeLeft(TimeRemainingColumn):
    """How long the step will still take, as far as that is known; blank once it is done."""

    def render(self, task: Task) -> Text:
        """Return the time in words."""
        if task.finished or task.time_remaining is None:
            return Text("")
        return Text.assemble(super().render(task), " left", style="progress.remaining")


class Bars:
    """A `Progress` that draws a line for each step of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def step(self, name: str, total: float) -> None:
        """Complete the bar of the step before, and begin a new line with `size` units."""
        stopping.check()
        self.finish()
        self._task = self._progress.add_task(name, total=total or 1.0)

    def done(self, units: float) -> None:
        """Set the number of units that are done in the current step."""
        stopping.check()
        if self._task is not None:
            self._progress.update(self._task, completed=units)

    def say(self, warning: str) -> None:
        """Print a line above the bars, also where none are drawn."""
        self._progress.console.print(Text(printable(warning)), soft_wrap=True)

    def finish(self) -> None:
        """Complete the bar of the last step."""
        if self._task is not None:
            total = next(task.total for task in self._progress.tasks if task.id == self._task)
            self._progress.update(self._task, completed=total)


@contextmanager
def bar(console: Console) -> Iterator[Bars]:
    """Draw bars while the block runs, if the console is a terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), TimeLeft())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = Bars(progress)
        yield bars
        bars.finish()
