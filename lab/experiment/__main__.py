"""`python -m lab.experiment FOLDER DESCRIPTOR`: one repetition on the simulated clock, as a process of its own."""

from __future__ import annotations

from lab import ending
from lab.experiment.once import run_once
from lab.experiment.process import repetition


def main() -> None:
    """Run the repetition."""
    repetition(run_once)


if __name__ == "__main__":
    ending.run(main)
