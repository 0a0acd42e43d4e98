"""A process that stops another for a while (SIGSTOP), and sets it going again also if the run is killed meanwhile.

It is started with the process's id and the seconds, needs nothing but the standard library, and says so once the other
is stopped. Its standard input is a pipe from the run: it ends with the run, and the stop does so, too.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def main(pid: int, seconds: float) -> None:
    """Stop the process for so many seconds, or until standard input ends."""
    os.kill(pid, signal.SIGSTOP)
    try:
        print("stopped", flush=True)
        select.select([sys.stdin], [], [], seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
