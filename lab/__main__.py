"""The command `lab`, and `python -m lab`: signals first, then how memory is given back, then everything else."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

# Polars' allocator leaves pages that nothing is in to the system, which takes them when it needs them; until then they
# count as this process's memory. Given back at once, what a process is seen to take is what it needs.
ALLOCATOR = ("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0")


def _stopped(number: int, _: FrameType | None) -> None:
    os.write(2, b"stopped; nothing was left behind\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line and exit."""
    if sys.platform == "win32":
        # Locks of files, limits of processes and signals are those of POSIX.
        sys.exit("error: lab needs Linux or macOS; under Windows, install and run it in WSL (wsl --install)")
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            # Loading the commands takes a moment, in which nothing has been begun.
            signal.signal(number, _stopped)
    os.environ.setdefault(*ALLOCATOR)
    from lab.cli import main as run

    run()


if __name__ == "__main__":
    main()
