"""The protocol by which a run reports its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives each step of a run with its size, then how much of it is done."""

    def step(self, name: str, total: float) -> None:
        """Begin a step of `size` units."""

    def done(self, units: float) -> None:
        """Report how many units of the current step are done."""

    def say(self, warning: str) -> None:
        """Tell the user something before the run goes on."""


class Quiet:
    """A `Progress` that ignores everything."""

    def step(self, name: str, total: float) -> None:
        """Ignore it."""

    def done(self, units: float) -> None:
        """Ignore it."""

    def say(self, warning: str) -> None:
        """Ignore it."""


class Stretch:
    """A part of a step: `size` units from `first` on, reported as the share of it that is done, from 0 to 1."""

    def __init__(self, progress: Progress, first: float, size: float) -> None:
        self._progress, self._first, self._size = progress, first, size

    def done(self, share: float) -> None:
        """Report the share of this part that is done."""
        self._progress.done(self._first + self._size * min(share, 1.0))

    def part(self, low: float, high: float) -> Stretch:
        """Return the part of it from one share to another."""
        return Stretch(self._progress, self._first + self._size * low, self._size * (high - low))
