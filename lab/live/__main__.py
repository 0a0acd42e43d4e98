"""`python -m lab.live FOLDER DESCRIPTOR`: one repetition of a live run, as a process of its own."""

from __future__ import annotations

from lab import ending
from lab.experiment.process import repetition
from lab.live.once import run_once


def main() -> None:
    """Run the repetition."""
    repetition(run_once)


if __name__ == "__main__":
    ending.run(main)
