"""The process of one repetition: it runs the job that it finds in a folder, and leaves a run there, or an error.

Lines of JSON into a file descriptor tell how far it is; the standard streams are left to what domains, stores and
projectors print. It ends when its standard input does, so it ends with the process that started it, even if that is
killed. An error is left in the folder, in words.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from lab import ending
from lab.ending.failures import status_of, told
from lab.ending.last import debugging
from lab.experiment.progress import Progress
from lab.experiment.repetition import FAILURE, RepetitionJob
from lab.scenario import Source
from lab.wiring import Plan, plan

# Seconds between two lines that say how much of a step is done.
_OFTEN = 0.1


class _Lines:
    """A `Progress` that writes lines of JSON into a descriptor: a step with its size, how much is done, a warning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._said = 0.0

    def step(self, name: str, total: float) -> None:
        self._say({"step": name, "total": total})

    def done(self, units: float) -> None:
        ending.stopping.check()
        if time.monotonic() - self._said > _OFTEN:
            self._say({"done": units})

    def say(self, warning: str) -> None:
        self._say({"say": warning})

    def _say(self, line: dict[str, object]) -> None:
        ending.stopping.check()
        self._said = time.monotonic()
        # So short a line is written as a whole, or not at all.
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


def _end_with_parent() -> None:
    """Ask this process to stop once the other end of its standard input is closed."""
    # Not through `sys.stdin`, whose lock the interpreter needs when it ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def repetition(run_once: Callable[[Plan, Path, str, Progress], None]) -> None:
    """Run the job of the folder that is named first on the command line; lines go to the descriptor named second."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    folder, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    try:
        job = RepetitionJob.read(folder)
        made = plan(Source(Path(job.path), job.overrides, job.seed, job.text))
        run_once(made, folder, job.name, _Lines(descriptor))
    except Exception as error:
        ending.stopping.stop_here()
        if debugging():
            # The words for it are told by the process that started this one.
            traceback.print_exception(error)
        problems = [[item.where, item.what, item.way_out] for item in told(error)]
        found = {"status": status_of(error), "problems": problems}
        (folder / FAILURE).write_text(json.dumps(found), encoding="utf-8")
