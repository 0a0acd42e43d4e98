"""Progress bars on standard error, and only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """One line for each step of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def step(self, name: str, total: float) -> None:
        """The step before is done; a new line."""
        self.finish()
        self._task = self._progress.add_task(name, total=total or 1.0)

    def done(self, units: float) -> None:
        """So far."""
        if self._task is not None:
            self._progress.update(self._task, completed=units)

    def finish(self) -> None:
        """The last step is done."""
        if self._task is not None:
            total = next(task.total for task in self._progress.tasks if task.id == self._task)
            self._progress.update(self._task, completed=total)


@contextmanager
def bar(console: Console) -> Iterator[Bars]:
    """Bars that are drawn while the block runs, if the console is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = Bars(progress)
        yield bars
        bars.finish()
