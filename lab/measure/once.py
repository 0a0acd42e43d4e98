"""What is made of a finished run is made once, and kept with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from lab.runs import Run

Made = TypeVar("Made")


def once_for_each_run(function: Callable[[Run], Made]) -> Callable[[Run], Made]:
    """Keep what a function makes of a run with the run: a finished run doesn't change.

    What it returns must not be changed by those who take it.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def kept(run: Run) -> Made:
        # Beside the fields and the cached properties, which are kept in the same way.
        if name not in run.__dict__:
            run.__dict__[name] = function(run)
        found: Made = run.__dict__[name]
        return found

    return kept
