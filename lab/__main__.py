"""The command `lab`, and `python -m lab`: signals first, then everything else."""

from __future__ import annotations

import os
import signal
from types import FrameType


def _stopped(number: int, _: FrameType | None) -> None:
    os.write(2, b"stopped; nothing was left behind\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line and exit."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            # Loading the commands takes a moment, in which nothing has been begun.
            signal.signal(number, _stopped)
    from lab.cli import main as run

    run()


if __name__ == "__main__":
    main()
