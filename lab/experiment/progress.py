"""How a run tells where it is. The command line draws it; everything else keeps quiet."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each step with its size in units of its own, then how many of them are done."""

    def step(self, name: str, total: float) -> None:
        """A step begins."""

    def done(self, units: float) -> None:
        """So much of it is done."""


class Quiet:
    """Says nothing."""

    def step(self, name: str, total: float) -> None:
        """Nothing."""

    def done(self, units: float) -> None:
        """Nothing."""
