"""No signal is swallowed while commands are made."""

from __future__ import annotations

import gc
import signal
from typing import Any

import pytest
from pieces import commands

from lab.base import stream


def test_no_signal_is_swallowed_while_commands_are_made() -> None:
    """NumPy clears an interrupt that comes while it makes a string of an array's element."""

    def stopping(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    def interrupted(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        commands(50_000)

    # As in a run, the collector keeps out of it: what is raised in one of its callbacks is lost by right.
    gc.disable()
    rng, before = stream(1, "alarms"), signal.signal(signal.SIGALRM, stopping)
    try:
        for seconds in rng.uniform(0.005, 0.03, 40):
            with pytest.raises(KeyboardInterrupt):
                interrupted(float(seconds))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
