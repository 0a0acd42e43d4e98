"""The protocol by which a run reports its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives each step of a run with its size, then how much of it is done."""

    def step(self, name: str, total: float) -> None:
        """Begin a step of `size` units."""

    def done(self, units: float) -> None:
        """Report how many units of the current step are done."""


class Quiet:
    """A `Progress` that ignores everything."""

    def step(self, name: str, total: float) -> None:
        """Ignore it."""

    def done(self, units: float) -> None:
        """Ignore it."""
