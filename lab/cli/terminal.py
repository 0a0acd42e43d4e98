"""A rich console that escapes control characters in data and ignores a closed pipe."""

from __future__ import annotations

import sys

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from lab.ending import output
from lab.formatting import printable


class _Safe:
    """A renderable whose text is escaped; the styles and movements that rich itself adds are left alone."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if segment.control:
                yield segment
            else:
                lines = segment.text.split("\n")
                yield Segment("\n".join(map(printable, lines)), segment.style)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Safe(each) for each in renderables]


class Terminal(Console):
    """A rich console on standard output, or with `stderr` on standard error."""

    def __init__(self, stderr: bool = False) -> None:
        # Square brackets and numbers in data mean nothing.
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)
        self.push_render_hook(_Hook())

    def on_broken_pipe(self) -> None:
        """Go on without a reader: the exit status is the command's own."""
        self.quiet = True
        output.give_up(sys.stderr if self.stderr else sys.stdout)
