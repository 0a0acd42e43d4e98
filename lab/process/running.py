"""What the processes share: a folder with one owner for each part of it, and an end that comes between two steps."""

from __future__ import annotations

import fcntl
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.truth import one_process, truth_class
from lab.wiring import Plan


class Stop:
    """Set by a polite kill or by Ctrl-C; looked at between two steps, so that nothing is left half done."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self, *_: object) -> None:
        """A signal has come."""
        self._asked = True

    def asked(self) -> bool:
        """Whether one has."""
        return self._asked


def shareable(plan: Plan) -> None:
    """Raise BadInput for a source of truth that one process alone can have open."""
    table = plan.scenario.truth
    if not truth_class(table.engine, table.model).shared:
        raise one_process(table.engine)


@contextmanager
def stopping() -> Iterator[Stop]:
    """While the block runs, SIGTERM and SIGINT ask it to stop, and do nothing else."""
    stop = Stop()
    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def owned(folder: Path, name: str) -> Iterator[None]:
    """One process at a time: the lock goes with the process that holds it, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = f"another process is at work on `{name}` in this folder"
            raise BadInput([Problem(str(folder), what, "stop it first, or name another --folder")]) from None
        yield


def tell(row: dict[str, Any]) -> None:
    """One JSON document on a line of its own, at once: who reads it may be all that remembers it."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
