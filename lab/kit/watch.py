"""Where a check is, for a parent process that watches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.base import BadInput


@dataclass
class TrialWatch:
    """Where a check is, for a parent process that watches it.

    `apart`: the check has a process of its own, in which a KeyboardInterrupt comes from the projector alone.
    """

    tell: Callable[[str, int, int], None] | None = None
    apart: bool = False
    prop: str = ""
    number: int = 0
    _dead: list[BaseException] = field(default_factory=list)

    def step(self, number: int) -> None:
        """Report that a step begins."""
        if self.tell is not None:
            self.tell(self.prop, self.number, number)

    def thread_died(self, args: threading.ExceptHookArgs) -> None:
        """Note what ended a thread of the projector: the hook of `threading`."""
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._dead.append(args.exc_value)

    def confirm(self) -> None:
        """Raise what has ended a thread of the projector."""
        if self._dead:
            raise self._dead.pop()

    def passes(self, error: BaseException) -> bool:
        """Return whether an exception is not the projector's crash: a mistake to tell, or the user's Ctrl-C."""
        return isinstance(error, BadInput) or (isinstance(error, KeyboardInterrupt) and not self.apart)


WATCH = TrialWatch()
